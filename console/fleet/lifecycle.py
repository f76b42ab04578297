"""Renting and tearing down: the only functions that change what exists at a provider.

Renting writes the intent first. Tearing down ends only with an observed absence; a destroy call that
was accepted proves nothing. Whoever calls them is the instance's actor: it holds the lock of its label.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from console.errors import LostAnswerError, ProviderError, TeardownNotVerifiedError
from console.fleet.ledger import Change, Entry, Ledger
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceSpec, InstanceState, Label, Offer, RemoteInstance
from console.fleet.providers.base import Provider
from console.fleet.reconcile import ABSENCE_INTERVAL_S, observe
from ups.errors import StoreError, UpsError

ABSENCE_TIMEOUT_S = 300.0
"""A teardown waits so long for the absence, sending the call again."""
SETTLE_INTERVAL_S = 10.0
SETTLE_TIMEOUT_S = 600.0
"""A create call without an answer is given up after so long without enough good lists."""
_IMMEDIATE_INTERVAL_S = 0.2

_S = InstanceState


@dataclass(frozen=True, slots=True)
class RentTerms:
    """What an instance is rented for, and how long at most."""

    run: str
    attempt: int
    deadline: float
    """Unix seconds."""
    cap_usd: float
    """Of the run; 0: none."""
    keep: bool
    grace_s: float = 0.0
    """Told to the provider where no `spec_of` says it."""
    box: int = 0
    """Number among the boxes that are rented for one attempt."""


def rent(
    ledger: Ledger, provider: Provider, offer: Offer, terms: RentTerms, locks: Path, *,
    spec_of: Callable[[str], InstanceSpec] | None = None, sleep: Callable[[float], None] = time.sleep,
) -> Entry:  # fmt: skip
    """`renting`, for callers that do nothing more with the instance as its actor."""
    with renting(ledger, provider, offer, terms, locks, spec_of=spec_of, sleep=sleep) as entry:
        return entry


@contextlib.contextmanager
def renting(
    ledger: Ledger, provider: Provider, offer: Offer, terms: RentTerms, locks: Path, *,
    spec_of: Callable[[str], InstanceSpec] | None = None, sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Entry]:  # fmt: skip
    """Rent `offer` and be the instance's actor inside the `with`; the ledger knows of it first.

    Until its run is started nobody else may judge an instance: its lock is held to the end of the
    block. What is not running by then is destroyed by the next `watch` or `reconcile`.

    Args:
        ledger: gets the intent before the provider is asked.
        provider: who rents.
        offer: what is rented; its price counts.
        terms: for what, how long and for how much at most.
        locks: the directory of the actors' locks.
        spec_of: label → what the provider is told; None: the defaults.
        sleep: waits between the lists where the answer was lost.

    Raises:
        OfferGoneError: another one was quicker; the caller may try the next offer.
        LostAnswerError: the answer was lost and the label appeared nowhere. The ledger says whether
            that is settled (*refused*: the next offer may be tried) or still *ambiguous*.
        UpsError: refused; the ledger says so.
    """
    label = Label.new(ledger.console_id, terms.deadline)
    spec = spec_of(str(label)) if spec_of is not None else InstanceSpec(offer, str(label), terms.grace_s)
    with FileLock(lock_path(locks, str(label))):
        ledger.intend(
            label,
            provider=provider.name,
            what=offer.what,
            usd_per_hour=offer.usd_per_hour,
            cap_usd=terms.cap_usd,
            keep=terms.keep,
            run=terms.run,
            attempt=terms.attempt,
            machine=offer.machine,
            box=terms.box,
        )
        yield _request(ledger, provider, spec, sleep)


def _request(ledger: Ledger, provider: Provider, spec: InstanceSpec, sleep: Callable[[float], None]) -> Entry:
    """The one create call of an intent."""
    label = spec.label
    ledger.move(label, _S.REQUESTED, f"offer {spec.offer.id}")
    try:
        instance = provider.create(spec)
    except LostAnswerError as error:
        ledger.change(label, partial(_unless_asked, cause=f"no answer: {error.message}"))
        entry = settle(ledger, provider, label, sleep=sleep)
        if entry.state is _S.STARTING:
            return entry
        raise LostAnswerError(
            f"{provider.name} did not answer, and its lists show no instance {label}", hint="try again"
        ) from error
    except UpsError as error:
        ledger.change(label, partial(_unless_asked, cause=error.message, after=_S.REFUSED))
        raise
    except Exception as error:
        ledger.change(label, partial(_unless_asked, cause=f"no answer: {type(error).__name__}"))
        raise
    try:
        entry = ledger.change(label, lambda entry: _answered(entry, instance))
    except StoreError:
        # Nobody could tell its id any more. The next reconcile finds what stays by its label.
        with contextlib.suppress(ProviderError):
            provider.destroy(instance)
        raise
    if entry.state is not _S.STARTING:
        raise ProviderError(
            f"{instance} was told to go before it had started: {entry.ending or entry.state}",
            hint="`ups-console fleet` shows whether it is gone",
        )
    return entry


def _unless_asked(entry: Entry, cause: str, after: InstanceState = _S.AMBIGUOUS) -> Iterator[Change]:
    if entry.state is _S.REQUESTED:  # else somebody past its deadline has told it to go
        yield Change(after, cause)


def _answered(entry: Entry, instance: str) -> Iterator[Change]:
    """Record the id of what was created, whatever has become of its entry in the meantime."""
    if entry.state is _S.REQUESTED:
        yield Change(_S.STARTING, "created", instance)
    elif entry.state is _S.DESTROYED:
        yield Change(_S.LOST, "it was created after all", instance)
    else:
        yield Change(provider_id=instance)


def settle(
    ledger: Ledger, provider: Provider, label: str, *, sleep: Callable[[float], None] = time.sleep
) -> Entry:
    """Find out whether a create call whose answer was lost has rented; for the actor.

    Looks the label up in complete lists over at least 90 s. Returns the entry, then *starting* or
    *refused*; *ambiguous* still where the lists failed for ten minutes: `reconcile` goes on.
    """
    pace = provider.capabilities.pace
    waited = 0.0
    while True:
        with contextlib.suppress(ProviderError):  # proves nothing
            observe(ledger, provider, label)
        entry = ledger.entry(label)
        if entry.state is not _S.AMBIGUOUS or waited >= SETTLE_TIMEOUT_S * pace:
            return entry
        sleep(SETTLE_INTERVAL_S * pace)
        waited += SETTLE_INTERVAL_S * pace


def still_wanted(ledger: Ledger, label: str) -> bool:
    """Whether nobody has asked to end it: for an actor that waits for its box, at every look."""
    return ledger.entry(label).ending is None


def send_destroy(
    ledger: Ledger, provider: Provider, entry: Entry, *, cause: str, instance: str | None = None
) -> str:
    """Tell an instance to go, once, and wait for nothing; returns what went wrong, or "".

    Whether it went is for `reconcile` to observe, and what did not is to be sent again.

    Args:
        ledger: says *stopping* before the call is sent.
        provider: whose instance it is.
        entry: a living one, or a refused one that appeared.
        cause: why.
        instance: the provider's id, where the ledger does not know it.
    """
    entry = ledger.change(entry.label, lambda current: _to_stopping(current, cause, instance))
    if entry.provider_id is None or not entry.living:
        return ""
    return _tell(provider, entry.provider_id)


def _tell(provider: Provider, instance: str) -> str:
    try:
        provider.destroy(instance)
    except UpsError as error:
        return error.message
    return ""


def _to_stopping(entry: Entry, cause: str, instance: str | None = None) -> Iterator[Change]:
    found = instance if entry.provider_id is None else None
    if entry.state is _S.STOPPING:
        if found is not None:
            yield Change(provider_id=found)
    elif entry.living or (entry.state is _S.REFUSED and instance is not None):
        yield Change(_S.STOPPING, cause, found)
    elif entry.state is _S.INTENDED:
        yield Change(_S.ABANDONED, cause)


def finish(
    ledger: Ledger, provider: Provider, entry: Entry, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Go on with a teardown whose actor died; as `destroy`."""
    return destroy(ledger, provider, entry, cause=entry.ending or "a teardown was left undone", sleep=sleep)


def destroy(
    ledger: Ledger,
    provider: Provider,
    entry: Entry,
    *,
    cause: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Destroy an instance and wait until the provider no longer has it; yields what happens.

    The call is sent again, at growing intervals, as long as the instance is listed.

    Raises:
        TeardownNotVerifiedError: it may still exist, and still cost money.
    """
    name = entry.provider_id or entry.label
    if entry.state is _S.DESTROYED:
        yield f"{name} is destroyed already"
        return
    instance = None
    if entry.state is _S.REFUSED:
        instance = _appeared(provider, entry)
        if instance is None:
            yield f"{name} was refused, and is not listed"
            return
    pace = provider.capabilities.pace
    wait = _Wait(_IMMEDIATE_INTERVAL_S if provider.capabilities.immediate_list else ABSENCE_INTERVAL_S * pace)
    if entry.living and not provider.capabilities.immediate_list:
        # One that a list has shown is known to be gone sooner when the lists lack it.
        entry, _, _ = _look(ledger, provider, entry.label)
    gone = False
    while True:
        entry = ledger.change(entry.label, lambda current: _to_stopping(current, cause, instance))
        if entry.living and entry.provider_id is not None and not gone and wait.is_due:
            failure = _tell(provider, entry.provider_id)
            yield f"destroy failed: {failure}" if failure else f"destroy sent to {entry.provider_id}"
        entry, row, problem = _look(ledger, provider, entry.label)
        gone = row is None and not problem
        name = entry.provider_id or entry.label
        if not entry.living:
            yield f"{provider.name} no longer lists {name}"
            return
        if wait.waited >= ABSENCE_TIMEOUT_S * pace:
            raise _not_verified(ledger, provider, entry, problem)
        there = problem or ("not listed; looking once more" if gone else "it is still listed")
        yield f"waiting until {provider.name} no longer has {name}: {there}"
        wait.rest(sleep)


class _Wait:
    """When a destroy call is due: at once, and then at growing intervals."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due = 0.0
        self._back_off = interval_s
        self.waited = 0.0
        """Seconds slept; by the sum, so that a laptop's sleep takes no time from the teardown."""

    @property
    def is_due(self) -> bool:
        if self.waited < self._due:
            return False
        self._due = self.waited + self._back_off
        self._back_off *= 1.5
        return True

    def rest(self, sleep: Callable[[float], None]) -> None:
        sleep(self._interval_s)
        self.waited += self._interval_s


def _appeared(provider: Provider, entry: Entry) -> str | None:
    try:
        return next((row.id for row in provider.list() if row.label == entry.label), None)
    except ProviderError as error:
        raise TeardownNotVerifiedError(
            f"{entry.label} was refused, and {provider.name} cannot say whether it exists: {error.message}",
            hint=error.hint,
        ) from error


def _look(ledger: Ledger, provider: Provider, label: str) -> tuple[Entry, RemoteInstance | None, str]:
    """The entry after one look, the row, and what was wrong with the list."""
    try:
        entry, row = observe(ledger, provider, label)
    except ProviderError as error:
        return ledger.entry(label), None, f"the list proves nothing: {error.message}"
    return entry, row, ""


def _not_verified(ledger: Ledger, provider: Provider, entry: Entry, problem: str) -> TeardownNotVerifiedError:
    why = problem or f"{provider.name} still has it"
    ledger.change(
        entry.label,
        lambda current: [Change(_S.LOST, f"told to go; {why}")] if current.state is _S.STOPPING else [],
    )
    return TeardownNotVerifiedError(
        f"{entry.provider_id or entry.label} was told to go; {why}",
        hint="`ups-console watch` goes on trying; or destroy it in the provider's own console",
    )
