"""Holding the ledger against what the providers list: whose is what, and what has changed.

Passive first (mirror what is observed), and nothing is destroyed here: acting is the caller's.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.fleet.ledger import Entry, Ledger
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState, RemoteInstance
from console.fleet.providers.base import Provider

SETTLE_S = 90.0
"""A create call whose answer was lost may show up in the lists so much later."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance as ledger and provider together show it; one of the two may be None."""

    kind: InstanceKind
    entry: Entry | None
    remote: RemoteInstance | None


def kind_of(remote: RemoteInstance, console_id: str, known: Mapping[str, Entry]) -> InstanceKind:
    """Whose instance a listed one is; only a label of ours may ever be acted upon."""
    if remote.label in known:
        return InstanceKind.OURS
    label = Label.parse(remote.label)
    if label is None:
        return InstanceKind.FOREIGN
    return InstanceKind.ORPHAN if label.console_id == console_id else InstanceKind.OTHER_CONSOLE


def reconcile(ledger: Ledger, providers: Iterable[Provider], *, settle_s: float = SETTLE_S) -> list[Sighting]:
    """Observe every provider once and bring the ledger up to date.

    An intent younger than `settle_s` seconds is somebody's who is renting right now: it is left alone.
    A living entry that its provider no longer lists is *lost* (or *destroyed* where the list is the
    truth itself); one that halted is *stopped*; one whose create was never answered is adopted.

    Raises:
        ProviderError: a list could not be had; entries of the other providers are up to date.
    """
    sightings: list[Sighting] = []
    for provider in providers:
        entries = {entry.label: entry for entry in ledger.entries() if entry.provider == provider.name}
        listed = {remote.label: remote for remote in provider.list()}
        for remote in listed.values():
            kind = kind_of(remote, ledger.console_id, entries)
            entry = entries.get(remote.label)
            if entry is not None and not _being_rented(entry, settle_s):
                entry = _observe(ledger, entry, remote)
            sightings.append(Sighting(kind, entry, remote))
        for label, entry in entries.items():
            if label not in listed:
                settled = entry if _being_rented(entry, settle_s) else _missing(ledger, provider, entry)
                sightings.append(Sighting(InstanceKind.OURS, settled, None))
    return sightings


def _being_rented(entry: Entry, settle_s: float) -> bool:
    unanswered = (InstanceState.INTENDED, InstanceState.REQUESTED, InstanceState.AMBIGUOUS)
    return entry.state in unanswered and time.time() - entry.created < settle_s


def _observe(ledger: Ledger, entry: Entry, remote: RemoteInstance) -> Entry:
    state = entry.state
    if state is InstanceState.DESTROYED:
        return ledger.move(entry.label, InstanceState.LOST, "it is listed again")
    if state in (InstanceState.REQUESTED, InstanceState.AMBIGUOUS):
        return ledger.move(entry.label, InstanceState.STARTING, "found by its label", provider_id=remote.id)
    halted = remote.state is ProviderState.STOPPED
    if halted and state in (InstanceState.STARTING, InstanceState.REACHABLE, InstanceState.RUNNING,
                            InstanceState.LOST):  # fmt: skip
        return ledger.move(entry.label, InstanceState.STOPPED, "the provider says that it stopped")
    if state is InstanceState.LOST and remote.state is ProviderState.RUNNING:
        return ledger.move(entry.label, InstanceState.RUNNING, "seen again")
    return entry


def _missing(ledger: Ledger, provider: Provider, entry: Entry) -> Entry:
    if entry.state is InstanceState.INTENDED:
        return ledger.move(entry.label, InstanceState.ABANDONED, "never sent")
    if not entry.living:
        return entry
    if not provider.capabilities.immediate_list:
        if entry.state in (InstanceState.STOPPING, InstanceState.LOST):
            return entry
        return ledger.move(entry.label, InstanceState.LOST, "no longer listed")
    if entry.state in (InstanceState.REQUESTED, InstanceState.AMBIGUOUS):
        return ledger.move(entry.label, InstanceState.REFUSED, "never created")
    if entry.state is not InstanceState.STOPPING:
        ledger.move(entry.label, InstanceState.STOPPING, "gone without us")
    return ledger.move(entry.label, InstanceState.DESTROYED, "absence observed")
