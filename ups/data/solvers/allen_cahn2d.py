"""Allen–Cahn, ∂u/∂t = ε²Δu + u − u³ on the periodic unit square: two phases whose borders shrink.

Reaction and diffusion are each solved exactly, the reaction in closed form and diffusion over wave
numbers, and are split symmetrically (Strang 1968): of second order in time, spectral in space. It
starts from smooth waves, squeezed between the phases −1 and 1, on a random level: where that is off 0,
the larger phase takes over in the end.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.solvers.spectral import random_field, squared_wave_numbers
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 64
_FRAMES = 41
_STEPS = 8
"""Time steps in a frame, which leave a relative error of less than 0.01 %."""
_WAVES = 8
"""Largest wave number of the start."""
_STRENGTH, _LEVEL = 0.5, 0.1
"""Of the start before it is squeezed: of its waves, and the spread of its mean."""


def discretisation() -> Discretisation:
    """64 × 64 cells, 41 frames to t = 10."""
    cells, spec = cell_centres(0.0, 1.0, _CELLS), TASK_SPECS["allen_cahn2d"]
    return Discretisation(spec, frame_times(_FRAMES, spec.dt), ("x", "y"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, 1]."""
    (epsilon,) = parameters
    initial = np.stack([_initial(generator(seed, sample)) for sample in samples])
    dt = TASK_SPECS["allen_cahn2d"].dt
    states = evolve(initial, epsilon, frames=_FRAMES, dt=dt, steps=_STEPS)
    return Block(None, states[..., None].astype(np.float32))


def _initial(rng: np.random.Generator) -> Doubles:
    waves = _STRENGTH * random_field(rng, _CELLS, largest_wave_number=_WAVES)
    return np.asarray(np.tanh(waves + rng.normal(0.0, _LEVEL)), np.float64)


def evolve(initial: Doubles, epsilon: float, *, frames: int, dt: float, steps: int) -> Doubles:
    """Solve from values on the periodic unit square.

    Args:
        initial: [n, X, X] at time 0, between −1 and 1; X even.
        epsilon: a border between phases is tanh(x / √2 ε).
        frames: states to return, `dt` apart.
        steps: time steps in a frame.

    Returns:
        [n, frames, X, X], the first of them `initial`.
    """
    states = np.empty((len(initial), frames, *initial.shape[1:]))
    states[:, 0] = state = initial
    decay = np.exp(-(epsilon**2) * squared_wave_numbers(initial.shape[-1]) * dt / steps)
    for frame in range(1, frames):
        state = _react(state, 0.5 * dt / steps)
        for step in range(steps):
            state = fft.irfft2(fft.rfft2(state) * decay, s=state.shape[1:])
            state = _react(state, dt / steps if step < steps - 1 else 0.5 * dt / steps)
        states[:, frame] = state
    return states


def _react(state: Doubles, time: float) -> Doubles:
    """The solution of du/dt = u − u³."""
    square = state * state
    reacted: Doubles = state / np.sqrt(square + (1.0 - square) * np.exp(-2.0 * time))
    return reacted


SOLVER = Solver(
    task="allen_cahn2d",
    version=1,
    default_samples=32,
    parameter_sets=((0.02,), (0.03,), (0.04,)),
    batch=8,
    discretisation=discretisation,
    solve=solve,
)
