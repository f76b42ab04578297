"""Reads triangle meshes with fields on their nodes: numpy archives, and VTK files by meshio.

A numpy archive (`.npz`) holds `points` [P, D], `cells` [E, 3] (nodes of each triangle, from 0), every
field of the task under its name [P], and every parameter under its name, a number. An archive of several
meshes has their points and cells one after another, beside `point_offsets` [N + 1] and `cell_offsets`
[N + 1]; cells count from the first point of their own mesh. In a VTK file (`.vtu`, `.vtk`) fields are point
data, and parameters field data or, since few programs write those, point data that are the same everywhere.
Free of torch; meshio is imported when a VTK file is read.
"""

import importlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.errors import DataError, UsageError
from ups.tasks import TaskSpec

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

_DAMAGED = (
    AssertionError, AttributeError, EOFError, LookupError, OSError, OverflowError, SyntaxError, TypeError,
    ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What parsers of damaged files raise; a malformed XML document is a SyntaxError."""
_MARKERS = ("vertex", "line")
"""Cells of lower dimension, with which mesh generators mark corners and borders."""


@dataclass(frozen=True, slots=True, eq=False)
class RawMesh:
    """One mesh as its file has it; nothing is checked but that the arrays are there."""

    where: str
    """The file, and the mesh in it, for messages."""
    points: Doubles
    """[P, D]."""
    cells: Integers
    """[E, 3]."""
    fields: Mapping[str, Doubles]
    """Name → [P]."""
    parameters: tuple[float, ...]
    """In the order of the task's parameters."""


def read_meshes(spec: TaskSpec, path: Path) -> Iterator[RawMesh]:
    """The meshes of a file, in order.

    Raises:
        DataError: damaged, no format that is read here, or something is missing in it.
        UsageError: meshio is not installed.
    """
    return MESH_FORMATS[path.suffix.lower()](spec, path)


def _read_npz(spec: TaskSpec, path: Path) -> Iterator[RawMesh]:
    arrays = _archive(path)
    missing = [name for name in ("points", "cells", *_fields(spec)) if name not in arrays]
    if missing:
        raise DataError(
            f"{path}: {', '.join(missing)} is missing, it holds {_list(arrays)}",
            hint=f"{spec.name} wants points [P,{spec.spatial_dims}], cells [E,3], "
            f"{', '.join(_fields(spec))} [P]",
        )
    parameters = _parameters(spec, path, arrays)
    cells = arrays["cells"]
    if cells.dtype.kind not in "iu":
        raise DataError(f"{path}: cells holds {cells.dtype} values, not numbers of nodes")
    by_point = {name: _numbers(path, name, arrays[name]) for name in ("points", *_fields(spec))}
    offsets = _offsets(path, arrays, "point_offsets", len(by_point["points"]))
    cell_offsets = _offsets(path, arrays, "cell_offsets", len(cells))
    if len(offsets) != len(cell_offsets):
        raise DataError(
            f"{path}: point_offsets are of {len(offsets) - 1} meshes, cell_offsets of {len(cell_offsets) - 1}"
        )
    for name, values in by_point.items():
        if len(values) != offsets[-1]:
            raise DataError(f"{path}: {name} has {len(values)} rows for {offsets[-1]} points")
    for index in range(len(offsets) - 1):
        points, triangles = (
            slice(int(ends[index]), int(ends[index + 1])) for ends in (offsets, cell_offsets)
        )
        own = {name: values[points] for name, values in by_point.items()}
        where = f"{path}, mesh {index}" if len(offsets) > 2 else str(path)
        yield RawMesh(where, own.pop("points"), cells[triangles].astype(np.int64), own, parameters)


def _archive(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except _DAMAGED as error:
        raise DataError(
            f"{path} is no readable numpy archive: {error}", hint="write it with numpy.savez"
        ) from None


def _offsets(path: Path, arrays: Mapping[str, NDArray[Any]], name: str, rows: int) -> Integers:
    """Where each mesh's rows begin; of a single mesh, 0 and their number."""
    if name not in arrays:
        return np.array([0, rows], np.int64)
    offsets: Integers = arrays[name].astype(np.int64)
    if offsets.ndim != 1 or len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != rows:
        raise DataError(f"{path}: {name} does not run from 0 to {rows}")
    if (np.diff(offsets) <= 0).any():
        raise DataError(f"{path}: {name} does not increase: a mesh would be empty")
    return offsets


def _read_vtk(spec: TaskSpec, path: Path) -> Iterator[RawMesh]:
    content = _vtk_content(path)
    kinds = {str(block.type) for block in content.cells}
    others = sorted(kinds - {"triangle", *_MARKERS})
    if others or "triangle" not in kinds:
        raise DataError(
            f"{path} has cells of the type {', '.join(others) or 'none'}, not triangles alone",
            hint="split other cells into triangles first",
        )
    missing = [name for name in _fields(spec) if name not in content.point_data]
    if missing:
        raise DataError(
            f"{path}: the point data {', '.join(missing)} are missing, it has {_list(content.point_data)}",
            hint=f"{spec.name} wants {', '.join(_fields(spec))} as point data",
        )
    constant = {name: _shared(values) for name, values in content.point_data.items()}
    parameters = _parameters(spec, path, {**constant, **content.field_data})
    triangles = [np.asarray(block.data, np.int64) for block in content.cells if block.type == "triangle"]
    points = _numbers(path, "points", content.points)
    if points.shape[1] > spec.spatial_dims:
        points, beyond = points[:, : spec.spatial_dims], points[:, spec.spatial_dims :]
        if np.ptp(beyond, axis=0).max(initial=0.0) > 0:
            raise DataError(f"{path} does not lie in a plane: its points have other third coordinates")
    fields = {name: _numbers(path, name, content.point_data[name]) for name in _fields(spec)}
    yield RawMesh(str(path), points, np.concatenate(triangles), fields, parameters)


def _shared(values: Any) -> NDArray[Any]:
    """The one value of point data that are the same everywhere; all of others."""
    array = np.asarray(values).reshape(-1)
    return array[:1] if len(array) and (array == array[0]).all() else array


def _vtk_content(path: Path) -> Any:
    """A `meshio.Mesh`. meshio's readers are called one by one: its own choice among them prints and exits."""
    try:
        module = importlib.import_module(f"meshio.{path.suffix.lower().removeprefix('.')}")
        read_error: type[Exception] = importlib.import_module("meshio").ReadError
    except ImportError:
        raise UsageError(
            f"{path.name} needs meshio, which is not installed", hint="pip install 'ups-console[mesh]'"
        ) from None
    try:
        return module.read(path)
    except (read_error, *_DAMAGED) as error:
        raise DataError(f"{path} is no readable VTK file: {error}", hint="write it again") from None


MESH_FORMATS: Mapping[str, Callable[[TaskSpec, Path], Iterator[RawMesh]]] = {
    ".npz": _read_npz,
    ".vtk": _read_vtk,
    ".vtu": _read_vtk,
}
"""Ending → reader."""


def _fields(spec: TaskSpec) -> tuple[str, ...]:
    return (*spec.input_fields, *spec.fields)


def _parameters(spec: TaskSpec, path: Path, content: Mapping[str, Any]) -> tuple[float, ...]:
    values = []
    for parameter in spec.parameters:
        name = parameter.raw_attribute
        if name not in content:
            raise DataError(
                f"{path}: {name}, a number that {spec.name} needs, is missing; it has {_list(content)}",
                hint="an archive has it as a number, a VTK file as field data or as constant point data",
            )
        found = np.asarray(content[name]).reshape(-1)
        if len(found) != 1 or found.dtype.kind not in "fiu" or not np.isfinite(found[0]):
            raise DataError(f"{path}: {name} is {found.tolist()[:3]}, not a number")
        if parameter.logarithmic and found[0] <= 0:
            raise DataError(f"{path}: {name} is {found[0]}, not above 0")
        values.append(float(found[0]))
    return tuple(values)


def _numbers(path: Path, name: str, values: Any) -> Doubles:
    """`points` [P, D], or a field [P]; a field [P, 1] is one too."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {name} holds {array.dtype} values, not numbers")
    if name != "points" and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    rank = 2 if name == "points" else 1
    if array.ndim != rank:
        raise DataError(f"{path}: {name} is {list(array.shape)}, not [P{',D' if rank == 2 else ''}]")
    return array.astype(np.float64)


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)[:8]) or "nothing"
