"""A converted file, opened as memory-mapped arrays.

Converted files are contiguous and uncompressed, so that numpy maps the very bytes at the HDF5
dataset's offset. The HDF5 handle is closed before `Fields.open` returns: a handle that lives across
a fork corrupts reads. Free of torch.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.source import Block
from ups.errors import DataError, NotFoundError
from ups.tasks import TASK_SPECS, TaskSpec

FORMAT = 1
"""Version of the converted layout, the attribute `format`."""
SPLITS = ("train", "val", "test")
AXIS_NAMES = ("x", "y", "z")

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]


class FieldArray(Protocol):
    """Values [N, …] in physical units: a memory map, or a cache that is decoded where it is read."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:
        """Of samples: one by its number, some by a slice or an array of numbers."""
        ...

    def __array__(self) -> Any:
        """All of it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """One split of a task, in physical units, samples first. Picklable: opens its path again."""

    path: Path
    spec: TaskSpec
    split: str
    dt: float
    """Time between stored frames; 0 for a static task."""
    states: FieldArray | None
    """[N, T, *S, C] of a time stepper; None for a static task."""
    inputs: FieldArray | None
    """[N, *S, Ci] of a static task, as are `targets`."""
    targets: FieldArray | None
    """[N, *S, Co]."""
    parameters: Floats
    """[N, P], columns in the order of `spec.parameters`."""
    times: Doubles
    """[T] of the stored frames; empty for a static task."""
    initial_condition: Integers
    """[N] block id: equal for the same initial condition under other parameters."""
    source: Integers
    """[N] which entry of `provenance` a sample comes from."""
    sample: Integers
    """[N] index within that source."""
    axes: tuple[str, ...]
    """Name of each spatial axis, in the array's order."""
    coordinates: tuple[Doubles, ...]
    """Cell centres along each of `axes`."""
    provenance: tuple[Mapping[str, Any], ...]
    """The raw files or solver requests that the samples come from."""

    @classmethod
    def open(cls, path: Path) -> "Fields":
        """Map a converted file.

        Raises:
            NotFoundError: there is no such file.
            DataError: damaged, cut short, or not a converted file.
        """
        return cls(**read_file(path, _read))

    @property
    def samples(self) -> int:
        return len(self.initial_condition)

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells along each spatial axis."""
        array = self.targets if self.states is None else self.states
        assert array is not None
        return array.shape[-1 - self.spec.spatial_dims : -1]

    def frames(self, numbers: Integers) -> Floats:
        """States [..., *S, C] by their numbers [...] in the file: sample · T + frame."""
        # from a plain array: twice as fast as two indices into a memory map
        states = np.asarray(self.states)
        return states.reshape(-1, *states.shape[2:]).take(numbers, axis=0)

    def block(self, row: int) -> Block:
        """One sample."""
        if self.states is not None:
            return Block(None, self.states[row : row + 1])
        assert self.inputs is not None
        assert self.targets is not None
        return Block(self.inputs[row : row + 1], self.targets[row : row + 1])

    def start(self, row: int) -> Floats:
        """What one sample starts from: equal values mean an equal start."""
        if self.states is not None:
            first: Floats = self.states[row, 0]
            return first
        assert self.inputs is not None
        given: Floats = self.inputs[row]
        return given

    def __reduce__(self) -> tuple[Any, ...]:
        return Fields.open, (self.path,)


def read_file(path: Path, read: Callable[[Path, h5py.File, TaskSpec], dict[str, Any]]) -> dict[str, Any]:
    """What a converted file says: all that every such file has, and what `read` finds beside it.

    Args:
        path: the file.
        read: (path, open file, task) → the values of further members; may raise ValueError and KeyError.

    Raises:
        NotFoundError: there is no such file.
        DataError: damaged, cut short, or not a converted file.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            common = _read_common(path, file)
            return {**common, **read(path, file, common["spec"])}
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{path} is no readable converted file: {error}",
            hint="it is damaged, or not converted yet: import it with `ups-console data import`",
        ) from None


def _read_common(path: Path, file: h5py.File) -> dict[str, Any]:
    attributes = file.attrs
    if "format" not in attributes:
        raise ValueError("the attribute `format` is missing")
    if int(attributes["format"]) != FORMAT:
        raise ValueError(f"format {attributes['format']}, this version reads {FORMAT}")
    spec = TASK_SPECS[str(attributes["task"])]
    spec = spec.on(attributes.get("domain", spec.domain))
    samples = len(file["initial_condition"])
    return {
        "path": path,
        "spec": spec,
        "split": str(attributes["split"]),
        "dt": float(attributes["dt"]),
        "parameters": _column(file["parameters"][()].astype(np.float32), samples),
        "times": np.zeros(0) if spec.static else file["times"][()].astype(np.float64),
        "initial_condition": file["initial_condition"][()].astype(np.int64),
        "source": _column(file["source"][()].astype(np.int64), samples),
        "sample": _column(file["sample"][()].astype(np.int64), samples),
        "provenance": tuple(json.loads(attributes["provenance"])),
    }


def _read(path: Path, file: h5py.File, spec: TaskSpec) -> dict[str, Any]:
    names = ("inputs", "targets") if spec.static else ("states",)
    arrays = {name: map_dataset(path, file[name]) for name in names}
    _check(spec, arrays, len(file["initial_condition"]))
    return {
        "states": arrays.get("states"),
        "inputs": arrays.get("inputs"),
        "targets": arrays.get("targets"),
        "axes": tuple(str(axis) for axis in file.attrs["axes"]),
        "coordinates": tuple(file[axis][()].astype(np.float64) for axis in file.attrs["axes"]),
    }


def map_dataset(path: Path, dataset: h5py.Dataset, kind: str = "<f4") -> NDArray[Any]:
    """A contiguous dataset as a memory map; raises ValueError where it is none, or of another type."""
    if dataset.dtype != np.dtype(kind):
        raise ValueError(f"{dataset.name} is {dataset.dtype}, not {np.dtype(kind)}")
    if dataset.size == 0:
        return np.zeros(dataset.shape, kind)
    offset = dataset.id.get_offset()
    if dataset.chunks is not None or offset is None:
        raise ValueError(f"{dataset.name} is not contiguous")
    return np.memmap(path, dtype=kind, mode="r", offset=offset, shape=dataset.shape)


def _check(spec: TaskSpec, arrays: Mapping[str, Floats], samples: int) -> None:
    for name, array in arrays.items():
        channels = len(spec.input_fields if name == "inputs" else spec.fields)
        rank = spec.spatial_dims + (3 if name == "states" else 2)
        if array.ndim != rank or array.shape[-1] != channels or len(array) != samples:
            raise ValueError(f"{name} has the shape {list(array.shape)}, which does not fit {spec.name}")


def _column(values: NDArray[Any], samples: int) -> NDArray[Any]:
    if len(values) != samples:
        raise ValueError(f"a column has {len(values)} rows for {samples} samples")
    return values
