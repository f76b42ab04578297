"""Holding the ledger against what the providers list: whose is what, and what has changed.

Passive: the ledger mirrors what is observed, and nothing is destroyed here; acting is the caller's
(`lifecycle` and `watch`). A list is taken first and then judged in one transaction over fresh rows, so
that whatever somebody else wrote meanwhile is respected.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from console.errors import ProviderError
from console.fleet.ledger import Change, Entry, Ledger
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState, RemoteInstance
from console.fleet.providers.base import Capabilities, Provider
from ups.errors import UpsError

SETTLE_S = 90.0
"""An instance may be missing from the lists for so long after its create call."""
ABSENCE_INTERVAL_S = 20.0
"""Between the two lists that must lack an instance before it counts as destroyed."""

LISTS_WITHOUT_ID = 4
"""Where there is no id to ask for, so many lists must lack the label: a single one may be wrongly empty."""

_S = InstanceState
UNSETTLED = frozenset({_S.INTENDED, _S.REQUESTED, _S.AMBIGUOUS})
"""Only the actor knows how these stand; when it is dead, the lists decide."""
_UP = frozenset({_S.STARTING, _S.REACHABLE, _S.RUNNING})


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance as ledger and provider together show it; one of the two may be None."""

    kind: InstanceKind
    entry: Entry | None
    remote: RemoteInstance | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at every provider found."""

    sightings: list[Sighting]
    problems: dict[str, ProviderError]
    """Provider → why it could not be asked; its entries are as they were, and prove nothing."""


@dataclass(frozen=True, slots=True)
class Look:
    """One complete list of a provider, and what it said when it was asked for missing ones."""

    at: float
    """Unix seconds, before the list was asked for: what changed later is not judged by it."""
    rows: list[RemoteInstance]
    denied: frozenset[str] = frozenset()
    """Ids that the provider, asked directly, does not know."""
    confirmed: Mapping[str, RemoteInstance] = field(default_factory=dict)
    """Id → row of those that the list lacks, and that are there nevertheless."""


def kind_of(remote: RemoteInstance, console_id: str, known: Mapping[str, Entry]) -> InstanceKind:
    """Whose instance a listed one is; only a label of ours may ever be acted upon.

    A second instance under a label of the ledger (a create that was sent twice) is an orphan.
    """
    entry = known.get(remote.label)
    if entry is not None and entry.provider_id in (None, remote.id):
        return InstanceKind.OURS
    label = Label.parse(remote.label)
    if label is None:
        return InstanceKind.FOREIGN
    return InstanceKind.ORPHAN if label.console_id == console_id else InstanceKind.OTHER_CONSOLE


def reconcile(ledger: Ledger, providers: Iterable[Provider], locks: Path) -> list[Sighting]:
    """`survey`, for callers who want all or nothing.

    Raises:
        ProviderError: a list could not be had; entries of the other providers are up to date.
    """
    found = survey(ledger, providers, locks)
    for problem in found.problems.values():
        raise problem
    return found.sightings


def survey(ledger: Ledger, providers: Iterable[Provider], locks: Path) -> Survey:
    """Observe every provider once and bring the ledger up to date; one that is down stops no other.

    Where the actor of an instance is dead (its lock is free), an intent is *abandoned*; a create call
    without an answer is *ambiguous*, until its label appears or lists over `SETTLE_S` lack it. A living
    entry that is no longer listed is *lost*, and *destroyed* once its absence is observed (at once
    where the list is the truth itself); one that halted is *stopped*.
    """
    providers = list(providers)
    entries = ledger.entries()
    sightings: list[Sighting] = []
    problems: dict[str, ProviderError] = {}
    for provider, look in zip(providers, _looks(ledger, providers, entries), strict=True):
        if isinstance(look, ProviderError):
            problems[provider.name] = look
            ours = [entry for entry in entries if entry.provider == provider.name]
            sightings.extend(Sighting(InstanceKind.OURS, entry, None) for entry in ours)
        else:
            sightings.extend(_judge_all(ledger, provider, look, locks))
    return Survey(sightings, problems)


def _looks(ledger: Ledger, providers: list[Provider], entries: list[Entry]) -> "list[Look | ProviderError]":
    def one(provider: Provider) -> "Look | ProviderError":
        try:
            return take_look(ledger, provider, [e for e in entries if e.provider == provider.name])
        except ProviderError as error:
            return error
        except UpsError as error:
            return ProviderError(error.message, hint=error.hint)
        except Exception as error:  # noqa: BLE001 - a fault in reading one provider must not hide the others
            return ProviderError(f"{provider.name} answered what nobody understands: {type(error).__name__}")

    if len(providers) == 1:
        return [one(providers[0])]
    with ThreadPoolExecutor(max(1, len(providers))) as pool:
        return list(pool.map(one, providers))


def take_look(ledger: Ledger, provider: Provider, entries: Iterable[Entry]) -> Look:
    """A complete list, and the direct question after those of `entries` that it would declare destroyed.

    Raises:
        ProviderError: the list could not be had; it proves nothing.
    """
    at = ledger.now()
    rows = provider.list()
    listed = {row.id for row in rows}
    denied, confirmed = set(), {}
    for entry in entries:
        instance = entry.provider_id
        if instance is None or instance in listed or not _absence_is_due(entry, at, provider):
            continue
        try:
            row = provider.get(instance)
        except ProviderError:  # not known: the next look asks again
            continue
        if row is None:
            denied.add(instance)
        else:
            confirmed[instance] = row
    return Look(at, rows, frozenset(denied), confirmed)


def _absence_is_due(entry: Entry, at: float, provider: Provider) -> bool:
    if not entry.living or entry.changed > at:
        return False
    if provider.capabilities.immediate_list:
        return True
    return entry.absent_since is not None and at - entry.absent_since >= _span(
        entry, provider.capabilities.pace
    )


def _span(entry: Entry, pace: float) -> float:
    """Seconds over which lists must lack an instance; one that no list has shown yet may still come."""
    return pace * (ABSENCE_INTERVAL_S if entry.listed is not None else SETTLE_S)


def _judge_all(ledger: Ledger, provider: Provider, look: Look, locks: Path) -> Iterator[Sighting]:
    by_id = {row.id: row for row in look.rows}
    by_label: dict[str, RemoteInstance] = {}
    for remote in look.rows:
        by_label.setdefault(remote.label, remote)

    def row_of(entry: Entry) -> RemoteInstance | None:
        if entry.provider_id is None:
            return by_label.get(entry.label)
        return by_id.get(entry.provider_id) or look.confirmed.get(entry.provider_id)

    with ExitStack() as held:

        def decide(entry: Entry) -> Iterator[Change]:
            if entry.state in UNSETTLED:
                lock = FileLock(lock_path(locks, entry.label))
                if not lock.try_acquire():
                    return  # somebody is renting it right now
                held.callback(lock.release)
            yield from judge(entry, row_of(entry), look, provider, ledger.now())

        after = ledger.change_all(provider.name, decide)
    seen = set()
    for entry in after:
        row = row_of(entry)
        if row is not None:
            seen.add(row.id)
        yield Sighting(InstanceKind.OURS, entry, row)
    known = {entry.label: entry for entry in after}
    for remote in look.rows:
        if remote.id not in seen:
            yield Sighting(kind_of(remote, ledger.console_id, known), None, remote)


def observe(ledger: Ledger, provider: Provider, label: str) -> tuple[Entry, RemoteInstance | None]:
    """Look for one instance and bring its entry up to date; for its actor, who holds its lock.

    Raises:
        ProviderError: the list could not be had; it proves nothing.
    """
    before = ledger.entry(label)
    look = take_look(ledger, provider, [before])
    row: RemoteInstance | None = None

    def decide(entry: Entry) -> Iterable[Change]:
        nonlocal row
        if entry.provider_id is None:
            row = next((row for row in look.rows if row.label == label), None)
        else:
            row = next((row for row in look.rows if row.id == entry.provider_id), None)
            row = row or look.confirmed.get(entry.provider_id)
        return judge(entry, row, look, provider, ledger.now())

    return ledger.change(label, decide), row


def judge(
    entry: Entry, row: RemoteInstance | None, look: Look, provider: Provider, now: float
) -> Iterator[Change]:
    """What a look changes of an entry, whose actor is the caller or dead where it is unsettled.

    Args:
        entry: as it is now, which may be later than the look.
        row: what the look has of it.
        look: all of it.
        provider: whose it is.
        now: Unix seconds.
    """
    if row is not None:
        yield from _judge_listed(entry, row, look.at)
    elif entry.changed <= look.at:
        yield from _judge_missing(entry, look, provider.capabilities, now)


def _judge_listed(entry: Entry, row: RemoteInstance, at: float) -> Iterator[Change]:
    state = entry.state
    if state in (_S.REFUSED, _S.ABANDONED, _S.INTENDED):
        return  # it appeared too late: `watch` destroys it
    price = row.usd_per_hour if row.usd_per_hour > entry.usd_per_hour else None
    unknown = entry.provider_id is None and state is _S.STOPPING
    if entry.listed is None or entry.absent_since is not None or price is not None or unknown:
        found = row.id if unknown else None
        yield Change(provider_id=found, listed=entry.listed or at, present=True, usd_per_hour=price)
    if entry.changed > at:
        return
    halted = row.state is ProviderState.STOPPED
    if state is _S.DESTROYED:
        yield Change(_S.LOST, "it is listed again")
    elif state in (_S.REQUESTED, _S.AMBIGUOUS):
        yield Change(_S.STARTING, "found by its label", row.id)
    elif state is _S.LOST and entry.ending is None:
        if row.state is not ProviderState.UNKNOWN:
            yield _seen_again(entry, row)
    elif state in _UP and halted:
        yield Change(_S.STOPPED, "the provider says that it stopped")
    elif state is _S.STOPPED and row.state in (ProviderState.STARTING, ProviderState.RUNNING):
        yield Change(_S.STARTING, "the provider started it again")


def _seen_again(entry: Entry, row: RemoteInstance) -> Change:
    if row.state is ProviderState.STOPPED:
        return Change(_S.STOPPED, "seen again, stopped")
    return Change(entry.was if entry.was in _UP else _S.STARTING, "seen again")


def _judge_missing(entry: Entry, look: Look, provider: Capabilities, now: float) -> Iterator[Change]:
    state, at = entry.state, look.at
    if state is _S.INTENDED:
        yield Change(_S.ABANDONED, "never sent")
        return
    if not entry.living:
        return
    unanswered = state in (_S.REQUESTED, _S.AMBIGUOUS)
    if provider.immediate_list:
        if unanswered:
            yield Change(_S.REFUSED, "never created")
        else:
            if state is not _S.STOPPING:
                yield Change(_S.STOPPING, "gone without us")
            yield Change(_S.DESTROYED, "absence observed")
        return
    if state is _S.REQUESTED:
        # The call may have been sent after this list was taken: the time counts from now.
        yield Change(_S.AMBIGUOUS, "nobody waits for the answer any more", absent_since=now, absences=1)
        return
    if state in _UP or state is _S.STOPPED:
        if entry.listed is None and at - entry.changed < SETTLE_S * provider.pace:
            return  # the lists lag behind the create call
        yield Change(_S.LOST, "no longer listed")
    if entry.absent_since is None:
        yield Change(absent_since=at, absences=1)
        return
    absences = entry.absences + 1
    yield Change(absences=absences)
    missing_s = at - entry.absent_since
    span = _span(entry, provider.pace)
    if missing_s < span or (entry.provider_id is None and absences < LISTS_WITHOUT_ID):
        return
    if unanswered:
        yield Change(_S.REFUSED, f"its label did not appear in {missing_s:.0f} s")
    elif entry.provider_id is None or entry.provider_id in look.denied:
        if state is not _S.STOPPING:
            yield Change(_S.STOPPING, "gone without us")
        yield Change(_S.DESTROYED, f"absence observed: two lists {missing_s:.0f} s apart lack it")
