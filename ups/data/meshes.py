"""Samples on triangles from mesh files: what is a mesh, and many files as one source.

The files of an import, sorted by name, are one source for each set of parameters in them, and a mesh is a
sample. Boundary nodes are those of edges that belong to one triangle. Free of torch.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.data.mesh_files import MESH_FORMATS, RawMesh, read_meshes
from ups.data.points import Indices, PointBlock, PointDiscretisation, PointSample
from ups.data.source import Floats, file_identity, segment_of
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256
from ups.tasks import TaskSpec

_SLACK = 1e-6
"""Of the domain's length, by which a node may lie beyond its border."""
_FLATTEST = 1e-6
"""Twice the area of a triangle, as a share of its longest side squared, at which it is one no more."""


@dataclass(frozen=True)
class MeshSource:
    """The meshes of some files with the same parameters. Checked again whenever they are read."""

    files: tuple[Path, ...]
    counts: tuple[int, ...]
    """Meshes in each of `files`."""
    discretisation: PointDiscretisation
    parameters: tuple[float, ...]

    @property
    def samples(self) -> int:
        return sum(self.counts)

    @property
    def segment(self) -> int:
        return segment_of(self.discretisation)

    @property
    def name(self) -> str:
        first, last = self.files[0].name, self.files[-1].name
        return first if len(self.files) == 1 else f"{first} … {last}"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"files": [file_identity(path) for path in self.files], **self.about}

    @property
    def about(self) -> Mapping[str, Any]:
        names = [parameter.name for parameter in self.discretisation.spec.parameters]
        return {
            "kind": "raw",
            "samples": self.samples,
            "parameters": dict(zip(names, self.parameters, strict=True)),
        }

    @cached_property
    def sha256(self) -> str:
        """Of a single file its own, else of what the files hold, in their order."""
        digests = [file_sha256(path) for path in self.files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def blocks(self, rows: int, span: range | None = None) -> Iterator[PointBlock]:
        """Raises DataError, naming file and mesh, where one is no mesh of the task."""
        asked = self._read(range(self.samples) if span is None else span)
        while block := tuple(itertools.islice(asked, rows)):
            yield PointBlock(block)

    def initial_conditions(self, rows: int) -> Iterator[list[Floats]]:
        """What a static sample starts from is its mesh and its input."""
        for block in self.blocks(rows):
            yield [sample.start for sample in block.samples]

    def _read(self, span: range) -> Iterator[PointSample]:
        """The samples of a span, from the files that have any of them."""
        spec, first = self.discretisation.spec, 0
        for path, count in zip(self.files, self.counts, strict=True):
            own = range(max(span.start - first, 0), min(span.stop - first, count))
            if own:
                for mesh in itertools.islice(read_meshes(spec, path), own.start, own.stop):
                    yield mesh_sample(spec, mesh)
            first += count


def open_meshes(spec: TaskSpec, paths: Sequence[Path]) -> list[MeshSource]:
    """The meshes that some paths name; one source for each set of parameters.

    Args:
        spec: a static task on a mesh.
        paths: files, or folders, which stand for the mesh files in them.

    Raises:
        NotFoundError: no such file.
        DataError: a file is damaged, in no known format, or no mesh of the task.
        UsageError: meshio is needed and not installed.
    """
    found: dict[tuple[float, ...], dict[Path, tuple[int, int]]] = {}
    for path in _files(paths):
        samples, most, parameters = 0, 0, set()
        for mesh in read_meshes(spec, path):
            samples, most = samples + 1, max(most, mesh_sample(spec, mesh).points)
            parameters.add(mesh.parameters)
        (own,) = parameters
        found.setdefault(own, {})[path] = (samples, most)
    times = np.zeros(0)
    return [
        MeshSource(
            tuple(sizes),
            tuple(samples for samples, _ in sizes.values()),
            PointDiscretisation(spec, times, max(most for _, most in sizes.values())),
            parameters,
        )
        for parameters, sizes in found.items()
    ]


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files of all paths, once each, sorted by name."""
    known = ", ".join(MESH_FORMATS)
    files: set[Path] = set()
    for path in map(Path.absolute, paths):
        if not path.exists():
            raise NotFoundError(f"there is no file {path}")
        if not path.is_dir():
            if path.suffix.lower() not in MESH_FORMATS:
                raise DataError(f"{path} is in no known format of meshes", hint=f"those end in {known}")
            files.add(path)
            continue
        inside = {file for file in path.iterdir() if file.suffix.lower() in MESH_FORMATS}
        if not inside:
            raise DataError(f"{path} holds no meshes", hint=f"they end in {known}")
        files |= inside
    return sorted(files, key=lambda path: (path.name, path))


def mesh_sample(spec: TaskSpec, mesh: RawMesh) -> PointSample:
    """Check a mesh and find its boundary.

    Raises:
        DataError: it is no mesh of triangles in the task's domain, or a value is not finite.
    """
    _check_points(spec, mesh)
    _check_cells(mesh)
    names = (spec.input_fields, spec.fields)
    inputs, targets = (
        np.stack([mesh.fields[name] for name in of], axis=-1).astype(np.float32) for of in names
    )
    cells = mesh.cells.astype(np.int32)
    positions = mesh.points.astype(np.float32)
    return PointSample(positions, inputs, targets, boundary_nodes(cells, len(positions)), cells)


def boundary_nodes(cells: Indices, points: int) -> NDArray[np.bool_]:
    """[P] the nodes of edges that belong to a single one of the triangles [E, 3]."""
    edges, count = np.unique(_edges(cells), axis=0, return_counts=True)
    boundary = np.zeros(points, np.bool_)
    boundary[edges[count == 1]] = True
    return boundary


def _edges(cells: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """[3E, 2] of every triangle, the smaller node first."""
    return np.sort(np.concatenate([cells[:, [0, 1]], cells[:, [1, 2]], cells[:, [2, 0]]]), axis=1)


def _check_points(spec: TaskSpec, mesh: RawMesh) -> None:
    if mesh.points.shape[1] != spec.spatial_dims:
        raise DataError(f"{mesh.where}: points are {list(mesh.points.shape)}, not [P,{spec.spatial_dims}]")
    for name, values in {"points": mesh.points, **mesh.fields}.items():
        if len(values) != len(mesh.points):
            raise DataError(f"{mesh.where}: {name} has {len(values)} values for {len(mesh.points)} points")
        bad = int(np.size(values) - np.isfinite(values).sum())
        if bad:
            raise DataError(
                f"{mesh.where}: {name}: {bad} values are NaN or infinite", hint="leave that mesh out"
            )
    low, high = (np.array(ends) for ends in zip(*spec.domain, strict=True))
    slack = _SLACK * (high - low)
    outside = ((mesh.points < low - slack) | (mesh.points > high + slack)).any(axis=1)
    if outside.any():
        place = ", ".join(f"{value:g}" for value in mesh.points[outside][0])
        raise DataError(
            f"{mesh.where}: {int(outside.sum())} points lie outside of the domain of {spec.name}, "
            f"one at ({place})",
            hint="scale the mesh to " + " × ".join(f"[{a:g}, {b:g}]" for a, b in spec.domain),
        )


def _check_cells(mesh: RawMesh) -> None:
    """Triangles of a plane mesh in one piece, that use all points."""
    cells, points = mesh.cells, len(mesh.points)
    if cells.ndim != 2 or cells.shape[1] != 3 or not len(cells):
        raise DataError(f"{mesh.where}: cells are {list(cells.shape)}, not triangles [E,3]")
    if cells.min() < 0 or cells.max() >= points:
        wrong = int(cells.min() if cells.min() < 0 else cells.max())
        raise DataError(
            f"{mesh.where}: a triangle has the node {wrong}, nodes are numbered from 0 to {points - 1}"
        )
    first, second, third = np.moveaxis(mesh.points[cells], 1, 0)
    sides = np.stack([second - first, third - second, first - third])
    longest = np.square(sides).sum(axis=-1).max(axis=0)
    area = np.abs(sides[0, :, 0] * sides[1, :, 1] - sides[0, :, 1] * sides[1, :, 0])
    flat = np.flatnonzero(area <= _FLATTEST * longest)
    if len(flat):
        raise DataError(
            f"{mesh.where}: {len(flat)} triangles have no area, the first is number {flat[0]} with the nodes "
            f"{', '.join(map(str, cells[flat[0]]))}"
        )
    unused = points - len(np.unique(cells))
    if unused:
        raise DataError(f"{mesh.where}: {unused} points belong to no triangle", hint="leave them out")
    edges, count = np.unique(_edges(cells), axis=0, return_counts=True)
    if count.max() > 2:
        a, b = edges[count.argmax()]
        raise DataError(f"{mesh.where}: {count.max()} triangles share the edge from node {a} to node {b}")
    pieces = _pieces(edges, points)
    if pieces > 1:
        raise DataError(
            f"{mesh.where} falls into {pieces} pieces that have no node in common",
            hint="merge nodes that lie at the same place, or save each piece as a mesh of its own",
        )


def _pieces(edges: NDArray[np.integer[Any]], points: int) -> int:
    """In how many pieces a graph of edges [E, 2] falls: nodes take on the smallest number around them."""
    label = np.arange(points)
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, edges[:, 0], label[edges[:, 1]])
        np.minimum.at(lowest, edges[:, 1], label[edges[:, 0]])
        lowest = lowest[lowest]
        if np.array_equal(lowest, label):
            return len(np.unique(label))
        label = lowest
