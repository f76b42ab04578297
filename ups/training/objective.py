"""What a stage minimises, as a module: one forward pass makes the prediction and every loss of it.

As one module whose `forward` is all that training calls, it is what data parallelism wraps.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from ups.models.geometry import carried
from ups.models.operator import LatentOperator
from ups.training.batch import Moment, TensorBatch
from ups.training.losses import Prediction, WeightedLoss


class Objective(Protocol):
    """An `nn.Module` whose call is the loss of a micro-batch."""

    def __call__(self, batch: TensorBatch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum (a scalar with a gradient), and every term's unweighted value, detached."""
        ...


def predict(model: LatentOperator, batch: TensorBatch, noise: float = 0.0) -> Prediction:
    """Unroll the operator over the batch's windows; noise disturbs the first state only."""
    states, latents = [], None
    state, geometry = batch.inputs, batch.geometry
    for step in range(batch.targets.shape[1]):
        made = model.advance(
            batch.task, state, batch.parameters, batch.dt, batch.stride,
            geometry=geometry, noise=noise if step == 0 else 0.0,
        )  # fmt: skip
        if geometry is not None:
            geometry = carried(geometry, state, made.fields, batch.dt, model.head(batch.task).task.spec)
        state, latents = made.fields, made.latents if latents is None else latents
        states.append(state)
    assert latents is not None
    return Prediction(torch.stack(states, dim=1), latents)


class OperatorObjective(nn.Module):
    """The losses of the operator stage."""

    def __init__(self, model: LatentOperator, losses: tuple[WeightedLoss, ...], noise: float) -> None:
        """Args:
        model: the operator.
        losses: the terms.
        noise: standard deviation of the input noise, in units of the normalised state.
        """
        super().__init__()
        self.model = model
        self.losses = losses
        self.noise = noise

    def forward(self, batch: TensorBatch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and every term's unweighted value, detached."""
        prediction = predict(self.model, batch, self.noise)
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for loss in self.losses:
            weight = loss.weight(moment)
            if not weight or not loss.applies(self.model, batch.task):
                continue
            value = loss.compute(self.model, batch, prediction)
            terms[loss.name] = value.detach()
            total = weight * value if total is None else total + weight * value
        assert total is not None
        return total, terms
