"""Writes one converted file, in blocks.

HDF5 lays the file out, with contiguous datasets whose space is reserved; the values then go to the
datasets' offsets with plain writes. So a full disk is an ordinary error at a known place, and the
bytes of a file depend on nothing but what it holds. Free of torch.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.fields import AXIS_NAMES, FORMAT
from ups.data.source import AnyBlock, AnyDiscretisation, Block, Discretisation
from ups.store import file_sha256, store_error

_ALIGNMENT = 4096
"""Large datasets begin at a page, which is what memory maps like."""


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


class SplitWriter(Protocol):
    """A converted file that is filled in row by row; close it to sync it to disk."""

    def write(self, row: int, block: AnyBlock) -> None:
        """Put samples at `row` and after; raises StoreError where the space is not there."""
        ...

    def close(self) -> None:
        """Sync to disk; raises StoreError where that fails."""
        ...

    def entry(self, dt: float) -> dict[str, Any]:
        """What the manifest says about the closed file, its name aside."""
        ...


class ConvertedFileWriter:
    """A converted file whose fields are filled in row by row; close it to sync it to disk."""

    def __init__(
        self,
        path: Path,
        split: str,
        discretisation: AnyDiscretisation,
        columns: Columns,
        provenance: Sequence[Mapping[str, Any]],
    ) -> None:
        """Raises StoreError where the space is not there."""
        assert isinstance(discretisation, Discretisation)
        self.path = path
        self.samples = len(columns.initial_condition)
        spec = discretisation.spec
        shape = discretisation.state_shape
        shapes = {"states": shape}
        if spec.static:
            shapes = {"inputs": (*shape[:-1], len(spec.input_fields)), "targets": shape}
        self.shape = (self.samples, *shape)
        """Of the predicted fields: [N, T, *S, C], or [N, *S, C] for a static task."""
        try:
            with h5py.File(
                path, "w", libver=("earliest", "v110"),
                alignment_threshold=16 * _ALIGNMENT, alignment_interval=_ALIGNMENT,
            ) as file:  # fmt: skip
                describe(file, split, discretisation, discretisation.axes, columns, provenance)
                for axis, values in zip(discretisation.axes, discretisation.coordinates, strict=True):
                    assert axis in AXIS_NAMES
                    file[axis] = values
                self._offsets = {
                    name: reserve(file, name, (self.samples, *sizes)) for name, sizes in shapes.items()
                }
            self._row_bytes = {name: 4 * int(np.prod(sizes)) for name, sizes in shapes.items()}
            self._handle = os.open(path, os.O_WRONLY)
        except OSError as error:
            raise store_error(error, path) from error

    def write(self, row: int, block: AnyBlock) -> None:
        """Put samples at `row` and after; raises StoreError where the space is not there."""
        assert isinstance(block, Block)
        for name, offset in self._offsets.items():
            values = block.inputs if name == "inputs" else block.targets
            assert values is not None
            content = np.ascontiguousarray(values, dtype="<f4").data.cast("B")
            position = offset + row * self._row_bytes[name]
            try:
                while content:
                    written = os.pwrite(self._handle, content, position)
                    content, position = content[written:], position + written
            except OSError as error:
                raise store_error(error, self.path) from error

    def close(self) -> None:
        """Sync to disk; raises StoreError where that fails."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise store_error(error, self.path) from error
        finally:
            os.close(self._handle)

    def entry(self, dt: float) -> dict[str, Any]:
        """What the manifest says about the closed file, its name aside."""
        return {
            "bytes": self.path.stat().st_size,
            "sha256": file_sha256(self.path),
            "samples": self.samples,
            "shape": list(self.shape),
            "dt": dt,
        }


def describe(
    file: h5py.File,
    split: str,
    discretisation: AnyDiscretisation,
    axes: Sequence[str],
    columns: Columns,
    provenance: Sequence[Mapping[str, Any]],
) -> None:
    """Write all attributes and the datasets that every converted file has."""
    spec = discretisation.spec
    file.attrs["format"] = FORMAT
    file.attrs["task"] = spec.name
    file.attrs["split"] = split
    file.attrs["dt"] = discretisation.dt
    file.attrs["boundary"] = str(spec.boundary)
    file.attrs["domain"] = np.array(spec.domain, np.float64)
    file.attrs["provenance"] = json.dumps(list(provenance), ensure_ascii=False)
    lists = {
        "fields": spec.fields,
        "input_fields": spec.input_fields,
        "units": spec.units,
        "parameter_names": tuple(parameter.name for parameter in spec.parameters),
        "axes": tuple(axes),
    }
    for name, words in lists.items():
        file.attrs.create(name, np.array(words, dtype=object), dtype=h5py.string_dtype())
    if not spec.static:
        file["times"] = discretisation.times
    file["parameters"] = columns.parameters
    file["initial_condition"] = columns.initial_condition
    file["source"] = columns.source
    file["sample"] = columns.sample


def reserve(
    file: h5py.File, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID = h5py.h5t.IEEE_F32LE
) -> int:
    """Create a contiguous dataset without writing it; the offset of its first value."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_obj_track_times(False)  # equal content, equal bytes
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    identifier = h5py.h5d.create(file.id, name.encode(), kind, space, properties)
    return int(identifier.get_offset())
