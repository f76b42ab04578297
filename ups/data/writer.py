"""Writes one converted file, segment by segment, in any order and by several processes.

HDF5 lays the file out, with contiguous datasets whose space is reserved; the values then go to the
datasets' offsets with plain writes. So a full disk is an ordinary error at a known place, and the
bytes of a file depend on nothing but what it holds. Free of torch.
"""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.fields import AXIS_NAMES, FORMAT
from ups.data.hdf5 import Attribute, put_attribute, put_dataset, reserve
from ups.data.source import AnyBlock, AnyDiscretisation, Block, Discretisation
from ups.store import store_error

_BACKGROUND_BYTES = 1024 * 1024
"""Fewer are not worth a thread."""
_VERSIONS = ("earliest", "v110")
"""Of HDF5 that can read what is written."""
_ALIGNMENT = 4096
"""Large datasets begin at a page, which is what memory maps like."""
_HASH = re.compile(rb'"sha256": "([0-9a-f]{64})"')
"""Of a source, in the provenance."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What a converted file says about each of its samples."""

    parameters: NDArray[np.float32]
    """[N, P]."""
    initial_condition: NDArray[np.int64]
    """[N]."""
    source: NDArray[np.int32]
    """[N] index into the provenance."""
    sample: NDArray[np.int64]
    """[N] index within that source."""


class SegmentWriter(Protocol):
    """Takes the samples of one segment that belong to one split, in order; close it to sync it to disk."""

    def write(self, block: AnyBlock) -> None:
        """Put the next samples; raises StoreError where the space is not there."""
        ...

    def close(self) -> None:
        """Sync to disk; raises StoreError where that fails."""
        ...


class SplitFile(Protocol):
    """A converted file in the making, to which several processes can write at once.

    One process lays it out before, and finishes it after.
    """

    def lay_out(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Make room for it, in the place of what is there.

        Args:
            provenance: where its samples come from, with any hashes.

        Raises:
            StoreError: there is no room.
        """
        ...

    def is_laid_out(self) -> bool:
        """Whether it was laid out, maybe by an earlier process."""
        ...

    def sign(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Put in the hashes of what its samples come from, at any time before it is finished.

        They are computed while samples are converted.

        Raises:
            StoreError: there is no room.
        """
        ...

    def settled(self, rows: int) -> int:
        """Bytes at its beginning that stay as they are once its first `rows` samples are there."""
        ...

    def writer(self, segment: int, row: int) -> SegmentWriter:
        """Takes the samples of a segment, the first of which goes to `row`."""
        ...

    def finish(self) -> dict[str, Any]:
        """Complete the file, once every segment is there: what the manifest says, but its name and hash."""
        ...

    def discard(self) -> None:
        """Remove what there is of it."""
        ...


class ConvertedFile:
    """A converted file of fields on a grid: its layout is known beforehand, each sample has its place."""

    def __init__(
        self,
        path: Path,
        split: str,
        discretisation: AnyDiscretisation,
        columns: Columns,
    ) -> None:
        assert isinstance(discretisation, Discretisation)
        self.path = path
        self.samples = len(columns.initial_condition)
        self._split, self._discretisation = split, discretisation
        self._columns = columns
        shape = discretisation.state_shape
        self._shapes = {"states": shape}
        spec = discretisation.spec
        if spec.static:
            self._shapes = {"inputs": (*shape[:-1], len(spec.input_fields)), "targets": shape}
        self._offsets: dict[str, int] = {}
        """Dataset → its place in the file, where that is known already."""

    def lay_out(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Make room for it, in the place of what is there; raises StoreError where there is none."""
        discretisation = self._discretisation
        try:
            with h5py.File(
                self.path, "w", libver=_VERSIONS,
                alignment_threshold=16 * _ALIGNMENT, alignment_interval=_ALIGNMENT,
            ) as file:  # fmt: skip
                describe(file, self._split, discretisation, discretisation.axes, self._columns)
                for axis, values in zip(discretisation.axes, discretisation.coordinates, strict=True):
                    assert axis in AXIS_NAMES
                    put_dataset(file, axis, values)
                self._offsets = {
                    name: reserve(file, name, (self.samples, *sizes)) for name, sizes in self._shapes.items()
                }
            with h5py.File(self.path, "r+", libver=_VERSIONS) as file:
                put_provenance(file, provenance)  # behind the fields, as the file was closed before
        except OSError as error:
            raise store_error(error, self.path) from error

    def is_laid_out(self) -> bool:
        """Whether it was laid out, maybe by an earlier process, and that has reached the disk."""
        try:
            with h5py.File(self.path, "r") as file:
                return all(name in file for name in self._shapes)
        except OSError:
            return False

    def sign(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Put in the hashes of what its samples come from; raises StoreError where that fails."""
        end = self._end_of_fields
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.seek(end)
                places = [end + found.start(1) for found in _HASH.finditer(file.read())]
                assert len(places) == len(provenance), "each source has a place for its hash"
                for place, source in zip(places, provenance, strict=True):
                    os.pwrite(file.fileno(), str(source["sha256"]).encode(), place)
                os.fsync(file.fileno())
        except OSError as error:
            raise store_error(error, self.path) from error

    def settled(self, rows: int) -> int:
        """Bytes at its beginning that stay as they are once its first `rows` samples are there."""
        if rows == self.samples:
            return self._end_of_fields
        offset, name = min((offset, name) for name, offset in self._places.items())
        return offset + rows * self._row_bytes(name)

    def writer(self, segment: int, row: int) -> "RowWriter":
        """Takes the samples of a segment, the first of which goes to `row`."""
        return RowWriter(
            self.path,
            {
                name: (offset + row * self._row_bytes(name), name == "inputs")
                for name, offset in self._places.items()
            },
        )

    def finish(self) -> dict[str, Any]:
        """What the manifest says of the file, but its name and hash."""
        return {
            "bytes": self.path.stat().st_size,
            "samples": self.samples,
            "shape": [self.samples, *self._discretisation.state_shape],
            "dt": self._discretisation.dt,
        }

    def discard(self) -> None:
        """Remove what there is of it."""
        self.path.unlink(missing_ok=True)

    @property
    def _places(self) -> Mapping[str, int]:
        """Dataset → where in the file it begins."""
        if not self._offsets:  # another process has laid it out
            with h5py.File(self.path, "r") as file:
                self._offsets = {name: int(file[name].id.get_offset()) for name in self._shapes}
        return self._offsets

    @property
    def _end_of_fields(self) -> int:
        return max(offset + self.samples * self._row_bytes(name) for name, offset in self._places.items())

    def _row_bytes(self, name: str) -> int:
        return 4 * math.prod(self._shapes[name])


class RowWriter:
    """Writes consecutive samples to their places in a file that is laid out.

    Large blocks are written and synced in the background, one at a time, while what follows them is measured
    and read.
    """

    def __init__(self, path: Path, places: Mapping[str, tuple[int, bool]]) -> None:
        """Open the file; raises StoreError where that fails.

        Args:
            path: of the file.
            places: dataset → (offset in the file, whether it takes the inputs of a static task).
        """
        self.path = path
        self._places = dict(places)
        self._unsynced = 0
        """Bytes that were written after the last sync began."""
        self._background = ThreadPoolExecutor(2)
        self._writing: Future[None] | None = None
        self._syncing: Future[None] | None = None
        try:
            self._handle = os.open(path, os.O_WRONLY)
        except OSError as error:
            raise store_error(error, path) from error

    def write(self, block: AnyBlock) -> None:
        """Put the next samples; raises StoreError where the space is not there for them or those before."""
        assert isinstance(block, Block)
        try:
            self._wait_for(self._writing)
            if block.targets.nbytes < _BACKGROUND_BYTES:
                self._put(block)
            else:
                self._writing = self._background.submit(self._put, block)
        except OSError as error:
            raise store_error(error, self.path) from error

    def close(self) -> None:
        """Sync to disk; raises StoreError where that fails."""
        try:
            self._wait_for(self._writing)
            self._wait_for(self._syncing)
            if self._unsynced or self._syncing is None:
                os.fsync(self._handle)
        except OSError as error:
            raise store_error(error, self.path) from error
        finally:
            self._background.shutdown()
            os.close(self._handle)

    def _put(self, block: Block) -> None:
        for name, (position, takes_inputs) in self._places.items():
            values = block.inputs if takes_inputs else block.targets
            assert values is not None
            content = np.ascontiguousarray(values, dtype="<f4").data.cast("B")
            self._places[name] = (position + len(content), takes_inputs)
            self._unsynced += len(content)
            while content:
                written = os.pwrite(self._handle, content, position)
                content, position = content[written:], position + written
        if self._unsynced >= _BACKGROUND_BYTES and (self._syncing is None or self._syncing.done()):
            self._wait_for(self._syncing)
            self._syncing = self._background.submit(os.fsync, self._handle)
            self._unsynced = 0

    @staticmethod
    def _wait_for(task: Future[None] | None) -> None:
        """Raises what it has raised."""
        if task is not None:
            task.result()


def describe(
    file: h5py.File,
    split: str,
    discretisation: AnyDiscretisation,
    axes: Sequence[str],
    columns: Columns,
) -> None:
    """Write the attributes, all but the provenance, and the datasets that every converted file has."""
    spec = discretisation.spec
    attributes: dict[str, Attribute] = {
        "format": FORMAT,
        "task": spec.name,
        "split": split,
        "dt": discretisation.dt,
        "boundary": str(spec.boundary),
        "domain": np.array(spec.domain, np.float64),
        "fields": spec.fields,
        "input_fields": spec.input_fields,
        "units": spec.units,
        "parameter_names": tuple(parameter.name for parameter in spec.parameters),
        "axes": tuple(axes),
    }
    for name, value in attributes.items():
        put_attribute(file, name, value)
    if not spec.static:
        put_dataset(file, "times", discretisation.times)
    put_dataset(file, "parameters", columns.parameters)
    put_dataset(file, "initial_condition", columns.initial_condition)
    put_dataset(file, "source", columns.source)
    put_dataset(file, "sample", columns.sample)


def put_provenance(file: h5py.File, provenance: Sequence[Mapping[str, Any]]) -> None:
    """Write where the samples come from, which the file does not say yet."""
    put_attribute(file, "provenance", json.dumps(list(provenance), ensure_ascii=False))
