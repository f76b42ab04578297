"""Which part of a raw file is taken: its first samples, every k-th frame, every k-th cell.

Nothing is averaged: a value of the part is a value of the file, as in the work that others publish on
these data with a reduced resolution. Along each axis the cells 0, k, 2k … stay, with the coordinates
that they have; their first lies half a cell *of the file* inside of the domain. Free of torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.layouts import Layout
from ups.data.source import Discretisation
from ups.errors import DataError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a user asks for; by default everything."""

    samples: int | None = None
    """The first so many; all where a file has fewer."""
    resolution: int | None = None
    """Cells along the longest axis."""
    stride: int = 1
    """Of the stored frames every so many-th, from the first one; without meaning for a static task."""

    @property
    def everything(self) -> bool:
        return self == Selection()

    def to_json(self) -> dict[str, Any]:
        """What provenance says of it: only what restricts."""
        asked = {"samples": self.samples, "resolution": self.resolution}
        stated = {name: value for name, value in asked.items() if value is not None}
        return stated | ({"stride": self.stride} if self.stride != 1 else {})

    def applied(self, layout: Layout, path: Path) -> Layout:
        """The layout of what is left of a file.

        Raises:
            DataError: the resolution does not divide the file's, or fewer than two frames are left.
        """
        whole, thinning = layout.discretisation, self.thinning(layout, path)
        times = whole.times[:: self.stride]
        if not whole.spec.static and len(times) < 2:
            raise DataError(
                f"{path} has {len(whole.times)} frames: at a stride of {self.stride} a single one is left",
                hint="take a smaller --stride",
            )
        coordinates = tuple(values[:: thinning.cells] for values in whole.coordinates)
        samples = min(layout.samples, self.samples or layout.samples)
        return replace(
            layout,
            discretisation=Discretisation(whole.spec, times, whole.axes, coordinates),
            samples=samples,
            groups=layout.groups[:samples],
        )

    def thinning(self, layout: Layout, path: Path) -> "Thinning":
        """How to read what is left of a file; `layout` is of all of it. Raises as `applied`."""
        whole = layout.discretisation
        longest = max(whole.grid)
        if self.resolution is not None and (
            longest % self.resolution or any(cells % (longest // self.resolution) for cells in whole.grid)
        ):
            grid = " × ".join(map(str, whole.grid))
            divisors = [n for n in range(1, longest + 1) if longest % n == 0][-5:]
            raise DataError(
                f"{path} has {grid} cells, which {self.resolution} does not divide",
                hint=f"--resolution may be {', '.join(map(str, divisors))} or another divisor",
            )
        return Thinning(
            frames=1 if whole.spec.static else self.stride,
            cells=longest // self.resolution if self.resolution else 1,
            dims=len(whole.grid),
            channel_axis=layout.channel_axis,
        )


Frames = int | slice | None
"""One frame of the file; some of those that are kept; or all of those (or none, of a static task)."""


@dataclass(frozen=True, slots=True)
class Thinning:
    """Reads every k-th frame and cell of a dataset [(N,) (T,) *S, (C)]."""

    frames: int
    cells: int
    dims: int
    """Spatial axes."""
    channel_axis: bool

    @property
    def keeps_all(self) -> bool:
        return self.frames == 1 and self.cells == 1

    def rows(self, dataset: h5py.Dataset, rows: slice, frames: Frames = None) -> Floats:
        """Samples of a dataset whose first axis they are."""
        if self.cells == 1:
            return _single(dataset[(rows, *self._frames(frames))])
        # One after another: what is read is larger than what stays of it.
        return np.stack(
            [self._cells(dataset[(row, *self._frames(frames))]) for row in range(*rows.indices(len(dataset)))]
        )

    def sample(self, dataset: h5py.Dataset, frames: Frames = None) -> Floats:
        """The same of a dataset that is one sample."""
        return self._cells(dataset[self._frames(frames)])

    def _frames(self, frames: Frames) -> tuple[int | slice, ...]:
        if isinstance(frames, int):
            return (frames,)
        if frames is None or frames == slice(None):
            return () if self.frames == 1 else (slice(None, None, self.frames),)
        return (slice(frames.start * self.frames, (frames.stop - 1) * self.frames + 1, self.frames),)

    # HDF5 reads strided cells one by one: those are better read whole and dropped.
    def _cells(self, values: NDArray[np.floating[Any]]) -> Floats:
        space = (slice(None, None, self.cells),) * self.dims
        index = (..., *space, *((slice(None),) if self.channel_axis else ()))
        return _single(values[index])


def _single(values: NDArray[np.floating[Any]]) -> Floats:
    return values.astype(np.float32, copy=False)
