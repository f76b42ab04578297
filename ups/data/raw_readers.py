"""Reads samples of a raw file: through HDF5, or past it where the arrays lie in the file as they are.

Free of torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

import h5py
import numpy as np

from ups.data.hdf5 import open_dataset
from ups.data.plain_arrays import Floats, PlainArray
from ups.data.selection import Frames, Thinning


class Reader(Protocol):
    """Reads samples of a named dataset."""

    def samples(self, name: str, rows: slice, frames: Frames = None) -> Floats:
        """[n, …]: all frames of the samples, or some, or one."""
        ...


@dataclass(frozen=True, slots=True)
class PlainReader:
    """Reads arrays at their places in the file."""

    file: FileIO
    """Unbuffered."""
    arrays: Mapping[str, PlainArray]
    """Of each dataset; where each sample has a group of its own, by `group/dataset`, with an axis of one."""
    groups: Sequence[str]

    def samples(self, name: str, rows: slice, frames: Frames = None) -> Floats:
        """[n, …]: all frames of the samples, or some, or one."""
        if not self.groups:
            return self._read(self.arrays[name], range(rows.start, rows.stop), frames)
        parts = [self._read(self.arrays[f"{group}/{name}"], range(1), frames) for group in self.groups[rows]]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read(self, array: PlainArray, rows: range, frames: Frames) -> Floats:
        if frames is None:
            return array.read(self.file, rows)
        if isinstance(frames, int):
            return array.read(self.file, rows, range(frames, frames + 1))[:, 0]
        return array.read(self.file, rows, range(*frames.indices(array.shape[1])))


@dataclass(frozen=True, slots=True)
class Hdf5Reader:
    """Reads whatever HDF5 can read, and only what is wanted of it."""

    file: h5py.File
    thinning: Thinning
    groups: Sequence[str]

    def samples(self, name: str, rows: slice, frames: Frames = None) -> Floats:
        """[n, …]: all frames of the samples, or some, or one."""
        if not self.groups:
            return self.thinning.rows(open_dataset(self.file, name), rows, frames)
        parts = [
            self.thinning.sample(open_dataset(self.file, f"{group}/{name}"), frames)[None]
            for group in self.groups[rows]
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
