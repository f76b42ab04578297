"""Burgers, ∂u/∂t + ∂(u²/2)/∂x = (ν/π) ∂²u/∂x² on the periodic unit interval.

Convection by a second-order finite-volume scheme that captures shocks (MUSCL with the MC limiter,
Godunov's flux, Heun's method), diffusion exactly in Fourier space, the two split symmetrically. It
is solved on finer cells than those that are stored, which hold the means of the fine ones: the less
viscous, the finer. Against 4096 cells that leaves a relative error of 0.1 % at ν = 0.001 and of less
than 0.05 % above.
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
_FRAMES = 41
_DT = 0.05
_COURANT = 0.8
_SHARP_VISCOSITY = 1e-3
"""Factor of the second derivative below which shocks need the finer cells."""


def discretisation() -> Discretisation:
    """256 cells, 41 frames to t = 2."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    return Discretisation(TASK_SPECS["burgers1d"], frame_times(_FRAMES, _DT), ("x",), (cells,))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, 1]."""
    (nu,) = parameters
    viscosity = nu / np.pi
    refinement = 4 if viscosity < _SHARP_VISCOSITY else 2
    initial = random_waves(seed, samples)(cell_centres(0.0, 1.0, _CELLS * refinement))
    states = evolve(initial, viscosity, frames=_FRAMES, dt=_DT)
    means = states.reshape(*states.shape[:2], _CELLS, refinement).mean(axis=-1)
    return Block(None, means[..., None].astype(np.float32))


def evolve(initial: Doubles, viscosity: float, *, frames: int, dt: float) -> Doubles:
    """Solve from cell means on the periodic unit interval.

    Args:
        initial: [n, X] at time 0; X even.
        viscosity: the factor of the second derivative.
        frames: states to return, `dt` apart.

    Returns:
        [n, frames, X], the first of them `initial`.
    """
    cells = initial.shape[1]
    states = np.empty((len(initial), frames, cells))
    states[:, 0] = state = initial
    convection = _Convection(len(initial), cells)
    decay_rate = viscosity * (2 * np.pi * np.arange(cells // 2 + 1)) ** 2
    for frame in range(1, frames):
        steps = max(1, int(np.ceil(dt * np.abs(state).max() * cells / _COURANT)))
        half, full = np.exp(-decay_rate * dt / steps / 2), np.exp(-decay_rate * dt / steps)
        state = _diffuse(state, half)
        for step in range(steps):
            state = convection.step(state, dt / steps)
            state = _diffuse(state, full if step < steps - 1 else half)
        states[:, frame] = state
    return states


def _diffuse(state: Doubles, factor: Doubles) -> Doubles:
    diffused: Doubles = np.fft.irfft(np.fft.rfft(state) * factor, n=state.shape[1])
    return diffused


class _Convection:
    """Steps of ∂u/∂t + ∂(u²/2)/∂x = 0, with work arrays that are used again: half of the time goes there."""

    def __init__(self, samples: int, cells: int) -> None:
        self._cells = cells
        self._padded = np.empty((samples, cells + 4))
        self._jumps = np.empty((samples, cells + 3))
        self._slopes, self._limits = np.empty((2, samples, cells + 2))
        self._left, self._right = np.empty((2, samples, cells + 1))
        self._change = np.empty((samples, cells))

    def step(self, state: Doubles, dt: float) -> Doubles:
        """Heun's method: [n, X] → [n, X]."""
        predicted = state + dt * self._rate(state)
        corrected: Doubles = 0.5 * (state + predicted + dt * self._rate(predicted))
        return corrected

    def _rate(self, state: Doubles) -> Doubles:
        """−∂(u²/2)/∂x; the array is overwritten by the next call."""
        padded, slopes, limits = self._padded, self._slopes, self._limits
        padded[:, 2:-2], padded[:, :2], padded[:, -2:] = state, state[:, -2:], state[:, :2]
        before = np.subtract(padded[:, 1:], padded[:, :-1], out=self._jumps)[:, :-1]
        after = self._jumps[:, 1:]
        # Half of the MC-limited difference: a quarter of the central one, at most the smaller one-sided.
        np.multiply(np.add(before, after, out=slopes), 0.25, out=slopes)
        np.minimum(np.abs(before), np.abs(after), out=limits)
        limits[before * after <= 0.0] = 0.0
        np.clip(slopes, -limits, limits, out=slopes)
        # Godunov's flux of the convex u²/2, from the values on either side of a face.
        left = np.add(padded[:, 1:-2], slopes[:, :-1], out=self._left)
        right = np.subtract(padded[:, 2:-1], slopes[:, 1:], out=self._right)
        np.square(np.maximum(left, 0.0, out=left), out=left)
        np.square(np.minimum(right, 0.0, out=right), out=right)
        flux = np.maximum(left, right, out=left)
        np.subtract(flux[:, :-1], flux[:, 1:], out=self._change)
        self._change *= 0.5 * self._cells
        return self._change


SOLVER = Solver(
    task="burgers1d",
    version=1,
    default_samples=64,
    parameter_sets=((0.001,), (0.01,), (0.1,)),
    batch=16,
    discretisation=discretisation,
    solve=solve,
)
