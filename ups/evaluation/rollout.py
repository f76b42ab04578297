"""Predictions of a file: one step from every true state, and rollouts from the first.

Everything that is judged or written comes from here, a batch of trajectories at a time, so that a
report's figures and a file of predictions cannot differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ups.data.fields import Fields
from ups.data.point_fields import PointFields
from ups.data.point_sampling import PointPairs
from ups.data.split import Split
from ups.errors import DataError
from ups.evaluation.points import PointPaths, moved, paths
from ups.evaluation.predictor import Predictor
from ups.models.geometry import Geometry


class Steps(Protocol):
    """What steps physical states forward: a `Predictor`, or a search among its candidates."""

    @property
    def device(self) -> torch.device: ...

    def step(
        self, task: str, inputs: Tensor, parameters: Tensor, dt: float, geometry: Geometry | None = None
    ) -> Tensor:
        """As `Predictor.step`."""
        ...


@dataclass(frozen=True, slots=True)
class Trajectories:
    """True states of some trajectories at the predictor's stride; a static pair is one step long."""

    task: str
    initial: Tensor
    """[B, *S, Ci]."""
    true: Tensor
    """[B, T, *S, C], the states after `initial`."""
    parameters: Tensor
    """[B, P]."""
    dt: float
    """Time of one step; 0 for static tasks."""
    times: np.ndarray
    """[T] times of `true`."""
    static: bool
    points: PointPaths | None = None
    """Where the points are, on meshes and particles; S is then P, and fields hold zeros beyond a sample's
    own points, in the truth and in predictions."""

    def baseline(self, predictor: Predictor) -> tuple[Tensor, Tensor]:
        """What doing nothing predicts, [B, T, *S, C], as one step and as a rollout."""
        if self.static:
            mean = predictor.mean_field(self.task).cpu().expand_as(self.true)
            if self.points is not None:
                mean = mean * self.points.mask[:, None, :, None]
            return mean, mean
        before = torch.cat([self.initial[:, None], self.true[:, :-1]], dim=1)
        return before, self.initial[:, None].expand_as(self.true)


def trajectories(
    fields: Split,
    predictor: Predictor,
    *,
    batch_size: int,
    steps: int | None = None,
    limit: int | None = None,
) -> Iterator[Trajectories]:
    """The trajectories of a file, `batch_size` at a time.

    Args:
        fields: the file.
        predictor: gives the stride.
        batch_size: trajectories at a time.
        steps: steps of each trajectory; null: to its end.
        limit: trajectories at most, from the first.

    Raises:
        DataError: the file does not suit the predictor, or is too short for one step.
    """
    predictor.check(fields)
    count = fields.samples if limit is None else min(limit, fields.samples)
    for first in range(0, count, batch_size):
        chosen = slice(first, min(first + batch_size, count))
        if not isinstance(fields, Fields):
            yield _point_trajectories(fields, predictor, np.arange(chosen.start, chosen.stop), steps)
            continue
        parameters = torch.from_numpy(np.array(fields.parameters[chosen], np.float32))
        if fields.states is None:
            assert fields.inputs is not None
            assert fields.targets is not None
            inputs, targets = _tensor(fields.inputs[chosen]), _tensor(fields.targets[chosen])
            yield Trajectories(
                fields.spec.name, inputs, targets[:, None], parameters, 0.0, np.zeros(1), static=True
            )
            continue
        frames = slice(0, None if steps is None else steps * predictor.stride + 1, predictor.stride)
        states = _tensor(fields.states[chosen, frames])
        if states.shape[1] < 2:
            raise DataError(f"{fields.path} is too short for a step of {predictor.stride} frames")
        yield Trajectories(
            fields.spec.name, states[:, 0], states[:, 1:], parameters, fields.dt * predictor.stride,
            np.asarray(fields.times, np.float64)[frames][1:], static=False,
        )  # fmt: skip


def _point_trajectories(
    fields: PointFields, predictor: Predictor, rows: np.ndarray, steps: int | None
) -> Trajectories:
    pairs = PointPairs(fields, stride=predictor.stride)
    taken = pairs.most_steps(fields.frames if steps is None else steps)
    if taken < 1:
        raise DataError(f"{fields.path} is too short for a step of {predictor.stride} frames")
    batch = pairs.take(rows, np.zeros_like(rows), taken)
    static = fields.spec.static
    frames = np.zeros(2, np.int64) if static else np.arange(taken + 1) * pairs.stride
    times = np.zeros(1) if static else np.asarray(fields.times, np.float64)[frames][1:]
    return Trajectories(
        batch.task, _tensor(batch.inputs), _tensor(batch.targets), _tensor(batch.parameters), batch.dt,
        times, static, paths(fields, rows, frames),
    )  # fmt: skip


def one_step(predictor: Steps, given: Trajectories, *, batch_size: int) -> Tensor:
    """Predictions [B, T, *S, C] of each state from the true one before it."""
    points = None if given.points is None else given.points.before
    if given.static:
        return _step(predictor, given, given.initial, given.parameters, points)[:, None]
    before = torch.cat([given.initial[:, None], given.true[:, :-1]], dim=1)
    flat = before.flatten(0, 1)
    parameters = given.parameters.repeat_interleave(before.shape[1], dim=0)
    parts = []
    for first in range(0, len(flat), batch_size):
        rows = slice(first, first + batch_size)
        there = None if points is None else points.rows(rows)
        parts.append(_step(predictor, given, flat[rows], parameters[rows], there))
    return torch.cat(parts).view_as(given.true)


def reconstruction(predictor: Predictor, given: Trajectories, *, batch_size: int) -> Tensor:
    """What encoding and decoding leave [B, T, *S, C] of the true states: the floor of the encoder."""
    flat, parts = given.true.flatten(0, 1), []
    points = None if given.points is None else given.points.ends
    for first in range(0, len(flat), batch_size):
        rows = slice(first, first + batch_size)
        there = None if points is None else points.rows(rows).to(predictor.device)
        parts.append(predictor.reconstruct(given.task, flat[rows].to(predictor.device), there).cpu())
    return torch.cat(parts).view_as(given.true)


def rollout(predictor: Steps, given: Trajectories) -> Tensor:
    """Predictions [B, T, *S, C], each from the prediction before it."""
    return roll(predictor, given)[0]


def roll(predictor: Steps, given: Trajectories) -> tuple[Tensor, Tensor | None]:
    """Predictions [B, T, *S, C], each from the prediction before it, and where they have moved the points.

    Returns:
        States, and positions [B, T, P, D] on meshes and particles.
    """
    state, states, positions = given.initial, [], []
    there = None if given.points is None else given.points.initial
    for _ in range(given.true.shape[1]):
        after = _step(predictor, given, state, given.parameters, there)
        if given.points is not None and there is not None:
            there = moved(there, state, after, given.dt, given.points.spec)
            positions.append(there.positions)
        state = after
        states.append(state)
    return torch.stack(states, dim=1), torch.stack(positions, dim=1) if positions else None


def _step(
    predictor: Steps, given: Trajectories, inputs: Tensor, parameters: Tensor, points: Geometry | None
) -> Tensor:
    device = predictor.device
    there = None if points is None else points.to(device)
    return predictor.step(given.task, inputs.to(device), parameters.to(device), given.dt, there).cpu()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
