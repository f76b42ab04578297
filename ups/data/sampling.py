"""Which training pairs are drawn, and in what order the tasks take turns.

Micro-batches are homogeneous: one task, one shape. Everything random comes from one numpy generator
whose state is a few numbers, so that a resumed run draws what the uninterrupted one would have
drawn. Free of torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ups.data.fields import Fields
from ups.data.geometry import PointGeometry
from ups.data.point_fields import PointFields
from ups.tasks import TaskSpec

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_READ_BYTES = 64 * 1024 * 1024
_LARGEST_CHANGE = 2.0
"""Relative change beyond which a pair is not drawn more often."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one task: a state (or input) and the states that follow it."""

    spec: TaskSpec
    """The task, on the domain of the data."""
    inputs: Floats
    """[B, *S, Ci]."""
    targets: Floats
    """[B, K, *S, C], the K states after it, a stride apart; K = 1 for static tasks."""
    parameters: Floats
    """[B, P]."""
    dt: float
    """Time between two of them; 0 for static tasks."""
    stride: int
    """Stored frames between two of them."""
    samples: Integers
    """[B] index of the trajectory in its file."""
    frames: Integers
    """[B] frame of the input; 0 for static tasks."""
    geometry: PointGeometry | None = None
    """Where the points lie, on meshes and particles; for S then read P, the points of the largest sample."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def task(self) -> str:
        return self.spec.name


class PairSource(Protocol):
    """All pairs that a sampler draws from."""

    @property
    def fields(self) -> Fields | PointFields: ...

    @property
    def starts(self) -> int:
        """Frames of a trajectory from which a step can be taken."""
        ...

    @property
    def stride(self) -> int: ...

    def __len__(self) -> int: ...

    def most_steps(self, wanted: int) -> int:
        """How many steps a window can have: as many as wanted, where the trajectories are long enough."""
        ...

    def take(self, samples: Integers, frames: Integers, steps: int = 1) -> Batch:
        """The windows of `steps` steps that start at these frames of these trajectories."""
        ...

    def changes(self) -> Floats | None:
        """Relative change of each pair [N · starts]; None for static tasks."""
        ...


def probe_windows(pairs: PairSource, steps: int = 1) -> Batch:
    """Two fixed windows of `steps` steps, to try something on; at most `pairs.most_steps`."""
    chosen = np.linspace(0, len(pairs) - 1, 2).astype(np.int64)
    return _windows(pairs, chosen, steps)


def _windows(pairs: PairSource, chosen: Integers, steps: int) -> Batch:
    """The windows that start at these pairs, by their number.

    A frame that is too late for a window of more than one step counts from the beginning again.
    """
    samples, frames = np.divmod(chosen, pairs.starts)
    latest = pairs.starts - pairs.stride * (steps - 1)
    return pairs.take(samples, frames % latest, steps)


class Pairs:
    """All (state, next state) pairs of a file at one stride, or the pairs of a static task."""

    def __init__(self, fields: Fields, *, stride: int = 1) -> None:
        self.fields = fields
        self.stride = 1 if fields.spec.static else stride
        self.starts = 1 if fields.states is None else fields.states.shape[1] - self.stride
        """Frames of a trajectory from which a step can be taken."""

    def __len__(self) -> int:
        return self.fields.samples * max(self.starts, 0)

    def most_steps(self, wanted: int) -> int:
        """How many steps a window can have: as many as wanted, where the trajectories are long enough."""
        if self.fields.states is None:
            return 1
        frames: int = self.fields.states.shape[1]
        return min(wanted, (frames - 1) // self.stride)

    def take(self, samples: Integers, frames: Integers, steps: int = 1) -> Batch:
        """The windows of `steps` steps that start at these frames of these trajectories."""
        fields = self.fields
        if fields.states is not None:
            first = samples * fields.states.shape[1] + frames
            inputs = fields.frames(first)
            targets = fields.frames(first[:, None] + self.stride * np.arange(1, steps + 1))
        else:
            assert fields.inputs is not None
            assert fields.targets is not None
            inputs, targets = fields.inputs[samples], fields.targets[samples][:, None]
        return Batch(
            fields.spec, np.asarray(inputs), np.asarray(targets), np.asarray(fields.parameters[samples]),
            fields.dt * self.stride, self.stride, samples, frames,
        )  # fmt: skip

    def changes(self) -> Floats | None:
        """‖u(t+Δ) − u(t)‖ / ‖u(t+Δ)‖ of each pair; None for static tasks. Reads the file once."""
        states = self.fields.states
        if states is None:
            return None
        changes = np.empty((len(states), self.starts), np.float32)
        rows = max(1, _READ_BYTES // max(1, states[0].nbytes))
        for first in range(0, len(states), rows):
            block = np.asarray(states[first : first + rows])
            flat = block.reshape(*block.shape[:2], -1)
            changes[first : first + rows] = relative_changes(flat, self.stride)
        return changes.reshape(-1)


def relative_changes(states: Floats, stride: int) -> Floats:
    """‖u(t+Δ) − u(t)‖ / ‖u(t+Δ)‖ [..., T − stride] of states [..., T, values], at most 2."""
    after = states[..., stride:, :]
    difference = np.linalg.norm(after - states[..., : after.shape[-2], :], axis=-1)
    changes: Floats = difference / np.maximum(np.linalg.norm(after, axis=-1), 1e-8)
    return np.minimum(changes, _LARGEST_CHANGE)


class PairSampler:
    """Draws batches: a share in proportion to the relative change, the rest uniformly."""

    def __init__(self, pairs: PairSource, *, hard_share: float) -> None:
        self.pairs = pairs
        changes = pairs.changes() if hard_share else None
        self._cumulative = None if changes is None else np.cumsum(changes, dtype=np.float64)
        if self._cumulative is not None and not self._cumulative[-1] > 0:
            self._cumulative = None
        self._hard_share = 0.0 if self._cumulative is None else hard_share

    def draw(self, size: int, random: np.random.Generator, steps: int = 1) -> Batch:
        """A batch of `size` windows of `steps` steps; `steps` may not exceed `pairs.most_steps`."""
        chosen = random.integers(len(self.pairs), size=size)
        num_hard = int(size * self._hard_share)
        if num_hard and self._cumulative is not None:
            heights = random.random(num_hard) * self._cumulative[-1]
            drawn = np.searchsorted(self._cumulative, heights, side="right")
            chosen[:num_hard] = np.minimum(drawn, len(self.pairs) - 1)
        return _windows(self.pairs, chosen, steps)


class TaskRotation:
    """Decides whose turn it is, so that each task's samples keep to its share at every moment.

    A task earns its share of every sample that anyone draws and pays for those that it draws itself;
    the richest is next.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        self.credits: dict[str, float] = dict.fromkeys(tasks, 0.0)

    def next(self, shares: Mapping[str, float], sizes: Mapping[str, int]) -> str:
        """The task that is next.

        Args:
            shares: weight of each task that takes part now; need not add up to 1.
            sizes: samples that each task draws at a time.
        """
        active = [task for task in self.credits if shares.get(task, 0.0) > 0]
        chosen = max(active, key=lambda task: self.credits[task])
        total = sum(shares[task] for task in active)
        for task in active:
            self.credits[task] += sizes[chosen] * shares[task] / total
        self.credits[chosen] -= sizes[chosen]
        return chosen
