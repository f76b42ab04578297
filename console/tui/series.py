"""A growing curve: positions, values and their exponential average, appended in batches.

A point may stand for several that lie close together; then it has the range of their values.
"""

import math
from typing import TYPE_CHECKING, Any

from console.tui.drawing.curves import Memo

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WINDOW_SHARE = 0.05
"""The average looks back over this share of the points."""


class Series:
    """Points in the order in which they were measured, in arrays that double when full."""

    def __init__(self, capacity: int = 256) -> None:
        import numpy as np

        self._x = np.empty(capacity)
        self._y = np.empty(capacity)
        self._low, self._high = np.empty(capacity, np.float32), np.empty(capacity, np.float32)
        self._smooth = np.empty(capacity)
        self._length = 0
        self.memo, self.smooth_memo = Memo(), Memo()
        self._average = math.nan
        self._least = math.inf
        self._weight = _weight(0)
        self._weighted_at = 64
        """Length at which the weight of the past was chosen."""

    def __len__(self) -> int:
        return self._length

    @property
    def x(self) -> "Array":
        """Positions, [n], ascending."""
        return self._x[: self._length]

    @property
    def y(self) -> "Array":
        """Values, [n]; NaN where the measurement was not finite."""
        return self._y[: self._length]

    @property
    def low(self) -> "Array":
        """[n] least of the values that a point stands for."""
        return self._low[: self._length]

    @property
    def high(self) -> "Array":
        """[n] greatest of them."""
        return self._high[: self._length]

    @property
    def smooth(self) -> "Array":
        """Exponential average of the finite values, [n]; NaN where y is."""
        return self._smooth[: self._length]

    @property
    def least_average(self) -> float | None:
        """The lowest that the average has been; None before it is known."""
        return self._least if math.isfinite(self._least) else None

    @property
    def last(self) -> float | None:
        """The newest value, None where there is none or it was not finite."""
        value = float(self._y[self._length - 1]) if self._length else math.nan
        return value if math.isfinite(value) else None

    def extend(self, x: "Array", y: "Array", low: "Array | None" = None, high: "Array | None" = None) -> None:
        """Append points.

        Args:
            x: [n] positions; one before those that are there is moved to their end.
            y: [n] values.
            low: [n] least of the values that each point stands for; None: it stands for one.
            high: [n] greatest of them.
        """
        import numpy as np

        if not len(x):
            return

        needed = self._length + len(x)
        if needed > len(self._x):
            capacity = max(needed, 2 * len(self._x))
            for name in ("_x", "_y", "_low", "_high", "_smooth"):
                old = getattr(self, name)
                grown = np.empty(capacity, old.dtype)
                grown[: self._length] = old[: self._length]
                setattr(self, name, grown)
        added = slice(self._length, needed)
        before = self._x[self._length - 1] if self._length else -math.inf
        self._x[added] = np.maximum.accumulate(np.maximum(x, before))
        with np.errstate(over="ignore"):
            self._y[added] = y
            self._low[added], self._high[added] = y if low is None else low, y if high is None else high
        self._length = needed
        if needed >= 2 * self._weighted_at:
            # A longer curve is averaged over more points; doubling keeps this cheap.
            self._weight, self._weighted_at = _weight(needed), needed
            self._average, added = math.nan, slice(0, needed)
            self._least = math.inf
        self._smooth[added] = averages = self._averaged(self._y[added])
        self._least = float(np.fmin.reduce(averages, initial=self._least))

    def place(self, x: "Array") -> None:
        """Give all points other positions, [n]; what lies before its predecessor is moved to it."""
        import numpy as np

        self._x[: self._length] = np.maximum.accumulate(x)
        self.memo.clear()
        self.smooth_memo.clear()

    def cut_after(self, x: float) -> None:
        """Drop the points beyond `x`: the run was taken up again from there."""
        import numpy as np

        self._length = int(np.searchsorted(self.x, x, "right"))
        self.memo.clear()
        self.smooth_memo.clear()
        finite = self.smooth[np.isfinite(self.smooth)]
        self._average = float(finite[-1]) if len(finite) else math.nan
        self._least = float(finite.min()) if len(finite) else math.inf

    def nearest(self, x: float) -> int | None:
        """Index of the point nearest to `x`."""
        import numpy as np

        if not self._length:
            return None
        after = int(np.searchsorted(self.x, x))
        if after == 0 or after == self._length:
            return min(after, self._length - 1)
        return after - 1 if x - self._x[after - 1] <= self._x[after] - x else after

    def _averaged(self, y: "Array") -> "Array":
        """The exponential average continued over new values, in blocks that stay in float range."""
        import numpy as np

        result = np.full(len(y), np.nan)
        where = np.flatnonzero(np.isfinite(y))
        block = max(1, int(27 / -math.log(self._weight)))
        for start in range(0, len(where), block):
            chosen = where[start : start + block]
            values = y[chosen]
            if not math.isfinite(self._average):
                self._average = float(values[0])
            power = self._weight ** np.arange(1, len(values) + 1)
            line = power * (self._average + (1 - self._weight) * np.cumsum(values / power))
            result[chosen] = line
            self._average = float(line[-1])
        return result


def _weight(length: int) -> float:
    """Weight of the past in the exponential average of a curve of `length` points."""
    return 1 - 2 / (1 + max(7.0, WINDOW_SHARE * length))
