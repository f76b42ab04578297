"""Compressible viscous flow in a periodic box of any dimension, in finite volumes.

∂ρ/∂t + ∇·(ρv) = 0,  ∂(ρv)/∂t + ∇·(ρv⊗v + p) = ∇·τ,  ∂E/∂t + ∇·((E + p)v) = ∇·(τv) with
E = p/(γ − 1) + ρv²/2, γ = 5/3, and the Newtonian stress τ = ρη(∇v + ∇vᵀ − ⅔∇·v) + ρζ∇·v. As in the published
data the viscosities η and ζ are kinematic (multiplied by the density), and heat is not conducted.

Convection by the MUSCL–Hancock scheme (van Leer 1984; Toro, Riemann Solvers, 2009, chapter 14): slopes of
the primitive variables with the MC limiter, half a step in the cells, the HLLC flux between them (chapter
10) with Davis' bounds of the wave speeds. It goes through the axes in turn and, after a viscous step of
twice the length by Heun's method, through them backwards: a pair of steps is symmetric, hence of second
order. All changes are differences of fluxes, so mass, momentum and energy are conserved to rounding.

Every sample takes its own time steps, and nothing but its own values decides what becomes of it: the same
sample gets the same values in any batch. All is computed in the precision of the initial values.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.tasks import TASK_SPECS

Values = NDArray[np.floating[Any]]

GAMMA = TASK_SPECS["compressible_ns1d"].constant("gamma")

_COURANT = 0.8
_DIFFUSION_NUMBER = 0.4
"""Of the explicit viscous step; 0.5 is the limit of stability."""
_INVISCID = 1e-6
"""Viscosities up to this leave no trace in the cells that such data have, and are left out."""
_CHUNK_CELLS = 4096
"""Cells whose work arrays stay in the processor's cache."""

_Step = Callable[[Values, NDArray[np.float64]], None]


def evolve(initial: Values, *, width: float, eta: float, zeta: float, frames: int, dt: float) -> Values:
    """Solve from density, pressure and velocity in equal cells of a periodic box.

    Args:
        initial: [2 + D, n, *S] density, pressure and the D components of velocity.
        width: of the cells, along all D axes.
        eta: kinematic shear viscosity, area per time.
        zeta: kinematic bulk viscosity.
        frames: states to return, `dt` apart.

    Returns:
        [2 + D, n, frames, *S], the first of them `initial`.
    """
    states = np.empty((*initial.shape[:2], frames, *initial.shape[2:]), initial.dtype)
    states[:, :, 0] = initial
    state = conserved(initial)
    duration = np.full(initial.shape[1], dt)
    for frame in range(1, frames):
        _advance(state, duration, width, eta, zeta)
        states[:, :, frame] = primitive(state)
    return states


def conserved(flow: Values) -> Values:
    """Density, pressure and velocity [2 + D, …] as density, energy and momentum."""
    result = np.empty_like(flow)
    density, pressure, velocity = flow[0], flow[1], flow[2:]
    result[0] = density
    np.multiply(velocity, density, out=result[2:])
    result[1] = pressure / (GAMMA - 1.0) + 0.5 * (velocity * result[2:]).sum(axis=0)
    return result


def primitive(state: Values) -> Values:
    """Density, energy and momentum [2 + D, …] as density, pressure and velocity."""
    result = np.empty_like(state)
    density, energy, momentum = state[0], state[1], state[2:]
    result[0] = density
    np.divide(momentum, density, out=result[2:])
    kinetic = np.einsum("d...,d...->...", momentum, result[2:])
    kinetic *= 0.5
    np.subtract(energy, kinetic, out=result[1])
    result[1] *= GAMMA - 1.0
    return result


def _advance(state: Values, duration: NDArray[np.float64], width: float, eta: float, zeta: float) -> None:
    """The conserved state [2 + D, n, *S] after `duration` [n], in place."""
    axes = range(state.ndim - 2)
    viscous = max(eta, zeta) > _INVISCID
    stiffness = len(axes) * (4.0 / 3.0 * eta + zeta)

    def viscous_step(part: Values, dt: NDArray[np.float64]) -> None:
        _diffuse(part, dt / width, width, eta, zeta)

    def pair(part: Values, dt: NDArray[np.float64]) -> None:
        """Two steps of half of `dt` each, the second backwards."""
        ratio = 0.5 * dt / width
        for axis in axes:
            _convect(part, axis, ratio)
        if viscous:
            stable = np.full(len(dt), _DIFFUSION_NUMBER * width**2 / stiffness)
            _in_steps(part, dt, lambda _: stable, viscous_step)
        for axis in reversed(axes):
            _convect(part, axis, ratio)

    _in_steps(state, duration, lambda part: 2.0 * _COURANT * width / _fastest(part), pair)


def _in_steps(
    state: Values, duration: NDArray[np.float64], limit: Callable[[Values], Values], step: _Step
) -> None:
    """Steps that are each as long as a sample's limit allows, until all have come to the end, in place."""
    left = duration.copy()
    while (left > 0.0).any():
        rows = np.flatnonzero(left > 0.0)
        part = state if len(rows) == len(left) else state[:, rows]
        steps = np.ceil(left[rows] / limit(part)[: len(rows)])
        dt = left[rows] / steps
        step(part, dt)
        if part is not state:
            state[:, rows] = part
        left[rows] = np.where(steps > 1.0, left[rows] - dt, 0.0)


def _fastest(state: Values) -> Values:
    """[n] speed of the fastest wave in a sample along any axis."""
    flow = primitive(state)
    sound = np.sqrt(GAMMA * flow[1] / flow[0])
    speed = np.abs(flow[2:]).max(axis=0)
    speed += sound
    fastest: Values = speed.reshape(len(speed), -1).max(axis=1)
    return fastest


def _convect(state: Values, axis: int, ratio: Values) -> None:
    """A step along one axis, in place; `ratio` [n] is the time step over the cells' width."""
    moved = np.moveaxis(state, 2 + axis, -1)
    lines = moved.reshape(len(state), -1, moved.shape[-1])  # a copy but for the last axis
    ratios = np.repeat(ratio.astype(state.dtype), lines.shape[1] // len(ratio))[:, None]
    order = [0, 1, 2 + axis, *(row for row in range(2, len(state)) if row != 2 + axis)]
    rows = max(1, _CHUNK_CELLS // lines.shape[2])
    for first in range(0, lines.shape[1], rows):
        chunk = slice(first, first + rows)
        difference = np.diff(_fluxes(lines[order, chunk], ratios[chunk]))
        difference *= ratios[chunk]
        for row, change in zip(order, difference, strict=True):
            lines[row, chunk] -= change
    if not np.shares_memory(lines, state):
        moved[...] = lines.reshape(moved.shape)


def _fluxes(lines: Values, ratio: Values) -> Values:
    """[2 + D, L, X + 1] fluxes between the cells of periodic lines [2 + D, L, X]; normal momentum third."""
    flow = primitive(lines)
    padded = np.concatenate([flow[..., -2:], flow, flow[..., :2]], axis=-1)
    centre = padded[..., 1:-1]
    slopes = _half_slopes(padded)
    density, pressure, normal = centre[:3]
    predicted = normal * slopes  # what half a step takes away, before the factor
    predicted[0] += density * slopes[2]
    predicted[1] += GAMMA * pressure * slopes[2]
    predicted[2] += slopes[1] / density
    predicted *= -ratio
    predicted += centre
    left = predicted[..., :-1] + slopes[..., :-1]
    right = predicted[..., 1:] - slopes[..., 1:]
    for side, cells in ((left, centre[..., :-1]), (right, centre[..., 1:])):
        impossible = np.minimum(side[0], side[1]) <= 0.0
        if impossible.any():  # the scheme of first order never gets there
            np.copyto(side, cells, where=impossible)
    return _hllc(left, right)


def _half_slopes(padded: Values) -> Values:
    """Half of the differences across the cells [..., X + 2], limited: MC, of van Leer."""
    jumps = np.diff(padded)
    before, after = jumps[..., :-1], jumps[..., 1:]
    slopes = before + after
    slopes *= 0.25
    limits = np.minimum(np.abs(before), np.abs(after))
    limits *= before * after > 0.0
    return np.clip(slopes, -limits, limits, out=slopes)


def _hllc(left: Values, right: Values) -> Values:
    """Fluxes from the primitive states on either side of faces, the normal velocity third."""
    sound = np.sqrt(GAMMA * np.maximum(left[1] / left[0], right[1] / right[0]))
    slowest = np.minimum(left[2], right[2]) - sound
    fastest = np.maximum(left[2], right[2]) + sound
    inflow, outflow = left[0] * (slowest - left[2]), right[0] * (fastest - right[2])
    contact = right[1] - left[1] + inflow * left[2] - outflow * right[2]
    contact /= inflow - outflow
    # The flux is of the side of the contact that the face lies on, and of that side's wave if it moves away.
    from_left = contact >= 0.0
    flow = np.where(from_left, left, right)
    wave = np.where(from_left, slowest, fastest)
    reached = np.where(from_left, np.minimum(slowest, 0.0), np.maximum(fastest, 0.0))
    density, pressure, normal = flow[:3]
    state = conserved(flow)
    flux: Values = state * normal
    flux[1] += pressure * normal
    flux[2] += pressure
    behind = wave - normal
    star = density * behind / (wave - contact)
    jump = np.empty_like(state)
    jump[0] = star
    jump[2] = star * contact
    np.multiply(flow[3:], star, out=jump[3:])
    jump[1] = state[1] / density + (contact - normal) * (contact + pressure / (density * behind))
    jump[1] *= star
    jump -= state
    jump *= reached
    flux += jump
    return flux


def _diffuse(state: Values, ratio: Values, width: float, eta: float, zeta: float) -> None:
    """A viscous step by Heun's method, in place; `ratio` [n] is the time step over the cells' width."""
    factor = ratio.astype(state.dtype).reshape(-1, *(1,) * (state.ndim - 2))
    first = _stress_differences(state, width, eta, zeta)
    first *= factor
    predicted = state.copy()
    predicted[1:] += first
    second = _stress_differences(predicted, width, eta, zeta)
    second *= factor
    first += second
    first *= 0.5
    state[1:] += first


def _stress_differences(state: Values, width: float, eta: float, zeta: float) -> Values:
    """[1 + D, n, *S] what the stress adds to energy and momentum, times the width of the cells."""
    density, velocity = state[0], state[2:] / state[0]
    dims = len(velocity)
    # slope[i, j] is ∂vⱼ/∂xᵢ in the cells, times twice their width.
    slope = [[_ahead(v, i) - _behind(v, i) for v in velocity] for i in range(dims)]
    result: Values = np.zeros_like(state[1:])
    for axis in range(dims):
        across = [_ahead(v, axis) - v for v in velocity]  # at the faces, times the width
        divergence = across[axis] + sum(
            0.25 * (slope[i][i] + _ahead(slope[i][i], axis)) for i in range(dims) if i != axis
        )
        weight = (0.5 / width) * (density + _ahead(density, axis))
        for component in range(dims):
            turned = slope[component][axis]  # ∂v_axis/∂x_component
            if component == axis:
                stress = 2.0 * eta * across[axis] + (zeta - 2.0 / 3.0 * eta) * divergence
            else:
                stress = eta * (across[component] + 0.25 * (turned + _ahead(turned, axis)))
            stress *= weight
            work = 0.5 * stress * (velocity[component] + _ahead(velocity[component], axis))
            result[1 + component] += stress - _behind(stress, axis)
            result[0] += work - _behind(work, axis)
    return result


def _ahead(values: Values, axis: int) -> Values:
    """[n, *S] of the next cell along a spatial axis."""
    return _shifted(values, axis, slice(1, None), slice(None, 1))


def _behind(values: Values, axis: int) -> Values:
    """[n, *S] of the cell before."""
    return _shifted(values, axis, slice(-1, None), slice(None, -1))


def _shifted(values: Values, axis: int, first: slice, then: slice) -> Values:
    before = (slice(None),) * (1 + axis)
    return np.concatenate([values[(*before, first)], values[(*before, then)]], axis=1 + axis)
