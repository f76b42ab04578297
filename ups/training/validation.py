"""Validation inside training: field space, physical units, beside persistence.

Small on purpose: some samples, some frames, a short rollout, no symmetric averaging. It draws the
curves and chooses the checkpoint; the evaluation of whole splits is `ups.evaluation.report`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ups.data.split import Split, pairs_of
from ups.evaluation.metrics import relative_error
from ups.evaluation.points import on_device
from ups.evaluation.predictor import Predictor
from ups.evaluation.rollout import rollout, trajectories

_FRAMES = 8
"""Frames of each trajectory from which one step is judged."""
_ROLLOUT_STEPS = 10


@dataclass(frozen=True, slots=True)
class Validation:
    """Mean nRMSE of one task, and what doing nothing scores."""

    nrmse: float
    persistence: float
    rollout_nrmse: float
    persistence_rollout: float

    def values(self) -> dict[str, float]:
        return {
            "nrmse": self.nrmse, "persistence": self.persistence,
            "rollout_nrmse": self.rollout_nrmse, "persistence_rollout": self.persistence_rollout,
        }  # fmt: skip


def validate(
    predictor: Predictor, files: Mapping[str, Split], *, samples: int, batch_size: int
) -> dict[str, Validation]:
    """Judge every task on the first `samples` samples of its file."""
    return {task: _validate(predictor, fields, samples, batch_size) for task, fields in files.items()}


def mean_nrmse(results: Mapping[str, Validation]) -> float:
    """One-step nRMSE, each task counting the same."""
    return float(np.mean([result.nrmse for result in results.values()]))


def _validate(predictor: Predictor, fields: Split, samples: int, batch_size: int) -> Validation:
    step, step_baseline = _one_step(predictor, fields, samples, batch_size)
    if fields.spec.static:
        return Validation(step, step_baseline, step, step_baseline)
    errors, baselines = [], []
    for given in trajectories(fields, predictor, batch_size=batch_size, steps=_ROLLOUT_STEPS, limit=samples):
        errors.append(relative_error(rollout(predictor, given), given.true, first=2).mean(dim=1))
        baselines.append(relative_error(given.baseline(predictor)[1], given.true, first=2).mean(dim=1))
    return Validation(step, step_baseline, _mean(errors), _mean(baselines))


def _one_step(predictor: Predictor, fields: Split, samples: int, batch_size: int) -> tuple[float, float]:
    pairs = pairs_of(fields, stride=predictor.stride)
    count = min(samples, fields.samples)
    frames = np.unique(np.linspace(0, pairs.starts - 1, min(_FRAMES, pairs.starts)).astype(np.int64))
    chosen = np.repeat(np.arange(count), len(frames)), np.tile(frames, count)
    errors, baselines = [], []
    for first in range(0, len(chosen[0]), batch_size):
        rows = slice(first, first + batch_size)
        batch = pairs.take(chosen[0][rows], chosen[1][rows])
        inputs, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets[:, 0])
        parameters = torch.from_numpy(batch.parameters).to(predictor.device)
        there = None if batch.geometry is None else on_device(batch.geometry, predictor.device)
        predicted = predictor.step(batch.task, inputs.to(predictor.device), parameters, batch.dt, there).cpu()
        copied = predictor.mean_field(batch.task).cpu().expand_as(targets) if fields.spec.static else inputs
        errors.append(relative_error(predicted, targets))
        baselines.append(relative_error(copied, targets))
    return _mean(errors), _mean(baselines)


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).mean())
