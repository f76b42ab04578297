"""What samples come from, whatever it is: a raw file, a solver, a dataset that is already converted.

Free of torch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ups.data.statistics import Moments
from ups.errors import NotFoundError
from ups.tasks import TaskSpec

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_SEGMENT_BYTES = 64 * 1024 * 1024
"""Small beside what a process does of a conversion, so that all end at about the same time."""
_PART_BYTES = 32 * 1024 * 1024
"""A sample that is larger is read a few frames at a time; it may be gigabytes."""


class AnyDiscretisation(Protocol):
    """Where and when the samples of a file are known: on one grid, or on points of their own."""

    @property
    def spec(self) -> TaskSpec: ...

    @property
    def times(self) -> Doubles:
        """[T] of the stored frames; empty for a static task."""
        ...

    @property
    def dt(self) -> float:
        """Stored time step; 0 for a static task."""
        ...

    @property
    def sample_bytes(self) -> int:
        """Of the fields of one sample, at most."""
        ...

    def difference(self, other: "AnyDiscretisation") -> str:
        """What keeps samples of the two out of one dataset, in words; empty where nothing does."""
        ...


class AnyBlock(Protocol):
    """Consecutive samples."""

    def __len__(self) -> int: ...

    @property
    def more(self) -> bool:
        """It holds the frames of a single sample up to some time; the next block goes on with them."""
        ...

    def take(self, rows: NDArray[np.bool_]) -> "AnyBlock":
        """The samples where `rows` [n] is true."""
        ...

    def moments(self) -> tuple[Moments, Moments | None]:
        """Of the targets and, where the task is static, of the inputs."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Discretisation:
    """Where and when the samples of a file are known."""

    spec: TaskSpec
    times: Doubles
    """[T] of the stored frames; empty for a static task."""
    axes: tuple[str, ...]
    """Name of each spatial axis, in the array's order."""
    coordinates: tuple[Doubles, ...]
    """Cell centres along each of `axes`."""

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.coordinates)

    @property
    def dt(self) -> float:
        """Stored time step; 0 for a static task."""
        return float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.0

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of one sample: [T, *S, C], or [*S, C] for a static task."""
        steps = () if self.spec.static else (len(self.times),)
        return (*steps, *self.grid, len(self.spec.fields))

    @property
    def sample_bytes(self) -> int:
        """Of the fields of one sample."""
        inputs = len(self.spec.input_fields) * int(np.prod(self.grid))
        return 4 * (int(np.prod(self.state_shape)) + inputs)

    @property
    def parts(self) -> tuple[slice, ...]:
        """Frames of a sample that are read at a time: all of them, unless the sample is very large."""
        frames = len(self.times)
        if self.spec.static or self.sample_bytes <= _PART_BYTES:
            return (slice(None),)
        size = max(1, _PART_BYTES * frames // self.sample_bytes)
        return tuple(slice(first, min(first + size, frames)) for first in range(0, frames, size))

    def difference(self, other: AnyDiscretisation) -> str:
        """What keeps samples of the two out of one dataset, in words; empty where nothing does."""
        assert isinstance(other, Discretisation)
        if self.grid != other.grid:
            return f"its resolution is {_by(self.grid)}, theirs {_by(other.grid)}"
        if not np.isclose(self.dt, other.dt, rtol=1e-4):
            return f"its time step is {self.dt:g}, theirs {other.dt:g}"
        if len(self.times) != len(other.times):
            return f"it has {len(self.times)} frames, they have {len(other.times)}"
        for axis, ours, theirs in zip(self.axes, self.coordinates, other.coordinates, strict=True):
            if np.abs(ours - theirs).max() > np.diff(ours).max():
                return f"its {axis} coordinates begin at {ours[0]:g}, theirs at {theirs[0]:g}"
        return ""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive samples, or consecutive frames of a single one that is very large."""

    inputs: Floats | None
    """[n, *S, Ci] of a static task."""
    targets: Floats
    """[n, T, *S, C], or [n, *S, C] of a static task."""
    more: bool = False
    """The next block goes on with the frames of this one's sample."""

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: NDArray[np.bool_]) -> "Block":
        """The samples where `rows` [n] is true."""
        if rows.all():
            return self
        return Block(None if self.inputs is None else self.inputs[rows], self.targets[rows])

    def moments(self) -> tuple[Moments, Moments | None]:
        """Of the targets and, where the task is static, of the inputs."""
        return Moments.of(self.targets), None if self.inputs is None else Moments.of(self.inputs)

    @classmethod
    def joined(cls, blocks: Sequence["Block"]) -> "Block":
        """The samples of several blocks, in order."""
        inputs = [block.inputs for block in blocks if block.inputs is not None]
        return cls(np.concatenate(inputs) if inputs else None, np.concatenate([b.targets for b in blocks]))


class Source(Protocol):
    """Samples under one set of parameters: a raw file, a solver, or part of a converted dataset."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str:
        """Identifies what it holds; that of a file takes reading all of it, once."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Tells at once, on this machine, whether it is what it was; read anew whenever it is asked for."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """What the manifest says of it beside its name and hash: kind, samples, parameters."""
        ...

    @property
    def discretisation(self) -> AnyDiscretisation: ...

    @property
    def samples(self) -> int: ...

    @property
    def parameters(self) -> tuple[float, ...]:
        """In the order of the task's parameters."""
        ...

    @property
    def segment(self) -> int:
        """Samples that are a unit of work: what one process does at a time, and an interrupted one again."""
        ...

    def blocks(self, rows: int, span: range | None = None) -> Iterator[AnyBlock]:
        """The samples of `span`, or all, in order, at most `rows` at a time. A span is one segment.

        A block may also hold a part of the frames of one sample: it has `more`, all but the last do.
        """
        ...

    def initial_conditions(self, rows: int) -> Iterator[Iterable[Floats]] | None:
        """[n, …] what samples start from, in order: equal values mean an equal start. None: all differ."""
        ...


def provenance_of(source: Source, sha256: str | None = None) -> dict[str, Any]:
    """What the manifest says of a source.

    Args:
        source: the source.
        sha256: its hash, where another process has computed it.
    """
    return {"name": source.name, "sha256": sha256 or source.sha256, **source.about}


def file_identity(path: Path) -> list[str | int]:
    """Tells whether a file of this machine is what it was, also after it was moved.

    Raises:
        NotFoundError: it is gone.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read any more: {error.strerror}") from None
    return [path.name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def segment_of(discretisation: AnyDiscretisation) -> int:
    """The segment of a source whose samples take no computing, only reading."""
    return max(1, _SEGMENT_BYTES // max(1, discretisation.sample_bytes))


def _by(grid: tuple[int, ...]) -> str:
    return "×".join(str(cells) for cells in grid)
