"""Arrays that lie in an HDF5 file as they are: contiguous, uncompressed, of little-endian float32.

They are read at their places with plain reads, which takes less copying than through HDF5, and no handle.
Free of torch.
"""

import math
import os
from dataclasses import dataclass
from io import FileIO

import h5py
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_ITEM = 4
"""Bytes of a value."""


@dataclass(frozen=True, slots=True)
class PlainArray:
    """Where an array lies in its file."""

    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "PlainArray | None":
        """None where it has to be read through HDF5."""
        properties = dataset.id.get_create_plist()
        if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_external_count():
            return None
        offset = dataset.id.get_offset()  # None: it was never written
        if offset is None or dataset.dtype != np.dtype("<f4"):
            return None
        return cls(int(offset), dataset.shape)

    def read(self, file: FileIO, rows: range, frames: range | None = None) -> Floats:
        """Consecutive samples.

        Args:
            file: the file, unbuffered.
            rows: along the first axis; consecutive.
            frames: of each of them, along the second axis; consecutive. None: the whole samples.

        Returns:
            [rows, frames, …], or [rows, …].

        Raises:
            OSError: the file ends before.
        """
        stride = _ITEM * math.prod(self.shape[1:])
        start = self.offset + rows.start * stride
        if frames is None or len(frames) == self.shape[1]:
            values = np.empty((len(rows), *self.shape[1:]), "<f4")
            _fill(file, values, start)
            return values
        values = np.empty((len(rows), len(frames), *self.shape[2:]), "<f4")
        start += frames.start * (stride // self.shape[1])
        for row, sample in enumerate(values):
            _fill(file, sample, start + row * stride)
        return values


def _fill(file: FileIO, values: Floats, start: int) -> None:
    rest = values.data.cast("B")
    while rest:
        count = os.preadv(file.fileno(), [rest], start)
        if not count:
            raise OSError("truncated file: it ends before its values do")
        rest, start = rest[count:], start + count
