"""The divergence of velocities that should have none.

Between walls by central differences, the normal velocity mirrored with the other sign behind the wall;
on periodic axes in Fourier space.
"""

import math

import torch
from torch import Tensor

from ups.physics.symmetry import vector_channels
from ups.physics.transition import Transition, root_mean_square, scale
from ups.tasks import Boundary, Modality, TaskSpec


def is_divergence_free(spec: TaskSpec) -> bool:
    """Whether the task's velocity has no divergence."""
    return spec.divergence_free and spec.modality is Modality.GRID


def divergence(step: Transition) -> Tensor | None:
    """The divergence of the velocity after a step, relative to its own derivatives.

    Returns:
        [B]: rms(Σ ∂vᵢ/∂xᵢ) / √(Σ ms(∂vᵢ/∂xᵢ)), 0 for an incompressible flow, about 1 for noise; None where
        the velocity may have a divergence.
    """
    spec = step.spec
    if not is_divergence_free(spec):
        return None
    parts = torch.stack(
        [
            _derivative(step.after[..., channel], axis, high - low, spec.boundary)
            for axis, (channel, (low, high)) in enumerate(
                zip(vector_channels(spec, spec.fields), spec.domain, strict=True)
            )
        ],
        dim=1,
    )  # [B, axes, *S]
    typical = scale(parts) * math.sqrt(parts.shape[1])
    return root_mean_square(parts.sum(dim=1)) / typical


def _derivative(component: Tensor, axis: int, length: float, boundary: Boundary) -> Tensor:
    """∂/∂x of [B, *S] along a spatial axis of the given length, to whose ends the component is normal."""
    dim, cells = axis + 1, component.shape[axis + 1]
    if boundary is Boundary.PERIODIC:
        wave = 2j * math.pi / length * torch.arange(cells // 2 + 1, device=component.device)
        shape = [1] * component.dim()
        shape[dim] = len(wave)
        spectrum = torch.fft.rfft(component, dim=dim) * wave.view(shape)
        derivative: Tensor = torch.fft.irfft(spectrum, n=cells, dim=dim)
        return derivative
    first, last = component.narrow(dim, 0, 1), component.narrow(dim, cells - 1, 1)
    if boundary is Boundary.WALL:
        below, above = -first, -last
    else:
        below = 2.0 * first - component.narrow(dim, 1, 1)
        above = 2.0 * last - component.narrow(dim, cells - 2, 1)
    padded = torch.cat([below, component, above], dim=dim)
    return (padded.narrow(dim, 2, cells) - padded.narrow(dim, 0, cells)) * (cells / (2.0 * length))
