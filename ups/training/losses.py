"""The losses of training, and the proof that each can teach something.

A loss with a weight that no parameter can feel is worse than none: its curve falls or not, and
nothing is learned. `require_reach` stops such a run before its first step.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ups.errors import TrainingError
from ups.evaluation.metrics import relative_error
from ups.models.operator import LatentOperator


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """A batch on the device, augmented."""

    task: str
    inputs: Tensor
    """[B, *S, Ci]."""
    targets: Tensor
    """[B, *S, C]."""
    parameters: Tensor
    """[B, P]."""
    dt: Tensor
    """[B]."""
    stride: Tensor
    """[B] as floats."""


Loss = Callable[[LatentOperator, TensorBatch, float], Tensor]
"""(model, batch, input noise) → scalar."""


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """One term of the objective."""

    name: str
    weight: float
    compute: Loss


def one_step(model: LatentOperator, batch: TensorBatch, noise: float) -> Tensor:
    """Mean relative L2 error of one step, in physical units."""
    predicted = model(batch.task, batch.inputs, batch.parameters, batch.dt, batch.stride, noise=noise)
    return relative_error(predicted, batch.targets).mean()


OPERATOR_LOSSES = (WeightedLoss("one_step", 1.0, one_step),)


def require_reach(
    model: LatentOperator, losses: tuple[WeightedLoss, ...], batches: Mapping[str, TensorBatch]
) -> None:
    """Check that every weighted loss has a gradient for every task.

    The model is perturbed first: its layers that start at zero hide parameters behind them.

    Raises:
        TrainingError: names the loss and the task.
    """
    random = torch.Generator().manual_seed(0)
    probe = copy.deepcopy(model).train()
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=random).to(parameter.device))
    for loss in losses:
        if not loss.weight:
            continue
        for task, batch in batches.items():
            probe.zero_grad(set_to_none=True)
            value = loss.compute(probe, batch, 0.0)
            if value.requires_grad:
                torch.autograd.backward(value)
            if not any(p.grad is not None and bool(p.grad.any()) for p in probe.parameters()):
                raise TrainingError(
                    f"the loss {loss.name} (weight {loss.weight:g}) of {task} reaches no parameter",
                    hint="set its weight to 0",
                )
