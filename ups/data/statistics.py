"""Mean, deviation and range of each channel, accumulated in float64 sample by sample.

Sums are kept per sample and added in the samples' order at the end, so that the result does not
depend on the blocks in which the samples came; a sample that comes in parts is always cut alike. Free
of torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_PIECE = 65536
"""Values at a time: their float64 copies stay in the processor's cache, which is more than twice as fast."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Per sample and channel: the sums over the sample's values, and their extremes. All [n, C]."""

    total: Doubles
    square: Doubles
    low: Doubles
    high: Doubles
    count: NDArray[np.int64]
    """[n] values of one channel in each sample."""

    @classmethod
    def of(cls, values: Floats) -> "Moments":
        """Of samples [n, …, C]."""
        samples, channels = len(values), values.shape[-1]
        flat = values.reshape(samples, -1, channels)
        count = flat.shape[1]
        total, square = np.zeros((samples, channels)), np.zeros((samples, channels))
        low, high = np.full((samples, channels), np.inf), np.full((samples, channels), -np.inf)
        width = min(count, _PIECE)
        rows = min(samples, _PIECE // width)
        buffer = np.empty((rows, width))  # one for all: memory that is new is slower than the sums
        for top in range(0, samples, rows):
            for left in range(0, count, width):
                piece = flat[top : top + rows, left : left + width]
                wide = buffer[: piece.shape[0], : piece.shape[1]]
                for channel in range(channels):
                    here = slice(top, top + rows), channel
                    np.copyto(wide, piece[..., channel])
                    low[here] = np.minimum(low[here], wide.min(axis=1))
                    high[here] = np.maximum(high[here], wide.max(axis=1))
                    total[here] += wide.sum(axis=1)
                    np.square(wide, out=wide)  # a product would wake the BLAS threads
                    square[here] += wide.sum(axis=1)
        return cls(total, square, low, high, np.full(samples, count, np.int64))

    @classmethod
    def joined(cls, parts: Sequence["Moments"]) -> "Moments":
        """Those of several sets of samples, in order."""
        return cls.unpacked(np.concatenate([part.packed() for part in parts]))

    def packed(self) -> Doubles:
        """[n, C, 5]: all of it in one array."""
        count = np.broadcast_to(self.count[:, None], self.total.shape)
        return np.stack([self.total, self.square, self.low, self.high, count], axis=-1)

    @classmethod
    def unpacked(cls, array: Doubles) -> "Moments":
        """The moments that were `packed`."""
        total, square, low, high, count = np.moveaxis(array, -1, 0)
        return cls(total, square, low, high, count[:, 0].astype(np.int64))

    def merged(self, other: "Moments") -> "Moments":
        """Those of the same samples over the values of both."""
        return Moments(
            self.total + other.total,
            self.square + other.square,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.count + other.count,
        )

    def take(self, rows: NDArray[np.bool_]) -> "Moments":
        """Of the samples where `rows` [n] is true."""
        return Moments(self.total[rows], self.square[rows], self.low[rows], self.high[rows], self.count[rows])


@dataclass(slots=True)
class Accumulator:
    """Collects the moments of a set of samples."""

    parts: list[Moments] = field(default_factory=list)

    def add(self, moments: Moments, *, continues: bool = False) -> None:
        """Take in further samples, or, where it `continues`, further values of those added last."""
        if continues:
            self.parts[-1] = self.parts[-1].merged(moments)
        else:
            self.parts.append(moments)

    def mean(self) -> Doubles:
        """[C]."""
        return np.asarray(self._joined("total").sum(axis=0) / self._values(), np.float64)

    def std(self) -> Doubles:
        """[C]; 0 where a channel is constant."""
        low, high = self.low(), self.high()
        square = self._joined("square").sum(axis=0) / self._values()
        spread = np.sqrt(np.maximum(square - self.mean() ** 2, 0.0))
        return np.asarray(np.where(low == high, 0.0, spread), np.float64)

    def low(self) -> Doubles:
        """[C]."""
        low: Doubles = self._joined("low").min(axis=0)
        return low

    def high(self) -> Doubles:
        """[C]."""
        high: Doubles = self._joined("high").max(axis=0)
        return high

    def _values(self) -> int:
        return int(sum(part.count.sum() for part in self.parts))

    def _joined(self, name: str) -> Doubles:
        return np.concatenate([getattr(part, name) for part in self.parts])
