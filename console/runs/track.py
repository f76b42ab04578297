"""The points of one task and split over the steps of a run, in bounded memory.

As many as fit are kept as they are. Beyond that the older ones are joined, always the same number of
neighbours: of each value the least, the greatest and the mean of the joined points remain, so that a chart
shows every spike; the newest stay as they are. The events file has all of them.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from console.runs.event_lines import MetricLine

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CAPACITY = 16_384
"""Rows kept; a chart has at most about 600 columns of dots."""
_AT_FIRST = 64
"""Rows for which there is room at the start."""


_step, _epoch, _time, _stage, _values = map(attrgetter, ("step", "epoch", "t", "stage", "values"))


@dataclass(slots=True)
class Value:
    """One value of each row; NaN where it was not finite, or not told."""

    low: "Array"
    """[capacity] float32, as is `high`: the extremes of the joined points."""
    high: "Array"
    mean: "Array"
    """[capacity] float64; the value itself where nothing was joined."""
    latest: float | None = None
    """The newest one that was told; None where that was not finite."""


class Track:
    """Rows of columns that all values of a task and split share."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Args:
        capacity: rows at most; a power of two.
        """
        import numpy as np

        self._most = capacity
        self._newest = capacity // 8
        """Rows at the end that are never joined."""
        size = min(_AT_FIRST, capacity)
        self._step, self._epoch, self._time = (np.empty(size) for _ in range(3))
        self._stage = np.empty(size, np.int32)
        self._rows = 0
        self._joined = 0
        """Rows at the start that stand for several points each."""
        self.stride = 1
        """Points that the next ones will be joined to one of."""
        self._count = np.empty(size, np.int64)
        """Points that each row stands for."""
        self.values: dict[str, Value] = {}
        self.version = 0
        """Raised when rows were dropped or joined, so that a copy starts again."""

    def __len__(self) -> int:
        return self._rows

    @property
    def steps(self) -> "Array":
        """[n] within their stage; of joined points the first one's."""
        return self._step[: self._rows]

    @property
    def epochs(self) -> "Array":
        """[n]."""
        return self._epoch[: self._rows]

    @property
    def times(self) -> "Array":
        """[n] Unix seconds."""
        return self._time[: self._rows]

    @property
    def stages(self) -> "Array":
        """[n] index of each row's stage, in the order in which stages came."""
        return self._stage[: self._rows]

    def extend(self, lines: Sequence[MetricLine], stages: Mapping[str, int]) -> None:
        """Append points.

        Args:
            lines: in order.
            stages: name → index, of every stage that they name.
        """
        for first in range(0, len(lines), self._newest):
            self._extend(lines[first : first + self._newest], stages)

    def _extend(self, lines: Sequence[MetricLine], stages: Mapping[str, int]) -> None:
        if self._rows + len(lines) > self._most:
            self._join()
        self._grow_to(self._rows + len(lines))
        added = slice(self._rows, self._rows + len(lines))
        import numpy as np

        count = len(lines)
        self._step[added] = np.fromiter(map(_step, lines), np.float64, count)
        self._epoch[added] = np.fromiter(map(_epoch, lines), np.float64, count)
        self._time[added] = np.fromiter(map(_time, lines), np.float64, count)
        of_lines = list(map(_stage, lines))
        one = of_lines.count(of_lines[0]) == count
        self._stage[added] = stages[of_lines[0]] if one else [stages[stage] for stage in of_lines]
        self._count[added] = 1
        told = list(map(_values, lines))
        for name in dict.fromkeys(itertools.chain.from_iterable(told)):
            self._extend_value(name, added, [values.get(name) for values in told])
            newest = next(values[name] for values in reversed(told) if name in values)
            finite = newest is not None and math.isfinite(newest)
            self.values[name].latest = newest if finite else None
        self._rows = added.stop

    def _extend_value(self, name: str, added: slice, values: Sequence[float | None]) -> None:
        import numpy as np

        value = self.values.get(name)
        if value is None:
            size = len(self._step)
            value = self.values[name] = Value(
                np.full(size, np.nan, np.float32), np.full(size, np.nan, np.float32), np.full(size, np.nan)
            )
        numbers = np.array(values, np.float64)  # None becomes NaN
        numbers[~np.isfinite(numbers)] = np.nan
        value.mean[added] = numbers
        with np.errstate(over="ignore"):
            value.low[added] = value.high[added] = numbers

    def drop_after(self, stage: int, step: float) -> None:
        """Forget the points of a stage beyond `step`, and of every stage that came after it.

        Of joined points those stay whose first one does.
        """
        import numpy as np

        of_stage = self.stages == stage
        if not of_stage.any():
            return
        first = int(np.argmax(of_stage))
        stays = of_stage[first:] & (self.steps[first:] <= step)
        end = len(self) if stays.all() else first + int(np.argmin(stays))
        if end == len(self):
            return
        self._rows = end
        self._joined = min(self._joined, end)
        for value in self.values.values():
            value.low[end:] = value.high[end:] = value.mean[end:] = np.nan
            last = float(value.mean[end - 1]) if end else math.nan
            value.latest = last if math.isfinite(last) else None
        self.version += 1

    def _grow_to(self, rows: int) -> None:
        import numpy as np

        size = len(self._step)
        if rows <= size:
            return
        size = min(self._most, max(rows, 2 * size))

        def grown(old: "Array", fill: float) -> "Array":
            new = np.full(size, fill, old.dtype)
            new[: self._rows] = old[: self._rows]
            return new

        self._step, self._epoch, self._time = (grown(a, 0) for a in (self._step, self._epoch, self._time))
        self._stage, self._count = grown(self._stage, 0), grown(self._count, 0)
        for value in self.values.values():
            value.low, value.high = grown(value.low, np.nan), grown(value.high, np.nan)
            value.mean = grown(value.mean, np.nan)

    def _join(self) -> None:
        """Make room: join all rows but the newest, more of them where that is not enough."""
        loose = self._rows - self._joined - self._newest
        again, stride = 1, self.stride
        while self._joined // again + loose // stride > self._most // 2:
            again, stride = 2 * again, min(2 * stride, self._newest)
        whole = self._joined // again * again
        cuts = (
            (0, whole, again),
            (whole, self._joined, 1),
            (self._joined, self._joined + loose // stride * stride, stride),
        )
        newest = slice(cuts[-1][1], self._rows)

        def joined(array: "Array", how: Join) -> None:
            parts = [how(array[begin:end], self._count[begin:end], by) for begin, end, by in cuts]
            kept = np.concatenate([*parts, array[newest]])
            array[: len(kept)] = kept

        import numpy as np

        for value in self.values.values():
            joined(value.low, _least)
            joined(value.high, _greatest)
            joined(value.mean, _mean)
        for array in (self._step, self._epoch, self._time, self._stage):
            joined(array, _first)
        joined(self._count, _sum)
        self._joined = sum((end - begin) // by for begin, end, by in cuts)
        self._rows, self.stride = self._joined + newest.stop - newest.start, stride
        self.version += 1


Join = Callable[["Array", "Array", int], "Array"]
"""(column [n·k], points that each row stands for [n·k], k) → the column of the joined rows [n]."""


def _first(rows: "Array", counts: "Array", by: int) -> "Array":
    return rows[::by]


def _sum(rows: "Array", counts: "Array", by: int) -> "Array":
    total: Array = rows.reshape(-1, by).sum(axis=1)
    return total


def _least(rows: "Array", counts: "Array", by: int) -> "Array":
    import numpy as np

    return np.asarray(np.fmin.reduce(rows.reshape(-1, by), axis=1))


def _greatest(rows: "Array", counts: "Array", by: int) -> "Array":
    import numpy as np

    return np.asarray(np.fmax.reduce(rows.reshape(-1, by), axis=1))


def _mean(rows: "Array", counts: "Array", by: int) -> "Array":
    """Of the finite ones; NaN where there is none."""
    import numpy as np

    weights = np.where(np.isfinite(rows), counts, 0).reshape(-1, by)
    values = np.nan_to_num(rows).reshape(-1, by)
    with np.errstate(invalid="ignore"):
        return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))
