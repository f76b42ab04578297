"""Time steppers whose equation is known, written as ∂u/∂t = L u + N(u) over wave numbers.

L acts on each wave number alone, so that it is integrated exactly however long the step; N is what is
left. Where nothing flows through the walls, the state is continued evenly behind them and is periodic.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ups.physics.symmetry import vector_channels
from ups.physics.transition import Transition
from ups.tasks import Boundary, Law, TaskSpec

_CELLS_A_WAVE = 6


class Waves:
    """The wave numbers of a grid, and the way there."""

    def __init__(self, spec: TaskSpec, field: Tensor) -> None:
        self._even = spec.boundary is Boundary.NEUMANN
        dims = spec.spatial_dims
        self.axes = tuple(range(1, dims + 1))
        """Axes of a field [B, *S, C] that are transformed."""
        self._widths: list[float] = []
        self.components: list[Tensor] = []
        """Wave number along each axis, broadcastable to [B, *K, C]."""
        self.resolved = torch.ones((1,) * (dims + 2), dtype=torch.bool, device=field.device)
        """Waves of at least six cells along each axis: shorter ones depend on the scheme that made them."""
        for axis, (low, high) in enumerate(spec.domain):
            cells, length = field.shape[axis + 1], high - low
            width = length / cells
            if self._even:
                cells, length = 2 * cells, 2.0 * length
            numbers = torch.fft.fftfreq(cells, d=width, device=field.device, dtype=field.dtype)
            shape = [1] * (dims + 2)
            shape[axis + 1] = cells
            self.components.append(2.0 * math.pi * numbers.view(shape))
            self._widths.append(width)
            self.resolved = self.resolved & (
                self.components[-1].abs() * width <= 2.0 * math.pi / _CELLS_A_WAVE
            )

    @property
    def squared(self) -> Tensor:
        """−Δ, exactly."""
        return sum((k.square() for k in self.components[1:]), self.components[0].square())

    @property
    def five_point(self) -> Tensor:
        """−Δ by central differences, with which fronts of a cell's width were made."""
        parts = [
            (2.0 / width * torch.sin(0.5 * width * k)).square()
            for k, width in zip(self.components, self._widths, strict=True)
        ]
        return sum(parts[1:], parts[0])

    @property
    def length(self) -> Tensor:
        return self.squared.sqrt()

    def transform(self, field: Tensor) -> Tensor:
        """[B, *S, C] → complex [B, *K, C]."""
        if self._even:
            for axis in self.axes:
                field = torch.cat([field, field.flip(axis)], dim=axis)
        spectrum: Tensor = torch.fft.fftn(field, dim=self.axes, norm="ortho")
        return spectrum


@dataclass(frozen=True, slots=True, eq=False)
class Evolution:
    """∂u/∂t = L u + N(u) for some channels of a state."""

    channels: tuple[int, ...]
    linear: Tensor
    """L, broadcastable to [B, *K, C] of those channels."""
    remainder: Callable[[Tensor], Tensor] | None
    """State [B, *S, all channels] → N in wave numbers [B, *K, C]; None where there is none."""
    rate: Tensor
    """How fast N moves a wave number, in radians per unit of time, broadcastable to [B, *K, C]."""


def _advection(step: Transition, waves: Waves) -> Evolution:
    beta = _each(step.parameter("beta"), step)
    return Evolution((0,), -1j * beta * waves.components[0], None, torch.zeros_like(waves.length))


def _burgers(step: Transition, waves: Waves) -> Evolution:
    viscosity = _each(step.parameter("nu") / math.pi, step)
    speed = _each(step.before.abs().flatten(1).amax(dim=1), step)
    return Evolution(
        (0,),
        -viscosity * waves.squared,
        lambda state: -0.5j * waves.components[0] * waves.transform(state.square()),
        speed * waves.length,
    )


def _fisher(step: Transition, waves: Waves) -> Evolution:
    nu, rho = (_each(step.parameter(name), step) for name in ("nu", "rho"))
    return Evolution(
        (0,),
        -nu * waves.squared,
        lambda state: waves.transform(rho * state * (1.0 - state)),
        rho * torch.ones_like(waves.length),
    )


def _allen_cahn(step: Transition, waves: Waves) -> Evolution:
    epsilon = _each(step.parameter("epsilon"), step)
    return Evolution(
        (0,),
        -epsilon.square() * waves.squared,
        lambda state: waves.transform(state - state**3),
        torch.ones_like(waves.length),
    )


def _fitzhugh_nagumo(step: Transition, waves: Waves) -> Evolution:
    diffusivity = step.after.new_tensor([step.spec.constant("Du"), step.spec.constant("Dv")])
    k = step.spec.constant("k")

    def remainder(state: Tensor) -> Tensor:
        activator, inhibitor = state.unbind(-1)
        change = (activator - activator**3 - k - inhibitor, activator - inhibitor)
        return waves.transform(torch.stack(change, dim=-1))

    return Evolution((0, 1), -diffusivity * waves.five_point, remainder, torch.ones_like(waves.length))


def _continuity(step: Transition, waves: Waves) -> Evolution:
    spec = step.spec
    density = spec.fields.index("density")
    velocity = vector_channels(spec, spec.fields)

    def remainder(state: Tensor) -> Tensor:
        momentum = waves.transform(state[..., density : density + 1] * state[..., velocity])
        total = -1j * waves.components[0] * momentum[..., :1]
        for axis in range(1, len(velocity)):
            total = total - 1j * waves.components[axis] * momentum[..., axis : axis + 1]
        return total

    before = step.before.detach()
    pressure = before[..., spec.fields.index("pressure")].clamp_min(0.0)
    sound = (spec.constant("gamma") * pressure / before[..., density].clamp_min(1e-6)).sqrt()
    speed = (before[..., velocity].norm(dim=-1) + sound).flatten(1).amax(dim=1)
    return Evolution((density,), torch.zeros_like(waves.length), remainder, _each(speed, step) * waves.length)


def _each(values: Tensor, step: Transition) -> Tensor:
    """[B] → broadcastable to [B, *S, C]."""
    return values.view(-1, *(1,) * (step.after.dim() - 1))


EVOLUTIONS: Mapping[Law, Callable[[Transition, Waves], Evolution]] = {
    Law.ADVECTION: _advection,
    Law.BURGERS: _burgers,
    Law.FISHER: _fisher,
    Law.ALLEN_CAHN: _allen_cahn,
    Law.FITZHUGH_NAGUMO: _fitzhugh_nagumo,
    Law.CONTINUITY: _continuity,
}
