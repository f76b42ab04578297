"""What a term of the objective is. The losses themselves stand in modules of their own."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ups.models.operator import GridHead, LatentOperator
from ups.training.batch import Moment, TensorBatch


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model makes of a batch."""

    states: Tensor
    """[B, K, *S, C] in physical units, each from the one before it."""
    latents: Tensor
    """[B, N, L] predicted tokens of the first step."""


Compute = Callable[[LatentOperator, TensorBatch, Prediction], Tensor]
"""(model, batch, prediction) → scalar."""


def _everywhere(model: LatentOperator, task: str) -> bool:
    return True


def on_grids(model: LatentOperator, task: str) -> bool:
    """Whether a task's states live on a grid."""
    return isinstance(model.heads[task], GridHead)


def constant(weight: float) -> Callable[[Moment], float]:
    """A weight that never changes."""
    return lambda moment: weight


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """One term of the objective."""

    name: str
    weight: Callable[[Moment], float]
    """0 leaves it out at that moment."""
    compute: Compute
    applies: Callable[[LatentOperator, str], bool] = _everywhere
    """Whether it has a meaning for a task."""
