"""Reaction–diffusion (Fisher), ∂u/∂t = ν ∂²u/∂x² + ρ u(1−u) on the periodic unit interval.

Reaction and diffusion are each solved exactly, the reaction in closed form and diffusion over wave
numbers, and are split symmetrically (Strang 1968): of second order in time, spectral in space. What starts
between 0 and 1 stays there. It starts from PDEBench's waves, stretched from 0 to 1 as there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers.solver import Solver, cell_centres, frame_times
from ups.data.solvers.waves import random_waves
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 256
_FRAMES = 101
_STEPS = 4
"""Time steps in a frame, which leave a relative error of less than 0.01 %."""
_STRETCH_CELLS = 1024
"""Cells on which the extremes of a start are sought."""


def discretisation() -> Discretisation:
    """256 cells, 101 frames to t = 1."""
    cells, spec = cell_centres(0.0, 1.0, _CELLS), TASK_SPECS["reaction_diffusion1d"]
    return Discretisation(spec, frame_times(_FRAMES, spec.dt), ("x",), (cells,))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, 1]."""
    nu, rho = parameters
    waves = random_waves(seed, samples)
    fine = waves(cell_centres(0.0, 1.0, _STRETCH_CELLS))
    lowest, highest = fine.min(axis=1, keepdims=True), fine.max(axis=1, keepdims=True)
    initial = np.clip((waves(cell_centres(0.0, 1.0, _CELLS)) - lowest) / (highest - lowest), 0.0, 1.0)
    dt = TASK_SPECS["reaction_diffusion1d"].dt
    states = evolve(initial, nu, rho, frames=_FRAMES, dt=dt, steps=_STEPS)
    return Block(None, states[..., None].astype(np.float32))


def evolve(initial: Doubles, nu: float, rho: float, *, frames: int, dt: float, steps: int) -> Doubles:
    """Solve from values on the periodic unit interval.

    Args:
        initial: [n, X] at time 0, between 0 and 1; X even.
        nu: diffusivity.
        rho: rate of the reaction.
        frames: states to return, `dt` apart.
        steps: time steps in a frame.

    Returns:
        [n, frames, X], the first of them `initial`.
    """
    cells = initial.shape[1]
    states = np.empty((len(initial), frames, cells))
    states[:, 0] = state = initial
    full, half = np.exp(-rho * dt / steps), np.exp(-0.5 * rho * dt / steps)
    decay = np.exp(-nu * (2 * np.pi * np.arange(cells // 2 + 1)) ** 2 * dt / steps)
    for frame in range(1, frames):
        state = _react(state, half)
        for step in range(steps):
            state = np.fft.irfft(np.fft.rfft(state) * decay, n=cells)
            state = _react(state, full if step < steps - 1 else half)
        states[:, frame] = state
    return states


def _react(state: Doubles, decay: float) -> Doubles:
    """The solution of du/dt = ρu(1−u) after the time in which e^−ρt falls to `decay`."""
    reacted: Doubles = state / (state + (1.0 - state) * decay)
    return reacted


SOLVER = Solver(
    task="reaction_diffusion1d",
    version=1,
    default_samples=64,
    parameter_sets=((0.5, 1.0), (0.5, 10.0), (1.0, 5.0), (2.0, 2.0)),
    batch=64,
    discretisation=discretisation,
    solve=solve,
)
