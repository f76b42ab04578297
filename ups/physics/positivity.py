"""Fields that are negative in no solution: densities, pressures, heights."""

from torch import Tensor

from ups.physics.transition import Transition, root_mean_square, scale
from ups.tasks import TaskSpec


def has_positive(spec: TaskSpec) -> bool:
    """Whether a channel of the task may not be negative."""
    return bool(spec.positive)


def negativity(step: Transition) -> Tensor | None:
    """How negative the positive channels are.

    Returns:
        [B]: the largest over the positive channels of rms(min(u, 0)) / rms(u), from 0 (nowhere negative)
        to 1; None where no channel has a sign.
    """
    found = [
        root_mean_square(field.clamp_max(0.0)) / scale(field)
        for name in step.spec.positive
        for field in (step.after[..., step.spec.fields.index(name)],)
    ]
    if not found:
        return None
    worst = found[0]
    for other in found[1:]:
        worst = worst.maximum(other)
    return worst
