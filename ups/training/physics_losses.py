"""The physics priors: losses that know what the equation guarantees, and two that watch the latents.

Those of the equation compare what a check of `ups.physics` says of a predicted step with what it says of
the true one. True states are discrete and not at zero themselves; a loss that pulled a prediction below
them would make it worse.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from ups.config import PhysicsPriors
from ups.models.operator import LatentOperator
from ups.physics import CHECKS, Check, Transition
from ups.tasks import TaskSpec, task_spec
from ups.training.batch import TensorBatch
from ups.training.terms import Compute, Prediction, WeightedLoss, constant

_SHARPNESS = 20.0
"""Of the soft hinge of positivity, per root mean square of the field: 0.035 of it count at 0."""
_SPREAD = 0.08
"""Standard deviation at which a latent dimension costs half; in ordinary ones it is 0.3 to 1."""


@dataclass(frozen=True, slots=True)
class Prior:
    """One physics prior, as a loss term wants it."""

    compute: Compute
    """Never negative."""
    applies: Callable[[LatentOperator, str], bool]
    """Whether it has a meaning for a task."""


def _like_the_truth(check: Check) -> Prior:
    """Mean difference between what a check says of the predicted steps and of the true ones."""

    def compute(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
        found = check.measure(_steps(batch, prediction.states))
        true = check.measure(_steps(batch, batch.targets))
        if found is None or true is None:
            raise ValueError(f"{batch.task} has nothing that this loss measures")
        return (found - true).abs().mean()

    return Prior(compute, lambda model, task: check.applies(task_spec(task)))


def _positivity(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Mean square of the negative part of the positive channels, relative to the true states' own size.

    The hinge is soft, so that it is felt before a value is negative.
    """
    channels = _positive(batch.spec)
    states, true = prediction.states[..., channels], batch.targets[..., channels]
    over = tuple(range(true.dim() - 1))
    size = true.square().mean(dim=over).sqrt().clamp_min(torch.finfo(true.dtype).tiny)  # [channels]
    return (functional.softplus(-_SHARPNESS * states / size) / _SHARPNESS).square().mean()


def _latent_norm(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Mean square of the predicted latents."""
    return prediction.latents.square().mean()


def _latent_diversity(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Cost of latent dimensions that hardly vary over samples and tokens.

    In the place of VICReg's variance term (Bardes, Ponce, LeCun 2022), with a tail in the place of its
    hinge: a collapsed dimension costs 1, one that varies as the data do almost nothing, and the gradient
    never vanishes between them.
    """
    variance = prediction.latents.flatten(0, 1).var(dim=0, unbiased=False)  # [L]
    return (1.0 / (1.0 + variance / _SPREAD**2)).mean()


def _steps(batch: TensorBatch, states: Tensor) -> Transition:
    """All steps of windows [B, K, *S, C], as samples, each from the state before it."""
    spec, count = batch.spec, states.shape[1]
    first = batch.inputs[:, None]
    before = first if spec.static else torch.cat([first, states[:, :-1]], dim=1)
    return Transition(
        spec, before.flatten(0, 1), states.flatten(0, 1), batch.parameters.repeat_interleave(count, dim=0),
        batch.dt.repeat_interleave(count),
    )  # fmt: skip


def _positive(spec: TaskSpec) -> list[int]:
    return [spec.fields.index(name) for name in spec.positive]


def _always(model: LatentOperator, task: str) -> bool:
    return True


PRIORS: Mapping[str, Prior] = MappingProxyType(
    {
        "divergence": _like_the_truth(CHECKS["divergence"]),
        "conservation": _like_the_truth(CHECKS["conservation_gap"]),
        "boundary": _like_the_truth(CHECKS["boundary_violation"]),
        "positivity": Prior(_positivity, lambda model, task: bool(task_spec(task).positive)),
        "latent_norm": Prior(_latent_norm, _always),
        "latent_diversity": Prior(_latent_diversity, _always),
    }
)
"""By the part of the config key after `lambda_`."""


def physics_losses(priors: PhysicsPriors) -> tuple[WeightedLoss, ...]:
    """The physics priors that a config gives a weight; () where it does not use them."""
    if not priors.enabled:
        return ()
    weights = {name: getattr(priors, f"lambda_{name}") for name in PRIORS}
    return tuple(
        WeightedLoss(name, constant(weights[name]), prior.compute, prior.applies)
        for name, prior in PRIORS.items()
        if weights[name]
    )
