"""Means that no solution changes: measured, and given back to a prediction."""

from torch import Tensor

from ups.physics.transition import TINY, Transition, root
from ups.tasks import Modality, TaskSpec


def spatial_mean(field: Tensor) -> Tensor:
    """Mean over the cells of [B, *S, C], kept broadcastable."""
    return field.mean(dim=tuple(range(1, field.dim() - 1)), keepdim=True)


def restore_mean(predicted: Tensor, previous: Tensor, conserved: Tensor) -> Tensor:
    """Give the conserved channels of a prediction the mean that they had before the step.

    Args:
        predicted: [B, *S, C].
        previous: the state stepped from, same shape.
        conserved: [C], 1 where the channel's mean is conserved, else 0.
    """
    return predicted + conserved * (spatial_mean(previous) - spatial_mean(predicted))


def conserves(spec: TaskSpec) -> bool:
    """Whether the equation conserves the mean of a channel."""
    return bool(spec.conserved) and not spec.static and spec.modality is Modality.GRID


def conservation_gap(step: Transition) -> Tensor | None:
    """How far a step moves the means that it should conserve, relative to the state before it.

    Returns:
        [B]: root mean square over the conserved channels of |mean after − mean before| / rms before; None
        where nothing is conserved.
    """
    if not conserves(step.spec):
        return None
    channels = [step.spec.fields.index(name) for name in step.spec.conserved]
    before, after = step.before[..., channels], step.after[..., channels]
    spatial = tuple(range(1, before.dim() - 1))
    scale = before.detach().square().mean(dim=spatial).sqrt().clamp_min(TINY)  # [B, channels]
    gap = (after - before).mean(dim=spatial) / scale
    return root(gap.square().mean(dim=1))
