"""The second and third stage: a corrector of the finished operator, then the same in one step.

Each batch also teaches the critic, on the operator's prediction and on one that was moved towards the
truth or away from it, and by what another sample lacks: what a candidate gets wrong looks like a residual.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.errors import TrainingError
from ups.evaluation.guards import Guards
from ups.evaluation.metrics import relative_error
from ups.evaluation.predictor import Predictor
from ups.models import draws
from ups.models.checkpoint import MODEL_FILE
from ups.models.companions import COMPANIONS_AVERAGE_FILE, COMPANIONS_FILE, TEACHER_FILE, Companions
from ups.models.corrector import (
    LEVELS,
    CorrectedOperator,
    Corrector,
    CorrectorSpec,
    Situation,
    angles,
    residual_squares,
    residual_tokens,
    situation,
)
from ups.models.operator import LatentOperator
from ups.training.batch import Moment, TensorBatch
from ups.training.losses import PROBED_AT
from ups.training.trainee import Schedule

_SMALLEST_ERROR = 1e-6
"""Relative errors below this are the arithmetic's."""


class CompanionObjective(nn.Module):
    """The losses of a corrector and a critic beside an operator that no longer changes."""

    def __init__(self, module: Companions, operator: LatentOperator, teacher: Corrector | None) -> None:
        """Args:
        module: what is trained.
        operator: whose residual is learned.
        teacher: the corrector to distil; None: learn from the residuals themselves.
        """
        super().__init__()
        self.module = module
        self.operator = operator.requires_grad_(False).eval()
        self.teacher = None if teacher is None else teacher.requires_grad_(False).eval()

    def forward(self, batch: TensorBatch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both losses, and each of them, detached."""
        target, corrector = batch.targets[:, 0], self.module.corrector
        with torch.no_grad():
            given, predicted = _predicted(self.operator, batch)
            residual = residual_tokens(given, predicted, target) / corrector.scale(batch.task)
            noise = given.head.target.project(draws.normal_like(target))
        if self.teacher is None:
            name, loss = "denoising", self._denoising(given, residual, noise)
        else:
            name, loss = "consistency", self._consistency(self.teacher, given, residual, noise)
        loss = loss * residual[0].numel() / target[0].numel()  # per value of the field, not of the latents
        judged = self._judging(given, residual, predicted, target)
        return loss + judged, {name: loss.detach(), "critic": judged.detach()}

    def _denoising(self, given: Situation, residual: Tensor, noise: Tensor) -> Tensor:
        """Squared error of the denoised residual, weighted as predicting v would weight it (1 / sin²)."""
        path = torch.tensor(angles(LEVELS), device=residual.device)
        level = draws.integers(len(path), len(residual), device=residual.device)
        angle = path[level]
        noise = _half_silent(noise, level == 0)
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        found = self.module.corrector(given, cos * residual + sin * noise, angle)
        error = (found - residual).square().flatten(1).mean(dim=1)
        weighted: Tensor = error / angle.sin().square()
        return weighted.mean()

    def _consistency(self, teacher: Corrector, given: Situation, residual: Tensor, noise: Tensor) -> Tensor:
        """Consistency distillation (Song et al., *Consistency Models*, arXiv:2303.01469, algorithm 2).

        What the student says at one level is to be what it says one step of the teacher further down. The
        target network is the student itself without a gradient, as in Song and Dhariwal, *Improved
        Techniques* (arXiv:2310.14189).
        """
        path = [*angles(LEVELS), 0.0]
        level = int(torch.randint(LEVELS, ()))
        here, there = path[level], path[level + 1]
        student = self.module.corrector
        noise = _half_silent(noise, torch.full((len(noise),), level == 0, device=noise.device))
        noisy = math.cos(here) * residual + math.sin(here) * noise
        with torch.no_grad():
            lower = teacher.descend(given, noisy, here, there)
            wanted = student(given, lower, lower.new_full((len(lower),), there)) if there else lower
        found = student(given, noisy, noisy.new_full((len(noisy),), here))
        wrong: Tensor = found - wanted
        return wrong.square().mean()

    def _judging(self, given: Situation, residual: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
        """Squared errors of the critic's log errors of two candidates, and of their difference."""
        codec, critic = given.head.target, self.module.critic
        mix = 2 * draws.uniform(len(residual), 2, 1, device=residual.device) - 1
        # an error like this one where it does not belong: one token further
        moved = self.module.corrector.scale(given.task) * (
            mix[:, :1] * residual + mix[:, 1:] * residual.roll(1, dims=1)
        )
        candidate = predicted + codec.unproject(moved) * codec.std
        other = replace(given, predicted=given.predicted + moved)
        truth = _log_error(predicted, target), _log_error(candidate, target)
        wrong = critic(given) - truth[0], critic(other) - truth[1]
        total: Tensor = wrong[0].square() + wrong[1].square() + (wrong[0] - wrong[1]).square()
        return total.mean()


@dataclass(frozen=True, slots=True)
class CompanionTrainee:
    """A stage that trains a corrector and a critic beside an operator."""

    config: TrainConfig
    operator: LatentOperator
    guards: Mapping[str, Guards]
    device: str
    spec: CorrectorSpec
    schedule: Schedule
    stage: str
    reference: Mapping[str, float] = field(default_factory=dict)
    teacher: Corrector | None = None
    file: str = COMPANIONS_FILE
    average_file: str = COMPANIONS_AVERAGE_FILE

    def objective(self, module: nn.Module) -> CompanionObjective:
        return CompanionObjective(_companions(module), self.operator, self.teacher)

    def predictor(self, module: nn.Module) -> Predictor:
        corrected = CorrectedOperator(self.operator, _companions(module).corrector).eval()
        return Predictor(corrected, self.guards, torch.device(self.device), self.config.training.time_stride)

    def fixed(self) -> dict[str, Mapping[str, Tensor]]:
        found: dict[str, Mapping[str, Tensor]] = {MODEL_FILE: self.operator.state_dict()}
        if self.teacher is not None:
            found[TEACHER_FILE] = self.teacher.state_dict()
        return found

    def description(self) -> dict[str, Any]:
        return {
            "operator": self.operator.spec.to_json(),
            "guards": {task: guards.to_json() for task, guards in self.guards.items()},
            "corrector": self.spec.to_json(),
            "schedule": self.schedule.to_json(),
            "reference": dict(self.reference),
        }


@torch.no_grad()
def calibrate(
    module: Companions, operator: LatentOperator, task: str, batches: Iterable[TensorBatch]
) -> None:
    """Scale the corrector, and centre the critic, by what the operator gets wrong on training pairs."""
    squares, logs = [], []
    for batch in batches:
        given, predicted = _predicted(operator, batch)
        target = batch.targets[:, 0]
        squares.append(residual_squares(given, predicted, target))
        logs.append(_log_error(predicted, target))
    index = module.corrector.tasks.index(task)
    module.corrector.scales[index] = torch.cat(squares).mean().sqrt().clamp_min(_SMALLEST_ERROR)
    module.critic.typical[index] = torch.cat(logs).mean()


def require_companions_learn(
    trainee: CompanionTrainee, module: Companions, batches: Mapping[str, TensorBatch]
) -> None:
    """Check that both networks have a gradient for every task, as `require_reach` does for the operator.

    Raises:
        TrainingError: names the network and the task.
    """
    probe = copy.deepcopy(module).train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in probe.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape).to(parameter.device))
    objective = trainee.objective(probe)
    for task, batch in batches.items():
        probe.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.autograd.backward(objective(batch, PROBED_AT)[0])
        for name, network in (("corrector", probe.corrector), ("critic", probe.critic)):
            if not any(p.grad is not None and bool(p.grad.any()) for p in network.parameters()):
                raise TrainingError(
                    f"the loss of the {name} of {task} reaches no parameter in {trainee.stage}",
                    hint=f"remove stages.{trainee.stage} from the config",
                )


def _predicted(operator: LatentOperator, batch: TensorBatch) -> tuple[Situation, Tensor]:
    """The operator's prediction [B, *S, C] of a batch's first step, and what a corrector sees of it."""
    given = batch.inputs, batch.parameters, batch.dt, batch.stride
    predicted = operator(batch.task, *given, geometry=batch.geometry)
    return situation(operator, batch.task, *given, predicted, batch.geometry), predicted


def _half_silent(noise: Tensor, pure: Tensor) -> Tensor:
    """The noise, silenced in half of the samples that are pure noise: prediction starts at its mean."""
    silent = pure & (draws.uniform(len(noise), device=noise.device) < 0.5)
    return torch.where(silent[:, None, None], torch.zeros_like(noise), noise)


def _log_error(predicted: Tensor, target: Tensor) -> Tensor:
    return relative_error(predicted, target).clamp_min(_SMALLEST_ERROR).log()


def _companions(module: nn.Module) -> Companions:
    assert isinstance(module, Companions)
    return module
