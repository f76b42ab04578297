"""Samples on points: meshes, each sample with its own, and particles, which move.

The counterpart of `Block` and `Discretisation` where samples differ in size. Arrays of a sample have
its points first. Free of torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ups.data.source import AnyBlock, AnyDiscretisation, Doubles, Floats
from ups.data.statistics import Moments
from ups.tasks import Modality, TaskSpec

Indices = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class PointDiscretisation:
    """When the samples of a file are known, and how large they may be."""

    spec: TaskSpec
    """The task, on the domain of these samples."""
    times: Doubles
    """[T] of the stored frames; empty for a static task."""
    most_points: int
    """No sample has more."""

    @property
    def dt(self) -> float:
        """Stored time step; 0 for a static task."""
        return float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.0

    @property
    def sample_bytes(self) -> int:
        """Of the positions and fields of a sample of the largest size."""
        frames = max(len(self.times), 1)
        width = self.spec.spatial_dims + len(self.spec.fields) + len(self.spec.input_fields)
        triangles = 2 * 3 if self.spec.modality is Modality.MESH else 0  # about two to a node
        return 4 * self.most_points * (frames * width + triangles)

    def difference(self, other: AnyDiscretisation) -> str:
        """What keeps samples of the two out of one dataset, in words; empty where nothing does."""
        if self.spec.domain != other.spec.domain:
            return f"its domain is {_box(self.spec)}, theirs {_box(other.spec)}"
        if not np.isclose(self.dt, other.dt, rtol=1e-4):
            return f"its time step is {self.dt:g}, theirs {other.dt:g}"
        if len(self.times) != len(other.times):
            return f"it has {len(self.times)} frames, they have {len(other.times)}"
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class PointSample:
    """One sample: P points of its own and the fields there."""

    positions: Floats
    """[P, D] of a mesh; [P, T, D] of particles."""
    inputs: Floats | None
    """[P, Ci] of a static task."""
    targets: Floats
    """[P, T, C], or [P, C] of a static task."""
    boundary: NDArray[np.bool_]
    """[P] nodes on the boundary of the domain; nowhere true for particles."""
    cells: Indices
    """[E, 3] nodes of each triangle; [0, 3] for particles."""

    @property
    def points(self) -> int:
        return len(self.positions)

    @property
    def start(self) -> Floats:
        """What the sample starts from, [P, …]: equal values mean an equal start."""
        if self.inputs is not None:
            return np.concatenate([self.positions, self.inputs], axis=-1)
        return np.concatenate([self.positions[:, 0], self.targets[:, 0]], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class PointBlock:
    """Consecutive samples."""

    samples: tuple[PointSample, ...]

    @property
    def more(self) -> bool:
        """No: samples on points come whole."""
        return False

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: NDArray[np.bool_]) -> "PointBlock":
        """The samples where `rows` [n] is true."""
        return PointBlock(tuple(sample for sample, wanted in zip(self.samples, rows, strict=True) if wanted))

    def moments(self) -> tuple[Moments, Moments | None]:
        """Of the targets and, where the task is static, of the inputs."""
        targets = Moments.joined([Moments.of(sample.targets[None]) for sample in self.samples])
        inputs = [Moments.of(sample.inputs[None]) for sample in self.samples if sample.inputs is not None]
        return targets, Moments.joined(inputs) if inputs else None

    @classmethod
    def joined(cls, blocks: Sequence[AnyBlock]) -> "PointBlock":
        """The samples of several blocks of points, in order."""
        return cls(tuple(sample for block in blocks for sample in _points_of(block)))


def _box(spec: TaskSpec) -> str:
    return " × ".join(f"[{low:g}, {high:g}]" for low, high in spec.domain)


def _points_of(block: AnyBlock) -> Iterable[PointSample]:
    assert isinstance(block, PointBlock)
    return block.samples
