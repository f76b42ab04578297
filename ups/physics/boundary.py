"""How far a state breaks its boundary conditions.

States hold cell centres, so nothing is stored at the border itself: it is extrapolated from the cells
next to it. Not applicable on periodic axes and where waves may leave.
"""

import torch
from torch import Tensor

from ups.physics.symmetry import vector_channels
from ups.physics.transition import TINY, Transition, root
from ups.tasks import Boundary, FixedValue, Modality, TaskSpec


def has_boundary(spec: TaskSpec) -> bool:
    """Whether the task has a boundary condition that can be measured."""
    walls = spec.boundary is Boundary.WALL and bool(spec.vector_fields)
    return spec.modality is Modality.GRID and (bool(spec.fixed) or walls or spec.boundary is Boundary.NEUMANN)


def boundary_violation(step: Transition) -> Tensor | None:
    """How far the state after a step breaks the boundary conditions of its task.

    Dirichlet: what two cells extrapolate to the ghost cell, less the value that is held there, relative
    to the rms of the field. Neumann: the normal derivative at the border by three cells, relative to what
    noise of the same differences between neighbouring cells would give. Wall: the velocity through it,
    relative to the rms of the velocity.

    Returns:
        [B]: root mean square over the borders; None where there is no such condition.
    """
    if not has_boundary(step.spec):
        return None
    spec, state = step.spec, step.after
    parts = [_fixed(spec, state, condition) for condition in spec.fixed]
    if spec.boundary is Boundary.NEUMANN:
        parts += [_normal_derivative(state, axis) for axis in range(spec.spatial_dims)]
    if spec.boundary is Boundary.WALL:
        parts.append(_through_walls(spec, state))
    return root(torch.stack(parts).mean(dim=0))


def _fixed(spec: TaskSpec, state: Tensor, condition: FixedValue) -> Tensor:
    """Squared violation [B] of one Dirichlet condition."""
    field = state[..., spec.fields.index(condition.field)]
    first, second = (_layer(field, condition.axis, depth, high=condition.high) for depth in (0, 1))
    ghost = 2.0 * first - second
    return _mean_square(ghost - condition.value) / _mean_square(field.detach()).clamp_min(TINY)


def _normal_derivative(state: Tensor, axis: int) -> Tensor:
    """Squared normal derivative [B] at both ends of an axis, over all channels."""
    typical = _mean_square(state.detach().diff(dim=axis + 1)).clamp_min(TINY)
    found = []
    for high in (False, True):
        first, second, third = (_layer(state, axis, depth, high=high) for depth in range(3))
        found.append(_mean_square(-2.0 * first + 3.0 * second - third) / 14.0)  # 14: its variance in noise
    return torch.stack(found).mean(dim=0) / (0.5 * typical)


def _through_walls(spec: TaskSpec, state: Tensor) -> Tensor:
    """Squared normal velocity [B] at all walls."""
    channels = vector_channels(spec, spec.fields)
    typical = _mean_square(state[..., channels].detach()).clamp_min(TINY)
    normal = [
        _mean_square(
            1.5 * _layer(component, axis, 0, high=high) - 0.5 * _layer(component, axis, 1, high=high)
        )
        for axis, channel in enumerate(channels)
        for component in (state[..., channel],)
        for high in (False, True)
    ]
    return torch.stack(normal).mean(dim=0) / typical


def _layer(field: Tensor, axis: int, depth: int, *, high: bool) -> Tensor:
    """The cells of [B, *S, …] that lie `depth` cells from one end of a spatial axis."""
    return field.select(axis + 1, -1 - depth if high else depth)


def _mean_square(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).square().mean(dim=1)
