"""How well predictions keep what their equation guarantees, by the checks of `ups.physics`.

The figure of the true data stands beside each: they are discrete, too, and not at zero themselves.
"""

import torch
from torch import Tensor

from ups.evaluation.rollout import Trajectories
from ups.physics import CHECKS, Transition
from ups.tasks import task_spec


def guarantees(
    given: Trajectories, predicted: Tensor, before: Tensor, *, batch_size: int
) -> dict[str, Tensor]:
    """What each check that applies to the task says of the steps of some predictions.

    Args:
        given: the trajectories that were predicted.
        predicted: [B, T, *S, C].
        before: [B, T, *S, C], the state from which each was predicted; of a static task its input.
        batch_size: states that are checked at a time.

    Returns:
        Check → [B], the mean over the steps.
    """
    spec = task_spec(given.task)
    checks = {name: check for name, check in CHECKS.items() if check.applies(spec)}
    if not checks:
        return {}
    samples, steps = predicted.shape[:2]
    earlier, later = before.flatten(0, 1), predicted.flatten(0, 1)
    parameters = given.parameters.repeat_interleave(steps, dim=0)
    rows: dict[str, list[Tensor]] = {name: [] for name in checks}
    for first in range(0, samples * steps, batch_size):
        part = slice(first, first + batch_size)
        dt = later.new_full((len(later[part]),), given.dt)
        step = Transition(spec, earlier[part], later[part], parameters[part], dt)
        for name, check in checks.items():
            value = check.measure(step)
            assert value is not None
            rows[name].append(value)
    return {name: torch.cat(values).view(samples, steps).mean(dim=1) for name, values in rows.items()}


def states_before(given: Trajectories, states: Tensor) -> Tensor:
    """[B, T, *S, C] states that those of a rollout were stepped from; of a static task its input."""
    if given.static:
        return given.initial[:, None]
    return torch.cat([given.initial[:, None], states[:, :-1]], dim=1)
