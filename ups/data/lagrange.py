"""Reads particle trajectories in LagrangeBench's layout.

A folder holds `train.h5`, `valid.h5` and `test.h5`, each with one group per trajectory (`position` [T, P, D],
`particle_type` [P]), and `metadata.json`, which states the time step and the box. The files of a folder are
one source, LagrangeBench's test set first. Nothing is guessed from a shape. Free of torch.

States are velocities by forward differences, vₜ = (xₜ₊₁ − xₜ)/Δt to the nearest image across the periodic
borders, so xₜ + vₜΔt is the next position to rounding: T positions are T − 1 frames. A trajectory that
is longer than the shortest of its folder is cut into windows of the shortest one's length, which share
an initial condition and so never come apart into two splits; what is left at its end is dropped.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.lagrange_metadata import METADATA, Metadata, read_metadata
from ups.data.points import PointBlock, PointDiscretisation, PointSample
from ups.data.raw import opened
from ups.data.source import file_identity, segment_of
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256
from ups.tasks import TaskSpec

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FILES = ("test.h5", "valid.h5", "train.h5")
"""In the order in which their trajectories are numbered: the first tenth of a source is held out."""
FLUID = 0
"""The particle type that moves by itself; walls and driven particles have others."""
_SLACK = 1e-6
"""Of the box's length, by which float32 may put a particle beyond its border."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One group of a file."""

    file: Path
    group: str
    positions: int
    """T."""
    particles: int


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a trajectory that is one sample."""

    trajectory: Trajectory
    first: int
    """Position with which it begins."""
    start: int
    """Sample with which its trajectory begins: what starts alike is in one split."""


@dataclass(frozen=True)
class LagrangeSource:
    """The trajectories of one folder. `blocks` checks the positions while it reads them."""

    name: str
    files: tuple[Path, ...]
    metadata: Metadata
    discretisation: PointDiscretisation
    windows: tuple[Window, ...]

    @property
    def samples(self) -> int:
        return len(self.windows)

    @property
    def parameters(self) -> tuple[float, ...]:
        """None: the layout has no place for any."""
        return ()

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"files": [file_identity(path) for path in self.files], **self.about}

    @property
    def about(self) -> Mapping[str, Any]:
        return {
            "kind": "raw",
            "samples": self.samples,
            "parameters": {},
            "starts": [window.start for window in self.windows],
        }

    @cached_property
    def sha256(self) -> str:
        """Of all that the samples are made of."""
        files = {path.name: file_sha256(path) for path in self.files}
        content = {"files": files, "dt": self.metadata.dt, "domain": self.metadata.domain}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def segment(self) -> int:
        return segment_of(self.discretisation)

    def blocks(self, rows: int, span: range | None = None) -> Iterator[PointBlock]:
        """Raises DataError, naming file and dataset, at a position that is not finite or not in the box."""
        frames = len(self.discretisation.times)
        asked = self.windows if span is None else self.windows[span.start : span.stop]
        for first in range(0, len(asked), rows):
            yield PointBlock(tuple(self._read(own, frames) for own in asked[first : first + rows]))

    def initial_conditions(self, rows: int) -> Iterator[list[Floats]]:
        """What its trajectory starts from, for every window."""
        for first in range(0, self.samples, rows):
            starts = [self.windows[own.start] for own in self.windows[first : first + rows]]
            yield [self._read(start, 1).start for start in starts]

    def _read(self, window: Window, frames: int) -> PointSample:
        where = f"dataset {window.trajectory.group}/position"
        with opened(window.trajectory.file) as file:
            try:
                stored = file[f"{window.trajectory.group}/position"][window.first : window.first + frames + 1]
            except OSError as error:
                raise DataError(
                    f"{window.trajectory.file}: {where} cannot be read: {error}", hint="download it again"
                ) from None
        positions = _inside(stored, self.metadata.domain, f"{window.trajectory.file}: {where}")
        states = velocities(positions, self.metadata.domain, self.metadata.dt)
        return PointSample(
            np.ascontiguousarray(np.moveaxis(positions[:-1], 0, 1)),
            None,
            np.ascontiguousarray(np.moveaxis(states, 0, 1)),
            np.zeros(positions.shape[1], np.bool_),
            np.zeros((0, 3), np.int32),
        )


def velocities(positions: Floats, domain: Sequence[tuple[float, float]], dt: float) -> Floats:
    """Forward differences to the nearest image.

    Args:
        positions: [T, P, D] in a periodic box.
        domain: (low, high) of each axis.
        dt: time between positions.

    Returns:
        [T − 1, P, D], in units of length over time.
    """
    return (displacements(positions, domain) / dt).astype(np.float32)


def displacements(positions: Floats, domain: Sequence[tuple[float, float]]) -> Doubles:
    """What moves positions [T, P, D] on to the nearest image of the next: [T − 1, P, D]."""
    lengths = np.array([high - low for low, high in domain])
    steps: Doubles = np.diff(positions.astype(np.float64), axis=0)
    steps -= lengths * np.rint(steps / lengths)
    return steps


def open_lagrange(spec: TaskSpec, paths: Sequence[Path]) -> list[LagrangeSource]:
    """The folders that some paths name, each a source; positions are checked when they are read.

    Args:
        spec: a particle task.
        paths: folders, or files in them. A folder stands for those of its files that are there.

    Raises:
        NotFoundError: no such file.
        DataError: damaged, another layout, or something of it that is not supported.
    """
    folders: dict[Path, set[Path]] = {}
    for path in map(Path.absolute, paths):
        if not path.exists():
            raise NotFoundError(f"there is no file {path}")
        found = {path / name for name in FILES} if path.is_dir() else {path}
        folder = path if path.is_dir() else path.parent
        folders.setdefault(folder, set()).update(file for file in found if file.exists())
    return [_open_folder(spec, folder, files) for folder, files in folders.items()]


def _open_folder(spec: TaskSpec, folder: Path, found: set[Path]) -> LagrangeSource:
    files = tuple(sorted((path for path in found if path.name != METADATA), key=_rank))
    if not files:
        raise DataError(
            f"{folder} holds none of {', '.join(FILES)}",
            hint="LagrangeBench's layout keeps trajectories there",
        )
    metadata = read_metadata(folder / METADATA)
    try:
        spec = spec.on(metadata.domain)
    except ValueError as error:
        raise DataError(f"{folder / METADATA}: {error}") from None
    trajectories = [own for file in files for own in _trajectories(file, metadata)]
    frames = min(own.positions for own in trajectories) - 1
    windows = _windows(trajectories, frames)
    most = max(own.particles for own in trajectories)
    times: Doubles = metadata.dt * np.arange(frames, dtype=np.float64)
    name = folder.name if len(files) > 1 else f"{folder.name}/{files[0].name}"
    return LagrangeSource(name, files, metadata, PointDiscretisation(spec, times, most), windows)


def _rank(path: Path) -> tuple[int, str]:
    return (FILES.index(path.name) if path.name in FILES else len(FILES), path.name)


def _windows(trajectories: Sequence[Trajectory], frames: int) -> tuple[Window, ...]:
    """As many pieces of so many frames as each trajectory has room for.

    A window's last velocity needs the position after it, with which the next window begins.
    """
    windows: list[Window] = []
    for own in trajectories:
        start = len(windows)
        pieces = (own.positions - 1) // frames
        windows += [Window(own, piece * frames, start) for piece in range(pieces)]
    return tuple(windows)


def _trajectories(path: Path, metadata: Metadata) -> Iterator[Trajectory]:
    with opened(path) as file:
        groups = sorted(name for name in file if isinstance(file[name], h5py.Group))
        if not groups:
            raise DataError(
                f"{path} holds {', '.join(sorted(file)[:6]) or 'nothing'}, not one group per trajectory, "
                "such as 00000/position"
            )
        for name in groups:
            yield _trajectory(path, file[name], name, metadata)


def _trajectory(path: Path, group: h5py.Group, name: str, metadata: Metadata) -> Trajectory:
    position, kind = group.get("position"), group.get("particle_type")
    for dataset, what in ((position, "position [T,P,D]"), (kind, "particle_type [P]")):
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(f"{path}: {name} holds {', '.join(sorted(group))}, but no dataset {what}")
    dims = len(metadata.domain)
    shape = f"{path}: dataset {name}/position is {list(position.shape)}"
    if position.ndim != 3 or position.shape[2] != dims or position.shape[1] == 0:
        raise DataError(f"{shape}, not [T,P,{dims}], as {METADATA} has it")
    if position.dtype.kind != "f":
        raise DataError(f"{path}: dataset {name}/position holds {position.dtype} values, not positions")
    if len(position) < 3:
        raise DataError(f"{shape}: with fewer than 3 positions there are no two velocities to step between")
    if kind.shape != position.shape[1:2]:
        raise DataError(
            f"{path}: {name}/particle_type is {list(kind.shape)}, not one for each of {position.shape[1]}"
        )
    others = int(np.count_nonzero(kind[()] != FLUID))
    if others:
        raise DataError(
            f"{path}: {others} of the {len(kind)} particles of {name} are no fluid: their particle_type is "
            f"not {FLUID}",
            hint="walls and driven particles are not supported",
        )
    return Trajectory(path, name, len(position), position.shape[1])


def _inside(stored: NDArray[Any], domain: Sequence[tuple[float, float]], where: str) -> Floats:
    """Positions [T, P, D] within the box, the upper border being the lower one."""
    positions: Floats = stored.astype(np.float32)
    if not np.isfinite(positions).all():
        count = int(np.size(positions) - np.isfinite(positions).sum())
        raise DataError(
            f"{where}: {count} positions are NaN or infinite",
            hint="the file is damaged or its simulation diverged: leave that trajectory out",
        )
    low, high = (np.array(bounds, np.float64) for bounds in zip(*domain, strict=True))
    slack = _SLACK * (high - low)
    outside = (positions < low - slack) | (positions > high + slack)
    if outside.any():
        worst = float(positions[outside].flat[0])
        raise DataError(
            f"{where}: {int(outside.any(axis=-1).sum())} positions lie outside of the bounds in {METADATA}, "
            f"one at {worst:g}",
            hint="positions are expected where a periodic box has them, within its bounds",
        )
    lower, upper = low.astype(np.float32), high.astype(np.float32)
    return np.where((positions < lower) | (positions >= upper), lower, positions)
