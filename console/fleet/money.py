"""What instances cost: per hour, so far, today, and the caps that stand above it."""

import time
from collections.abc import Iterable

from console.errors import OverBudgetError
from console.fleet.ledger import Entry

SECONDS_PER_HOUR = 3600.0


def usd_so_far(entry: Entry, now: float, *, since: float = 0.0) -> float:
    """Dollars from the intent, or from `since`, until the end or now."""
    start = max(entry.created, since)
    end = entry.ended if entry.ended is not None else now
    return max(0.0, end - start) / SECONDS_PER_HOUR * entry.usd_per_hour


def usd_today(entries: Iterable[Entry], now: float) -> float:
    """Dollars since local midnight, over all instances."""
    local = time.localtime(now)
    midnight = time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1))
    return sum(usd_so_far(entry, now, since=midnight) for entry in entries)


def usd_per_hour(entries: Iterable[Entry]) -> float:
    """What all living instances cost together."""
    return sum(entry.usd_per_hour for entry in entries if entry.living)


def check_caps(
    entries: Iterable[Entry],
    now: float,
    *,
    expected_usd: float,
    cap_run_usd: float | None,
    cap_day_usd: float,
) -> None:
    """Refuse a launch that would break a cap.

    Raises:
        OverBudgetError: names the cap, what is spent and what is expected.
    """
    if cap_run_usd is not None and expected_usd > cap_run_usd:
        raise OverBudgetError(
            f"the run is expected to cost ${expected_usd:.2f}, its cap is ${cap_run_usd:.2f}",
            hint="raise --budget, or choose a cheaper offer",
        )
    spent = usd_today(entries, now)
    if expected_usd > 0 and spent + expected_usd > cap_day_usd:
        raise OverBudgetError(
            f"${spent:.2f} were spent today; ${expected_usd:.2f} more would pass the cap of "
            f"${cap_day_usd:.2f} a day",
            hint="raise caps.usd_per_day in config.toml, or wait until tomorrow",
        )
