"""Reaction–diffusion (FitzHugh–Nagumo) on the square (−1, 1)², without flux through the walls.

∂u/∂t = Dᵤ Δu + u − u³ − k − v,  ∂v/∂t = Dᵥ Δv + u − v, from white noise. Five-point differences on
cell centres, the classical Runge–Kutta method with a fixed step: eight a frame follow the published
data, made by the same differences and an adaptive method, to their tolerance.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 64
_FRAMES = 51
_DT = 0.1
_STEPS = 8
"""Time steps in a frame."""
_DIFFUSIVITY = (1e-3, 5e-3)
_K = 5e-3


def discretisation() -> Discretisation:
    """64 × 64 cells, 51 frames to t = 5."""
    cells = cell_centres(-1.0, 1.0, _CELLS)
    spec = TASK_SPECS["reaction_diffusion2d"]
    return Discretisation(spec, frame_times(_FRAMES, _DT), ("y", "x"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, Y, X, 2]."""
    assert not parameters
    shape = (2, _CELLS, _CELLS)
    initial = np.stack([generator(seed, sample).standard_normal(shape) for sample in samples], axis=1)
    states = evolve(initial, frames=_FRAMES, dt=_DT, steps=_STEPS)
    return Block(None, np.moveaxis(states, 0, -1).astype(np.float32))


def evolve(initial: Doubles, *, frames: int, dt: float, steps: int) -> Doubles:
    """Solve from values in the cells.

    Args:
        initial: [2, n, Y, X], activator and inhibitor, of the square (−1, 1)².
        frames: states to return, `dt` apart.
        steps: time steps in a frame.

    Returns:
        [2, n, frames, Y, X], the first of them `initial`.
    """
    states = np.empty((2, initial.shape[1], frames, *initial.shape[2:]))
    states[:, :, 0] = state = initial
    for frame in range(1, frames):
        for _ in range(steps):
            state = _step(state, dt / steps)
        states[:, :, frame] = state
    return states


def _step(state: Doubles, dt: float) -> Doubles:
    first = _rate(state)
    second = _rate(state + 0.5 * dt * first)
    third = _rate(state + 0.5 * dt * second)
    fourth = _rate(state + dt * third)
    second += third
    second *= 2.0
    second += first
    second += fourth
    second *= dt / 6.0
    second += state
    return second


def _rate(state: Doubles) -> Doubles:
    """[2, n, Y, X] → its time derivative."""
    rate = _laplacian(state)
    activator, inhibitor = state
    rate[0] *= _DIFFUSIVITY[0]
    rate[1] *= _DIFFUSIVITY[1]
    rate[0] += activator - activator * activator * activator - _K - inhibitor
    rate[1] += activator - inhibitor
    return rate


def _laplacian(state: Doubles) -> Doubles:
    """Five-point differences with mirrored neighbours at the walls."""
    inverse_area = (state.shape[-1] / 2.0) ** 2
    result = np.zeros_like(state)
    for axis in (-2, -1):
        flux = np.diff(state, axis=axis)
        towards_first = np.moveaxis(result, axis, 0)  # a view
        difference = np.moveaxis(flux, axis, 0)
        towards_first[:-1] += difference
        towards_first[1:] -= difference
    result *= inverse_area
    return result


SOLVER = Solver(
    task="reaction_diffusion2d",
    version=1,
    default_samples=32,
    parameter_sets=((),),
    batch=8,
    discretisation=discretisation,
    solve=solve,
)
