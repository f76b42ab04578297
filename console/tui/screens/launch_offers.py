"""What the providers would rent, as rows of the Launch screen: orders, reasons, prices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.tui.drawing.text import Row, size
from console.tui.widgets.table import Cell, TableRow

if TYPE_CHECKING:
    from console.api import Market
    from console.fleet.model import Offer

ORDERS = ("as ranked", "$/h", "VRAM", "network", "reliability")
"""Ways to sort the offers; the first is the one in which a launch would try them."""


LOCAL_OFFER = "local/this-machine"
"""The offer that costs nothing: the cursor begins there."""


def offer_key(offer: "Offer") -> str:
    """Names an offer among those of all providers."""
    return f"{offer.provider}/{offer.id}"


def in_order(markets: "Sequence[Market]", order: str) -> "list[Offer]":
    """The offers of all providers; those of one stay together where they are ranked."""
    offers = [offer for market in markets for offer in market.offers]
    if order == "$/h":
        offers.sort(key=lambda offer: offer.usd_per_hour)
    elif order == "VRAM":
        offers.sort(key=lambda offer: -offer.vram_gb * max(1, offer.num_gpus))
    elif order == "network":
        offers.sort(key=lambda offer: -(offer.network_mbps or 0.0))
    elif order == "reliability":
        offers.sort(key=lambda offer: -(offer.reliability or 0.0))
    return offers


def offer_row(offer: "Offer") -> TableRow:
    """An offer as a row of the table."""
    gpu = f"{offer.num_gpus} × {offer.gpu}" if offer.num_gpus > 1 else offer.gpu
    price = "free" if not offer.usd_per_hour else f"{offer.usd_per_hour:.2f}"
    cells: list[Cell] = [
        price,
        gpu,
        f"{offer.vram_gb:.0f} G" if offer.vram_gb else "–",
        f"{offer.network_mbps:.0f}M" if offer.network_mbps else "–",
        f"{100 * offer.reliability:.1f}" if offer.reliability is not None else "–",
        str(offer.cpu_cores),
        size(offer.ram_gb * 2**30),
        f"{offer.provider} {offer.region}" if offer.provider != "local" else offer.region,
    ]
    return TableRow(offer_key(offer), cells)


def note(markets: "Sequence[Market]", order: str) -> Row:
    """What the table does not show: failures first, then what was passed over."""
    failed = [market for market in markets if market.problem]
    if failed:
        verb = "has" if len(failed) == 1 else "have"
        return [(f"{', '.join(market.provider for market in failed)} {verb} none (w)", "bad")]
    passed_over = sum(len(market.passed_over) for market in markets)
    row: Row = [] if order == ORDERS[0] else [(f"by {order}", "muted")]
    if passed_over:
        row.append((f"{'  ' if row else ''}{passed_over} passed over (w)", "muted"))
    return row


def reasons(markets: "Sequence[Market]") -> list[Row]:
    """Why offers were passed over, and why a provider has none."""
    rows: list[Row] = []
    for market in markets:
        if market.problem:
            rows.append([(f"{market.provider}: {market.problem}", "bad")])
            if market.hint:
                rows.append([(f"  {market.hint}", "muted")])
        for offer, reason in market.passed_over:
            what = f"{offer.provider:<6}{offer.usd_per_hour:6.2f}  {offer.gpu:<14} {offer.region:<20}  "
            rows.append([(what, "text"), (reason, "muted")])
    return rows or [[("nothing was passed over", "muted")]]
