"""How many runs of a sweep fit at a time: by number, by the cap of the day, by the cap of all of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from console.fleet.ledger import Entry
from console.fleet.money import usd_so_far, usd_to_end, usd_today


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the runs of a sweep may take together.

    Every run that lives counts with all that it may still cost, up to its cap. When one ends, what it
    has not used is free for the next.
    """

    most: int
    """Runs at a time."""
    cap_day_usd: float
    budget_usd: float | None
    """Of the sweep."""

    def fits(
        self,
        entries: Iterable[Entry],
        now: float,
        *,
        runs: Collection[str],
        cap_usd: float,
    ) -> bool:
        """Whether one more run fits beside those that live.

        Args:
            entries: the ledger.
            now: Unix seconds.
            runs: the sweep's, so far.
            cap_usd: of the run that is next.
        """
        if cap_usd == 0:
            return True
        entries = list(entries)
        ahead = sum(usd_to_end(entry, now) for entry in entries)
        if usd_today(entries, now) + ahead + cap_usd > self.cap_day_usd:
            return False
        left = self.left(entries, now, runs=runs)
        return left is None or cap_usd <= left

    def left(self, entries: Iterable[Entry], now: float, *, runs: Collection[str]) -> float | None:
        """Dollars of the sweep's cap that its runs have not taken, and cannot take; None: it has no cap."""
        if self.budget_usd is None:
            return None
        taken = sum(usd_so_far(e, now) + usd_to_end(e, now) for e in entries if e.run in runs)
        return max(0.0, self.budget_usd - taken)


def fitting(caps: Sequence[float], most: int, free_usd: float) -> int:
    """How many of the first runs, by their caps in dollars, fit at a time; one always does."""
    count, taken = 0, 0.0
    for cap in caps[:most]:
        taken += cap
        if taken > free_usd and cap > 0:
            break
        count += 1
    return max(1, count)


def makespan(seconds: Sequence[float], parallel: int) -> float:
    """Seconds until the last of them has ended, where each starts when the first of `parallel` is free."""
    ends = [0.0] * max(1, parallel)
    for duration in seconds:
        ends.sort()
        ends[0] += duration
    return max(ends)
