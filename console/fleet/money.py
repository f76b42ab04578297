"""What instances cost: per hour, so far, to the end, today, and the caps that stand above it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from console.errors import OverBudgetError
from console.fleet.ledger import Entry

SECONDS_PER_HOUR = 3600.0


def usd_so_far(entry: Entry, now: float, *, since: float = 0.0) -> float:
    """Dollars from the intent, or from `since`, until the end or now."""
    start = max(entry.created, since)
    end = entry.ended if entry.ended is not None else now
    return max(0.0, end - start) / SECONDS_PER_HOUR * entry.usd_per_hour


def usd_to_end(entry: Entry, now: float, *, ends_at: float | None = None) -> float:
    """Dollars that an instance will cost from now on, to its deadline, or to `ends_at` where that is known.

    Never more than what its cap leaves; 0 of one that has ended.
    """
    if entry.ended is not None or not entry.living:
        return 0.0
    end = entry.deadline if ends_at is None else min(ends_at, entry.deadline)
    ahead = max(0.0, end - now) / SECONDS_PER_HOUR * entry.usd_per_hour
    return min(ahead, max(0.0, entry.cap_usd - usd_so_far(entry, now))) if entry.cap_usd > 0 else ahead


def usd_today(entries: Iterable[Entry], now: float) -> float:
    """Dollars since local midnight, over all instances."""
    local = time.localtime(now)
    midnight = time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1))
    return sum(usd_so_far(entry, now, since=midnight) for entry in entries)


def usd_per_hour(entries: Iterable[Entry]) -> float:
    """What all living instances cost together."""
    return sum(entry.usd_per_hour for entry in entries if entry.living)


@dataclass(frozen=True, slots=True)
class Spending:
    """What runs, and the day, have cost so far: what a single instance cannot know."""

    of_run: Mapping[str, float] = field(default_factory=dict)
    """Run → dollars, over all of its attempts."""
    today_usd: float = 0.0
    cap_day_usd: float | None = None

    @classmethod
    def of(cls, entries: Iterable[Entry], now: float, *, cap_day_usd: float | None) -> "Spending":
        """Add up a ledger."""
        entries = list(entries)
        of_run: dict[str, float] = {}
        for entry in entries:
            if entry.run is not None:
                of_run[entry.run] = of_run.get(entry.run, 0.0) + usd_so_far(entry, now)
        return cls(of_run, usd_today(entries, now), cap_day_usd)


def over_cap(entry: Entry, now: float, spending: Spending | None = None) -> bool:
    """Whether a run has used up its cap, on this instance and, where `spending` knows them, its others."""
    if entry.cap_usd <= 0 or entry.usd_per_hour <= 0:
        return False
    spent = usd_so_far(entry, now)
    if spending is not None and entry.run is not None:
        spent = max(spent, spending.of_run.get(entry.run, 0.0))
    return spent >= entry.cap_usd


def must_end(entry: Entry, now: float, spending: Spending | None = None) -> str | None:
    """Why an instance may not live any longer, whatever it does: deadline, cap of its run, cap of the day.

    None: it may. What costs nothing is not ended by a cap.
    """
    if not entry.living:
        return None
    if now >= entry.deadline:
        return "its deadline has come"
    if over_cap(entry, now, spending):
        return f"its run has used up its cap of ${entry.cap_usd:.2f}"
    if (
        spending is not None
        and spending.cap_day_usd is not None
        and entry.usd_per_hour > 0
        and spending.today_usd >= spending.cap_day_usd
    ):
        return f"the day has used up its cap of ${spending.cap_day_usd:.2f}"
    return None


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
