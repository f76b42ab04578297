"""Renting and tearing down: the only two functions that change what exists at a provider.

Renting writes the intent first. Tearing down ends only with an observed absence; a destroy call that
was accepted proves nothing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from console.errors import ProviderError, TeardownNotVerifiedError
from console.fleet.ledger import Entry, Ledger
from console.fleet.locks import FileLock
from console.fleet.model import InstanceSpec, InstanceState, Label, Offer
from console.fleet.providers.base import Provider
from ups.errors import UpsError

ABSENCE_INTERVAL_S = 20.0
"""Between the two lists that must lack an instance before it counts as destroyed."""
ABSENCE_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class RentTerms:
    """What an instance is rented for, and how long at most."""

    run: str
    attempt: int
    deadline: float
    """Unix seconds."""
    cap_usd: float
    keep: bool
    grace_s: float


def rent(ledger: Ledger, provider: Provider, offer: Offer, terms: RentTerms, locks: Path) -> Entry:
    """Rent `offer`; the ledger knows of it before the provider does.

    The instance's lock, in `locks`, is held meanwhile: whoever wants to tear it down waits for the answer.

    Raises:
        UpsError: refused; the ledger says so.
    """
    label = Label.new(ledger.console_id, terms.deadline)
    with FileLock(lock_path(locks, str(label))):
        ledger.intend(
            label,
            provider=provider.name,
            what=f"{offer.gpu} ×{offer.num_gpus}" if offer.num_gpus else f"{offer.cpu_cores} cores",
            usd_per_hour=offer.usd_per_hour,
            cap_usd=terms.cap_usd,
            keep=terms.keep,
            run=terms.run,
            attempt=terms.attempt,
        )
        ledger.move(str(label), InstanceState.REQUESTED, f"offer {offer.id}")
        try:
            instance = provider.create(InstanceSpec(offer, str(label), terms.grace_s))
        except UpsError as error:
            ledger.move(str(label), InstanceState.REFUSED, error.message)
            raise
        return ledger.move(str(label), InstanceState.STARTING, "created", provider_id=instance)


def lock_path(locks: Path, label: str) -> Path:
    """The file by which one actor at a time changes an instance."""
    return locks / f"{label}.lock"


def destroy(
    ledger: Ledger,
    provider: Provider,
    entry: Entry,
    *,
    cause: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Destroy an instance and wait until the provider no longer has it; yields what happens.

    Raises:
        TeardownNotVerifiedError: it may still exist, and still cost money.
    """
    if entry.state is InstanceState.DESTROYED:
        yield f"{entry.provider_id or entry.label} is destroyed already"
        return
    if entry.provider_id is None:
        entry = _adopt(ledger, provider, entry)
    if entry.state is not InstanceState.STOPPING:
        entry = ledger.move(entry.label, InstanceState.STOPPING, cause)
    instance = entry.provider_id
    if instance is not None:
        try:
            provider.destroy(instance)
        except ProviderError as error:
            ledger.move(entry.label, InstanceState.LOST, f"destroy failed: {error.message}")
            raise TeardownNotVerifiedError(
                f"{instance} could not be destroyed: {error.message}", hint=error.hint
            ) from error
        yield f"destroy sent to {instance}"
    needed = 1 if provider.capabilities.immediate_list else 2
    yield from _watch_absence(ledger, provider, entry, needed, sleep)


def _adopt(ledger: Ledger, provider: Provider, entry: Entry) -> Entry:
    """Find an instance whose create was never answered by its label."""
    found = next((row for row in provider.list() if row.label == entry.label), None)
    if found is None:
        return entry
    if entry.state is InstanceState.REFUSED:
        return ledger.move(entry.label, InstanceState.STOPPING, "its label appeared", provider_id=found.id)
    return ledger.move(entry.label, InstanceState.STARTING, "found by its label", provider_id=found.id)


def _watch_absence(
    ledger: Ledger, provider: Provider, entry: Entry, needed: int, sleep: Callable[[float], None]
) -> Iterator[str]:
    name = entry.provider_id or entry.label
    until = time.monotonic() + ABSENCE_TIMEOUT_S
    seen = 0
    while True:
        if _absent(provider, entry):
            seen += 1
            if seen >= needed:
                ledger.move(entry.label, InstanceState.DESTROYED, f"absence observed ({seen} of {needed})")
                yield f"{provider.name} no longer lists {name}"
                return
        else:
            seen = 0
        if time.monotonic() > until:
            ledger.move(entry.label, InstanceState.LOST, "still listed after its destruction")
            raise TeardownNotVerifiedError(
                f"{name} was told to go, and {provider.name} still lists it",
                hint="destroy it again, or in the provider's own console",
            )
        yield f"waiting until {provider.name} no longer lists {name} (seen {seen} of {needed})"
        sleep(ABSENCE_INTERVAL_S if not provider.capabilities.immediate_list else 0.2)


def _absent(provider: Provider, entry: Entry) -> bool:
    """Whether a complete list, and the direct question, both lack it; an error proves nothing."""
    try:
        listed = any(row.id == entry.provider_id or row.label == entry.label for row in provider.list())
        return not listed and (entry.provider_id is None or provider.get(entry.provider_id) is None)
    except ProviderError:
        return False
