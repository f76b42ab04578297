"""Which offer to take: the wanted GPU before its fallbacks, and the cheapest of those that can do the job.

Offers that cannot are passed over, each with its reason. Nothing here knows a provider.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from console.errors import ProviderError
from console.fleet import gpus
from console.fleet.model import Offer, OfferQuery

_VRAM_TOLERANCE = 0.98
"""A GPU of 24 GB may show 23.6 of them."""


class NoOfferError(ProviderError):
    """Nothing that is offered can do the job for the price; nothing was rented."""


@dataclass(frozen=True, slots=True)
class Need:
    """One demand on an offer."""

    name: str
    unmet: Callable[[Offer], str]
    """Why an offer does not meet it; empty where it does."""
    distance: Callable[[Offer], float]
    """The offer with the least of it comes nearest to meeting the demand."""
    hint: str
    """What a user can do where nobody meets it."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Offers in the order in which they would be taken, and the others."""

    chosen: tuple[Offer, ...]
    passed_over: tuple[tuple[Offer, str], ...] = ()
    """Each with its reason; those that came nearest first."""
    problem: NoOfferError | None = None
    """Why nothing was chosen: which demands ruled the offers out, and how near one came."""

    def best(self) -> Offer:
        """The offer to take.

        Raises:
            NoOfferError: there is none.
        """
        if self.problem is not None:
            raise self.problem
        return self.chosen[0]


def rank(
    query: OfferQuery,
    offers: Sequence[Offer],
    *,
    failed_machines: Mapping[str, str] | None = None,
    traffic_gb: float = 0.0,
    hours: float = 1.0,
) -> Ranking:
    """Order the offers, the one to take first.

    `failed_machines` maps a machine that is not wanted again to what happened there. `traffic_gb` is what
    the job downloads in its `hours`: its price counts as part of the price by the hour.
    """

    def price(offer: Offer) -> float:
        return effective_usd_per_hour(offer, traffic_gb=traffic_gb, hours=hours)

    needs = _needs(query, failed_machines or {}, price)
    chosen: list[Offer] = []
    failed: list[tuple[int, Offer, str]] = []
    for offer in offers:
        for i, need in enumerate(needs):
            if reason := need.unmet(offer):
                failed.append((i, offer, reason))
                break
        else:
            chosen.append(offer)
    chosen.sort(key=lambda offer: (_preference(query, offer), price(offer), -(offer.reliability or 0.0)))
    failed.sort(key=lambda fail: (-fail[0], needs[fail[0]].distance(fail[1]), price(fail[1])))
    passed_over = tuple((offer, reason) for _, offer, reason in failed)
    problem = None if chosen else _problem(query, needs, failed)
    return Ranking(tuple(chosen), passed_over, problem)


def _problem(
    query: OfferQuery, needs: Sequence[Need], failed: Sequence[tuple[int, Offer, str]]
) -> NoOfferError:
    if not failed:
        wanted = " or ".join(query.gpus) or "machine"
        kind = " to bid for" if query.spot else ""
        return NoOfferError(
            f"nobody offers a {wanted} ×{query.num_gpus}{kind} now",
            hint="name a fallback GPU, or try again later",
        )
    count = Counter(index for index, _, _ in failed)
    counts = ", ".join(f"{count[i]} by {needs[i].name}" for i in sorted(count))
    last, near, reason = failed[0]
    return NoOfferError(
        f"none of {len(failed)} offers will do; ruled out: {counts}. The nearest, {describe(near)}: {reason}",
        hint=needs[last].hint,
    )


def effective_usd_per_hour(offer: Offer, *, traffic_gb: float, hours: float) -> float:
    """The price by the hour with the traffic's share of it."""
    return offer.usd_per_hour + offer.usd_per_gb * traffic_gb / max(hours, 1e-9)


def describe(offer: Offer) -> str:
    """An offer in a few words."""
    number = f" ×{offer.num_gpus}" if offer.num_gpus > 1 else ""
    region = f" in {offer.region}" if offer.region else ""
    return f"{offer.gpu}{number}{region} at ${offer.usd_per_hour:.2f}/h"


def _preference(query: OfferQuery, offer: Offer) -> int:
    for i, wanted in enumerate(query.gpus):
        if gpus.is_meant(wanted, offer.gpu):
            return i
    return len(query.gpus)


def _needs(query: OfferQuery, failed: Mapping[str, str], price: Callable[[Offer], float]) -> list[Need]:
    """The demands in the order in which they are checked: what money cannot mend comes first."""

    def gpu(offer: Offer) -> str:
        met = not query.gpus or any(gpus.is_meant(wanted, offer.gpu) for wanted in query.gpus)
        return "" if met else f"it is no {' or '.join(query.gpus)}"

    def number(offer: Offer) -> str:
        met = offer.num_gpus == query.num_gpus or (not query.gpus and offer.num_gpus == 0)
        return "" if met else f"{offer.num_gpus} GPUs instead of {query.num_gpus}"

    def kind(offer: Offer) -> str:
        if offer.spot == query.spot:
            return ""
        return "it may be taken away at any time" if offer.spot else "it is not for bidding"

    def vram(offer: Offer) -> str:
        unknown = offer.vram_gb <= 0 and offer.num_gpus > 0
        met = unknown or offer.vram_gb >= query.min_vram_gb * _VRAM_TOLERANCE
        return "" if met else f"{offer.vram_gb:g} GB of VRAM, {query.min_vram_gb:g} needed"

    def disk(offer: Offer) -> str:
        met = offer.disk_gb >= query.disk_gb
        return "" if met else f"{offer.disk_gb:.0f} GB of disk, {query.disk_gb:.0f} needed"

    def network(offer: Offer) -> str:
        met = offer.network_mbps is None or offer.network_mbps >= query.min_network_mbps
        return "" if met else f"{offer.network_mbps:.0f} Mbit/s, {query.min_network_mbps:.0f} needed"

    def reliability(offer: Offer) -> str:
        met = offer.reliability is None or offer.reliability >= query.min_reliability
        return "" if met else f"reliability {offer.reliability:.1%}, {query.min_reliability:.1%} needed"

    def cuda(offer: Offer) -> str:
        met = query.cuda is None or offer.cuda is None or _version(offer.cuda) >= _version(query.cuda)
        return "" if met else f"its driver takes CUDA {offer.cuda:g}, the image needs {query.cuda:g}"

    def region(offer: Offer) -> str:
        met = query.region is None or _is_in(query.region, offer.region)
        return "" if met else f"it is in {offer.region or 'an unknown place'}"

    def machine(offer: Offer) -> str:
        cause = failed.get(offer.machine) if offer.machine is not None else None
        return "" if cause is None else f"machine {offer.machine} failed before: {cause or 'no details'}"

    def cap(offer: Offer) -> str:
        if query.max_usd_per_hour is None or price(offer) <= query.max_usd_per_hour:
            return ""
        return f"${price(offer):.3f}/h with disk and traffic, at most ${query.max_usd_per_hour:.3f} allowed"

    def lacking(value: Callable[[Offer], float | None]) -> Callable[[Offer], float]:
        return lambda offer: -(value(offer) or 0.0)

    return [
        Need("GPU", gpu, price, "name another GPU, or a fallback"),
        Need("number of GPUs", number, lambda offer: abs(offer.num_gpus - query.num_gpus),
             "ask for another number of GPUs"),
        Need("kind of rent", kind, price, "ask for spot, or for on-demand, machines"),
        Need("VRAM", vram, lacking(lambda offer: offer.vram_gb), "ask for less VRAM, or name a larger GPU"),
        Need("disk", disk, lacking(lambda offer: offer.disk_gb), "ask for a smaller disk"),
        Need("network", network, lacking(lambda offer: offer.network_mbps), "ask for less bandwidth"),
        Need("reliability", reliability, lacking(lambda offer: offer.reliability),
             "accept less reliable hosts"),
        Need("CUDA", cuda, lacking(lambda offer: offer.cuda), "use an image with an older CUDA"),
        Need("region", region, price, "name another region, or none"),
        Need("machine", machine, price, "try again later, or clear the list of failed machines"),
        Need("price", cap, price, "raise the price cap to what the nearest offer costs"),
    ]  # fmt: skip


def _version(cuda: float) -> tuple[int, int]:
    major, _, minor = f"{cuda:.1f}".partition(".")
    return int(major), int(minor)


def _is_in(wanted: str, region: str) -> bool:
    """Whether `PL`, `poland` or `Poland, PL` name the region `Poland, PL`."""
    name, place = wanted.strip().lower(), region.strip().lower()
    return name == place or name in (part.strip() for part in place.split(","))
