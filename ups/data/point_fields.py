"""A converted file of meshes or particles, opened as memory-mapped arrays.

The counterpart of `ups.data.fields` for samples that differ in size: the points of all samples lie
one after another, and `offsets` says where each begins. Free of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.fields import map_dataset, read_file
from ups.data.geometry import PointGeometry, along_edges, gathered, nearest, periods
from ups.data.points import Indices, PointBlock, PointSample
from ups.tasks import Modality, TaskSpec

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]


_REMEMBERED_BYTES = 256 * 1024 * 1024
"""Of neighbour lists, per file."""


class Neighbourhoods:
    """Neighbour lists by sample and frame: finding them takes longer than all else that a batch needs."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], NDArray[np.uint16] | Indices] = {}
        self._bytes = 0

    def get(self, key: tuple[int, int]) -> Indices | None:
        found = self._found.get(key)
        return None if found is None else found.astype(np.int32)

    def put(self, key: tuple[int, int], neighbours: Indices) -> None:
        """Remember, while there is room."""
        small = neighbours.astype(np.uint16) if len(neighbours) < 2**16 else neighbours
        if self._bytes + small.nbytes <= _REMEMBERED_BYTES:
            self._found[key] = small
            self._bytes += small.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class PointFields:
    """One split of a task, in physical units, points first. Picklable: opens its path again."""

    path: Path
    spec: TaskSpec
    split: str
    dt: float
    """Time between stored frames; 0 for a static task."""
    positions: Floats
    """[ΣP, D] of meshes; [ΣP, T, D] of particles."""
    states: Floats | None
    """[ΣP, T, C] of a time stepper; None for a static task."""
    inputs: Floats | None
    """[ΣP, Ci] of a static task, as are `targets`."""
    targets: Floats | None
    """[ΣP, Co]."""
    boundary: NDArray[np.uint8]
    """[ΣP] 1 on the boundary of the domain."""
    cells: Indices | None
    """[ΣE, 3] nodes of each triangle, counted within its sample; None for particles."""
    offsets: Integers
    """[N + 1] where each sample's points begin."""
    cell_offsets: Integers
    """[N + 1] where each sample's triangles begin; zeros for particles."""
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
    provenance: tuple[Mapping[str, Any], ...]
    """The raw files or solver requests that the samples come from."""
    _known: Neighbourhoods = field(default_factory=Neighbourhoods, repr=False)

    @classmethod
    def open(cls, path: Path) -> "PointFields":
        """Map a converted file.

        Raises:
            NotFoundError: there is no such file.
            DataError: damaged, cut short, or not a converted file of points.
        """
        return cls(**read_file(path, _read))

    @property
    def samples(self) -> int:
        return len(self.initial_condition)

    @property
    def most_points(self) -> int:
        """Points of the largest sample."""
        return int(np.diff(self.offsets).max(initial=0))

    @property
    def frames(self) -> int:
        """Stored frames of a sample; 1 for a static task."""
        return 1 if self.states is None else self.states.shape[1]

    def points(self, row: int) -> slice:
        """Where a sample's points lie."""
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def triangles(self, row: int) -> Indices:
        """[E, 3] nodes of a sample's triangles; [0, 3] for particles."""
        if self.cells is None:
            return np.zeros((0, 3), np.int32)
        own: Indices = self.cells[self.cell_offsets[row] : self.cell_offsets[row + 1]]
        return own

    def block(self, row: int) -> PointBlock:
        """One sample."""
        points = self.points(row)
        targets = self.targets if self.states is None else self.states
        assert targets is not None
        inputs = None if self.inputs is None else self.inputs[points]
        boundary = np.asarray(self.boundary[points], np.bool_)
        sample = PointSample(self.positions[points], inputs, targets[points], boundary, self.triangles(row))
        return PointBlock((sample,))

    def start(self, row: int) -> Floats:
        """What one sample starts from: equal values mean an equal start."""
        return self.block(row).samples[0].start

    def positions_at(self, row: int, frame: int) -> Floats:
        """[P, D] of a sample in a frame; a mesh has one frame."""
        own = self.positions[self.points(row)]
        return np.asarray(own if own.ndim == 2 else own[:, frame])

    def neighbours(self, row: int, frame: int) -> Indices:
        """[P, K] of a sample: along a mesh's edges, else the nearest particles of a frame."""
        mesh = self.spec.modality is Modality.MESH
        key = (row, 0 if mesh else frame)
        found = self._known.get(key)
        if found is None:
            positions = self.positions_at(row, frame)
            if mesh:
                found = along_edges(self.triangles(row), positions)
            else:
                found = nearest(positions, periods(self.spec))
            self._known.put(key, found)
        return found

    def geometry(self, rows: Integers, frames: Integers) -> PointGeometry:
        """Of a batch: these frames of these samples."""
        pairs = [(int(row), int(frame)) for row, frame in zip(rows, frames, strict=True)]
        return gathered(
            self.spec,
            [self.positions_at(*pair) for pair in pairs],
            [self.neighbours(*pair) for pair in pairs],
            [np.asarray(self.boundary[self.points(row)], np.bool_) for row, _ in pairs],
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return PointFields.open, (self.path,)


def _read(path: Path, file: h5py.File, spec: TaskSpec) -> dict[str, Any]:
    names = ("inputs", "targets") if spec.static else ("states",)
    arrays = {name: map_dataset(path, file[name]) for name in ("positions", *names)}
    boundary = map_dataset(path, file["boundary"], "|u1")
    samples = len(file["initial_condition"])
    mesh = spec.modality is Modality.MESH
    cells = map_dataset(path, file["cells"], "<i4") if mesh else None
    offsets = _offsets(file["point_offsets"], samples, len(arrays["positions"]))
    cell_offsets = (
        np.zeros(samples + 1, np.int64)
        if cells is None
        else _offsets(file["cell_offsets"], samples, len(cells))
    )
    _check(spec, {**arrays, "boundary": boundary}, int(offsets[-1]))
    return {
        "positions": arrays["positions"],
        "states": arrays.get("states"),
        "inputs": arrays.get("inputs"),
        "targets": arrays.get("targets"),
        "boundary": boundary,
        "cells": cells,
        "offsets": offsets,
        "cell_offsets": cell_offsets,
    }


def _offsets(dataset: h5py.Dataset, samples: int, rows: int) -> Integers:
    offsets: Integers = dataset[()].astype(np.int64)
    if len(offsets) != samples + 1 or offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
        raise ValueError(f"{dataset.name} does not divide {rows} rows between {samples} samples")
    return offsets


def _check(spec: TaskSpec, arrays: Mapping[str, NDArray[Any]], points: int) -> None:
    widths = {
        "positions": spec.spatial_dims, "inputs": len(spec.input_fields), "targets": len(spec.fields),
        "states": len(spec.fields),
    }  # fmt: skip
    for name, array in arrays.items():
        rank = 1 if name == "boundary" else 2 if spec.static else 3
        width = widths.get(name, array.shape[-1])
        if array.ndim != rank or array.shape[-1] != width or len(array) != points:
            raise ValueError(f"{name} has the shape {list(array.shape)}, which does not fit {spec.name}")
