"""What is checked before paying: config, data, machine, account, price, caps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console.api import Check, Estimate, Level, Preflight, RentOptions
from console.fleet import money
from console.fleet.guards import guard_checks
from console.fleet.ledger import Ledger
from console.fleet.model import Offer
from console.fleet.offers import NoOfferError, Ranking
from console.fleet.providers.base import Capabilities
from console.runs.estimate import Place, estimate
from console.runs.jobs import Job, failed
from console.runs.lives import lives
from console.runs.registry import Registry
from console.runs.sites import Site
from console.settings import Settings
from ups.errors import StoreError, UpsError, UsageError

CAP_FACTOR = 3.0
"""A run may cost so many times what is expected, where its user sets no cap."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What would be rented for a job."""

    offer: Offer | None
    """None where nothing new would be rented."""
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Examiner:
    """Checks a job against everything that can be known; changes and spends nothing."""

    ledger: Ledger
    registry: Registry
    settings: Settings
    site: Site

    def preflight(self, job: Job) -> Preflight:
        """Check everything about `job`."""
        return self.preflight_on(job, self.machine(job.rent))

    def machine(self, rent: RentOptions) -> "Machine":
        """What would be rented, and what there is to say of this home and that machine."""
        checks = [*self._store(), *self._home(), *self.site.checks(rent)]
        offer = self._offer(rent, checks)
        return Machine(offer, tuple(checks))

    def preflight_on(self, job: Job, machine: "Machine") -> Preflight:
        """The same where the machine is known: several jobs ask the provider once."""
        suited = job.suits(machine.offer) if machine.offer is not None else ()
        checks = [*job.checks(self.settings), *machine.checks, *suited]
        price = machine.offer.usd_per_hour * job.rent.instances if machine.offer else 0.0
        found = self._estimate(job, machine.offer)
        expected = found.seconds if found.seen else None
        expected_usd = expected / money.SECONDS_PER_HOUR * price if expected is not None else None
        if price == 0.0:
            expected_usd = 0.0
        cap = cap_usd(job.rent, price, expected_usd)
        try:
            check_day_cap(self.ledger, self.settings, job.rent, price, expected_usd)
        except UpsError as error:
            checks.append(failed(error))
        return Preflight(
            checks=tuple(checks),
            tasks=job.tasks,
            usd_per_hour=price,
            expected_seconds=expected,
            expected_usd=expected_usd,
            cap_usd=cap,
            deadline_hours=job.rent.max_hours,
            given=job.given(self.settings),
            estimate=found,
        )

    def _store(self) -> Iterator[Check]:
        """Which store, and why that one."""
        settings = self.settings
        named = settings.store_origin
        why = (
            "no bucket is configured"
            if named == "default"
            else f"{named}, {settings.variables.origin(named)}"
        )
        yield Check(Level.OK, f"store {settings.store_url} ({why})")
        yield from (Check(Level.WARNING, warning) for warning in settings.warnings)

    def _estimate(self, job: Job, offer: Offer | None) -> Estimate:
        """How long it takes on that machine; nothing is known of a job that cannot be read."""
        able = self.site.provider.capabilities
        place = Place(
            self.site.provider.name,
            offer.what if offer is not None else "",
            rented=able.rented and offer is not None,
            pace=able.pace,
            smoke=able.rented and job.rent.smoke,
        )
        try:
            return estimate(job.likeness(self.settings), place, lives(self.registry, self.ledger))
        except UpsError:
            return Estimate()

    def _home(self) -> Iterator[Check]:
        try:
            self.registry.check_writable()
        except StoreError as error:
            yield failed(error)

    def _offer(self, rent: RentOptions, checks: list[Check]) -> Offer | None:
        """What would be rented; None where nothing new would be."""
        if rent.instance is not None:
            return None
        try:
            ranking = self.site.rank(rent)
            offer = choose(ranking, rent)
            if rent.instances > 1:
                together(candidates(ranking, rent), rent, self.site.provider.capabilities)
        except UpsError as error:
            checks.append(failed(error))
            return None
        number = rent.instances
        each = f"{number} × {offer.gpu}" if number > 1 else offer.gpu
        total = f", ${number * offer.usd_per_hour:.2f}/h in all" if number > 1 else ""
        checks.append(Check(Level.OK, f"{offer.provider}: {each}, {offer.cpu_cores} cores, "
                                      f"${offer.usd_per_hour:.2f}/h{total}"))  # fmt: skip
        checks.extend(guard_checks(self.site.provider.capabilities))
        return offer


def choose(ranking: Ranking, rent: RentOptions) -> Offer:
    """The offer that was asked for, or the best.

    Raises:
        NoOfferError: it is not there.
    """
    return candidates(ranking, rent)[0]


def candidates(ranking: Ranking, rent: RentOptions) -> list[Offer]:
    """The offers to try, one after the other; at least one.

    Raises:
        NoOfferError: there is none, or not the one that was asked for.
    """
    wanted = rent.offer_id
    if wanted is None:
        ranking.best()
        return list(ranking.chosen)
    chosen = [offer for offer in ranking.chosen if _is_offer(wanted, offer)]
    if chosen:
        return chosen
    for offer, reason in ranking.passed_over:
        if _is_offer(wanted, offer):
            raise NoOfferError(
                f"offer {wanted} will not do: {reason}", hint="choose another, or ask for less"
            )
    raise NoOfferError(f"{rent.provider} has no offer {wanted}", hint="`ups-console offers` lists them")


def together(offers: Sequence[Offer], rent: RentOptions, capabilities: Capabilities) -> list[Offer]:
    """The offers of one kind to rent for instances that work together, the best kind that has enough.

    Args:
        offers: that will do, the best first; at least one.
        rent: how many are wanted, and where.
        capabilities: of the provider.

    Raises:
        UsageError: its instances do not reach one another.
        NoOfferError: of no kind there are enough.
    """
    number = rent.instances
    if not capabilities.private_network:
        raise UsageError(
            f"instances of {rent.provider} share no private network: {number} cannot train one model there",
            hint="`--instances N` is for sweeps, converting and precomputing there; for one model rent one "
            "with more GPUs (--num-gpus)",
        )
    if capabilities.offers_repeat:
        return [offers[0]] * number
    for first in offers:
        alike = [offer for offer in offers if _kind(offer) == _kind(first)]
        if len(alike) >= number:
            return alike[:number]
    raise NoOfferError(
        f"{rent.provider} has no {number} offers of one kind", hint="ask for fewer --instances"
    )


def _kind(offer: Offer) -> tuple[str, int, str]:
    return offer.gpu, offer.num_gpus, offer.region


def _is_offer(wanted: str, offer: Offer) -> bool:
    """Whether it is the offer of that id, or of that plan in some region."""
    return wanted in (offer.id, offer.id.partition("@")[0])


def check_day_cap(
    ledger: Ledger, settings: Settings, rent: RentOptions, usd_per_hour: float, expected_usd: float | None
) -> None:
    """Refuse what would pass the cap of the run or of the day; an unknown duration counts as an hour.

    Raises:
        OverBudgetError: names the cap, what is spent and what is expected.
    """
    money.check_caps(
        ledger.entries(),
        time.time(),
        expected_usd=usd_per_hour if expected_usd is None else expected_usd,
        cap_run_usd=rent.budget_usd if expected_usd is not None else None,
        cap_day_usd=settings.cap_usd_per_day,
    )


def before_paying(preflight: Preflight) -> Iterator[str]:
    """What a user should have read before anything is rented."""
    for check in preflight.checks:
        if check.level in (Level.DANGER, Level.WARNING):
            yield f"{'‼' if check.level is Level.DANGER else '!'} {check.text}"
    yield (
        f"${preflight.usd_per_hour:.2f}/h, expected {expected_in_words(preflight)}, "
        f"at most ${preflight.cap_usd:.2f}; ends after {preflight.deadline_hours:g} h whatever happens"
    )


def expected_in_words(preflight: Preflight) -> str:
    """The expected cost, with its range where there is one; a guess is called so."""
    low, high = preflight.usd_range
    between = f"${low:.2f} to ${high:.2f}"
    if preflight.expected_usd is None:
        return f"unknown: a guess is {between}" if preflight.estimate.parts else "unknown"
    told = f"${preflight.expected_usd:.2f}"
    if not preflight.usd_per_hour or not preflight.estimate.parts:
        return told
    return f"{told} ({between})" if preflight.estimate.measured else f"{told}, a guess: {between}"


def cap_usd(rent: RentOptions, usd_per_hour: float, expected_usd: float | None) -> float:
    """What a run may cost at most: as asked, else a multiple of what is expected up to the deadline."""
    longest = usd_per_hour * rent.max_hours
    if rent.budget_usd is not None:
        return rent.budget_usd
    return longest if expected_usd is None else min(longest, CAP_FACTOR * expected_usd)
