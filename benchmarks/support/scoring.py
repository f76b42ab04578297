"""Relative error of anything that steps states: one step from true states, and a rollout.

Both sides of a comparison are scored here, on the same states.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ups.data.fields import Fields
from ups.evaluation.metrics import relative_error

Step = Callable[[Tensor, Tensor, float], Tensor]
"""(inputs [B, *S, Ci], parameters [B, P], dt) → [B, *S, C], in physical units."""

ROLLOUT_STEPS = 40
_TRAJECTORIES = 24
"""Most trajectories of a split that are scored, spread over the file."""
_FRAMES = 10
"""Frames of a trajectory from which one step is scored."""
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Score:
    """Mean nRMSE over a split: ‖pred − true‖₂ / ‖true‖₂ per sample and step."""

    one_step: float
    rollout: float | None
    """None for static tasks."""

    @property
    def choice(self) -> float:
        """What candidates are compared by: both figures, equally."""
        return self.one_step if self.rollout is None else (self.one_step * self.rollout) ** 0.5


@torch.no_grad()
def score(step: Step, fields: Fields) -> Score:
    """Score a stepper on a file."""
    chosen = np.unique(np.linspace(0, fields.samples - 1, min(_TRAJECTORIES, fields.samples)).astype(int))
    parameters = _tensor(fields.parameters[chosen])
    if fields.states is None:
        assert fields.inputs is not None
        assert fields.targets is not None
        predicted = _batched(step, _tensor(fields.inputs[chosen]), parameters, 0.0)
        return Score(_mean(predicted, _tensor(fields.targets[chosen])), None)
    states = _tensor(fields.states[chosen])  # [N, T, *S, C]
    frames = np.unique(np.linspace(0, states.shape[1] - 2, _FRAMES).astype(int))
    before = states[:, frames].flatten(0, 1)
    after = _batched(step, before, parameters.repeat_interleave(len(frames), dim=0), fields.dt)
    one_step = _mean(after, states[:, frames + 1].flatten(0, 1))
    state, errors = states[:, 0], []
    for true in states[:, 1 : ROLLOUT_STEPS + 1].unbind(1):
        state = _batched(step, state, parameters, fields.dt)
        errors.append(_mean(state, true))
    return Score(one_step, float(np.mean(errors)))


def persistence(train: Fields, fields: Fields) -> Score:
    """The score of copying the last state; for static tasks, of the mean answer of the train split."""
    mean = None if train.targets is None else _tensor(train.targets.mean(axis=0, dtype=np.float64))

    def stay(inputs: Tensor, parameters: Tensor, dt: float) -> Tensor:
        return inputs if mean is None else mean.expand(len(inputs), *mean.shape)

    return score(stay, fields)


def _batched(step: Step, inputs: Tensor, parameters: Tensor, dt: float) -> Tensor:
    parts = [
        step(inputs[first : first + _BATCH], parameters[first : first + _BATCH], dt)
        for first in range(0, len(inputs), _BATCH)
    ]
    return torch.cat(parts)


def _mean(predicted: Tensor, true: Tensor) -> float:
    return float(relative_error(predicted, true).mean())


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
