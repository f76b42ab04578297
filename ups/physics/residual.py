"""By how much a step fails its equation, where that is known from the state alone.

A stored step is long: waves move by many cells within it and fine structure decays away, so that a
difference quotient in time says little. Time steppers are therefore compared over wave numbers, with
the linear part integrated exactly and the rest by the trapezoidal rule (the integrating-factor method,
Lawson 1967), and only where that rule can follow: resolved wave numbers that move by less than a radian
a step. Static problems are compared after the inverse Laplacian, which measures a residual in the
answer's own unit instead of amplifying its finest noise.
"""

import math

import torch
from torch import Tensor

from ups.physics.evolution import EVOLUTIONS, Waves
from ups.physics.transition import TINY, Transition, root, root_mean_square, scale
from ups.tasks import Law, Modality, TaskSpec

_FOLLOWED = 1.0
"""Radians a step beyond which the trapezoidal rule says nothing about a wave number."""
_STANDSTILL = 1e-3
"""Change relative to the state below which a step counts as none: it is not told from rounding."""


def has_residual(spec: TaskSpec) -> bool:
    """Whether the task's equation can be checked."""
    return spec.law is not None and spec.modality is Modality.GRID


def equation_residual(step: Transition) -> Tensor | None:
    """By how much a step fails its equation.

    Returns:
        [B]: relative to what the equation makes of the step: 0 for a solution, 1 for a state that stands
        still (a static answer of 0); None where the equation is not known.
    """
    if not has_residual(step.spec):
        return None
    return _darcy(step) if step.spec.law is Law.DARCY else _stepped(step)


def _stepped(step: Transition) -> Tensor:
    assert step.spec.law is not None
    waves = Waves(step.spec, step.after)
    evolution = EVOLUTIONS[step.spec.law](step, waves)
    channels = list(evolution.channels)
    dt = step.dt.view(-1, *(1,) * (step.after.dim() - 1)).to(step.after)
    before, after = (waves.transform(state[..., channels]) for state in (step.before, step.after))
    decay = torch.exp(evolution.linear * dt)
    due = decay * before
    followed = torch.ones_like(evolution.rate, dtype=torch.bool)
    if evolution.remainder is not None:
        first, last = evolution.remainder(step.before), evolution.remainder(step.after)
        due = due + 0.5 * dt * (decay * first + last)
        followed = waves.resolved & _moved_little(evolution.rate * dt)
    typical = _norm(followed * (due - before)).detach()
    standstill = _STANDSTILL * _norm(followed * before).detach()
    return _norm(followed * (after - due)) / typical.maximum(standstill).clamp_min(TINY)


def _moved_little(angle: Tensor) -> Tensor:
    """Which waves move by less than a radian, of [B, *K, C]; the longest one counts in any case."""
    longest = angle.flatten(1)[:, 1:].amin(dim=1).view(-1, *(1,) * (angle.dim() - 1))
    return angle <= longest.mul(1.0 + 1e-6).clamp_min(_FOLLOWED)


def _norm(spectrum: Tensor) -> Tensor:
    """‖·‖₂ [B] of complex [B, *K, C]."""
    return root(torch.view_as_real(spectrum).flatten(1).square().sum(dim=1))


def _darcy(step: Transition) -> Tensor:
    """‖Δ⁻¹(∇·(a ∇u) + β)‖ / ‖Δ⁻¹ β‖, by five-point finite volumes with the mean of a at a face."""
    a, u = step.before[..., 0], step.after[..., 0]
    grid = u.shape[1:]
    spacing = [(high - low) / cells for (low, high), cells in zip(step.spec.domain, grid, strict=True)]
    flow = torch.zeros_like(u)
    for axis, width in enumerate(spacing, start=1):
        edge = [a.narrow(axis, index, 1) for index in (0, a.shape[axis] - 1)]
        zero = torch.zeros_like(edge[0])
        faces = torch.cat(
            [
                edge[0],
                0.5 * (a.narrow(axis, 1, a.shape[axis] - 1) + a.narrow(axis, 0, a.shape[axis] - 1)),
                edge[1],
            ],
            dim=axis,
        )
        flow = flow + (faces * torch.cat([zero, u, zero], dim=axis).diff(dim=axis)).diff(dim=axis) / width**2
    beta = step.parameter("beta").view(-1, *(1,) * len(grid)).expand_as(u)
    return root_mean_square(_inverse_laplacian(flow + beta, spacing)) / scale(
        _inverse_laplacian(beta, spacing)
    )


def _inverse_laplacian(field: Tensor, spacing: list[float]) -> Tensor:
    """Solve Δw = field [B, *S] by five-point differences with w = 0 in the ghost cells."""
    axes = tuple(range(1, field.dim()))
    odd, symbol = field, field.new_zeros(())
    for axis, width in zip(axes, spacing, strict=True):
        zero = torch.zeros_like(odd.narrow(axis, 0, 1))
        odd = torch.cat([zero, odd, zero, -odd.flip(axis)], dim=axis)
        angle = math.pi * torch.arange(odd.shape[axis], device=field.device) / odd.shape[axis]
        shape = [1] * field.dim()
        shape[axis] = len(angle)
        symbol = symbol - (2.0 / width * angle.sin().to(field)).square().view(shape)
    symbol[(0,) * field.dim()] = 1.0  # an odd field has no mean
    solved: Tensor = torch.fft.ifftn(torch.fft.fftn(odd, dim=axes) / symbol, dim=axes).real
    for axis in axes:
        solved = solved.narrow(axis, 1, field.shape[axis])
    return solved
