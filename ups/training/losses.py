"""The table of losses, and the proof that each can teach something.

A loss with a weight that no parameter can feel is worse than none: its curve falls or not, and
nothing is learned. `require_reach` stops such a run before its first step. Another loss is one row of
`operator_losses`.
"""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ups.config import TrainConfig
from ups.errors import TrainingError
from ups.evaluation.metrics import relative_error
from ups.models.operator import LatentOperator
from ups.training.batch import Moment, TensorBatch
from ups.training.inverse_losses import inverse_losses
from ups.training.physics_losses import physics_losses
from ups.training.spectral_loss import spectral_losses
from ups.training.terms import Prediction, WeightedLoss, constant

__all__ = [
    "PROBED_AT",
    "Prediction",
    "WeightedLoss",
    "constant",
    "not_applicable",
    "operator_losses",
    "relative_l2",
    "require_reach",
]

PROBED_AT = Moment(epoch=float("inf"))
"""When reach is checked: after every warm-up."""


def relative_l2(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Mean relative L2 error of the predicted states, in physical units."""
    return relative_error(prediction.states, batch.targets, first=2).mean()


def operator_losses(config: TrainConfig) -> tuple[WeightedLoss, ...]:
    """The losses of the operator stage that a config gives a weight."""
    return (
        WeightedLoss("relative_l2", constant(1.0), relative_l2),
        *inverse_losses(config.training),
        *spectral_losses(config.training),
        *physics_losses(config.training.physics_priors),
    )


def not_applicable(model: LatentOperator, losses: tuple[WeightedLoss, ...]) -> dict[str, list[str]]:
    """Loss → the tasks for which it has no meaning, of the losses with a weight."""
    found = {
        loss.name: [task for task in model.heads if not loss.applies(model, task)]
        for loss in losses
        if loss.weight(PROBED_AT)
    }
    return {name: tasks for name, tasks in found.items() if tasks}


def require_reach(
    model: LatentOperator,
    losses: tuple[WeightedLoss, ...],
    batches: Mapping[str, TensorBatch],
    predict: Callable[[LatentOperator, TensorBatch], Prediction],
) -> None:
    """Check that every weighted loss has a gradient for every task for which it has a meaning.

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
        weight = loss.weight(PROBED_AT)
        for task, batch in batches.items():
            if not weight or not loss.applies(probe, task):
                continue
            probe.zero_grad(set_to_none=True)
            value = loss.compute(probe, batch, predict(probe, batch))
            if value.requires_grad:
                torch.autograd.backward(value)
            if not any(p.grad is not None and bool(p.grad.any()) for p in probe.parameters()):
                raise TrainingError(
                    f"the loss {loss.name} (weight {weight:g}) of {task} reaches no parameter",
                    hint="set its weight to 0",
                )
