"""The points of one task and split over the steps of a run, in bounded memory.

As many as fit are kept as they are. Beyond that the older ones are joined, always the same number of
neighbours: of each value the least, the greatest and the mean of the joined points remain, so that a chart
shows every spike; the newest stay as they are. The events file has all of them.
"""

import math
from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from console.runs.columns import TrackColumns

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CAPACITY = 16_384
"""Rows kept; a chart has at most about 600 columns of dots."""
_AT_FIRST = 64
"""Rows for which there is room at the start."""


class Value(Struct):
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

    def extend(self, points: TrackColumns, stages: Mapping[str, int]) -> None:
        """Append points.

        Args:
            points: in order.
            stages: name → index, of every stage that they name.
        """
        for first in range(0, len(points), self._newest):
            self._extend(points, slice(first, min(first + self._newest, len(points))), stages)
        for name, newest in points.latest.items():
            self.values[name].latest = newest

    def _extend(self, points: TrackColumns, part: slice, stages: Mapping[str, int]) -> None:
        count = part.stop - part.start
        if self._rows + count > self._most:
            self._join()
        self._grow_to(self._rows + count)
        added = slice(self._rows, self._rows + count)
        self._step[added] = points.steps[part]
        self._epoch[added] = points.epochs[part]
        self._time[added] = points.times[part]
        names = points.stages
        self._stage[added] = stages[names] if isinstance(names, str) else [stages[n] for n in names[part]]
        self._count[added] = 1
        for name, column in points.values.items():
            self._extend_value(name, added, column[part])
        for name in self.values.keys() - points.values.keys():
            self._extend_value(name, added, None)
        self._rows = added.stop

    def _extend_value(self, name: str, added: slice, column: "array[float] | None") -> None:
        """Fill in a column; None: nothing was told."""
        import numpy as np

        value = self.values.get(name)
        if value is None:
            size = len(self._step)
            value = self.values[name] = Value(
                np.full(size, np.nan, np.float32), np.full(size, np.nan, np.float32), np.full(size, np.nan)
            )
        if column is None:
            value.mean[added] = value.low[added] = value.high[added] = np.nan
            return
        numbers = np.array(column, np.float64)
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

        def joined(column: "Array", how: Join) -> None:
            parts = [how(column[begin:end], self._count[begin:end], by) for begin, end, by in cuts]
            kept = np.concatenate([*parts, column[newest]])
            column[: len(kept)] = kept

        import numpy as np

        for value in self.values.values():
            joined(value.low, _least)
            joined(value.high, _greatest)
            joined(value.mean, _mean)
        for column in (self._step, self._epoch, self._time, self._stage):
            joined(column, _first)
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
