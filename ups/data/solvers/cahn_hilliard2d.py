"""Cahn–Hilliard, ∂u/∂t = Δ(u³ − u − ε²Δu) on the periodic unit square: a mixture that separates.

Over wave numbers the linear part is integrated exactly, and Δu³ by the exponential Runge–Kutta method of
fourth order of Cox & Matthews (2002), with the coefficients as Kassam & Trefethen (2005) evaluate them;
as Δu³ is stiff too, 3.3 to 3.5 of the four orders are seen (tested).
The mean, the amount of either substance, is the wave number 0, which nothing touches; the free energy
∫ ¼(u² − 1)² + ½ε²|∇u|² falls (tested). Samples differ in their mean as in their waves: mixtures of
equal parts form bands, others drops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.solvers.spectral import random_field, squared_wave_numbers
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

_CELLS = 64
_FRAMES = 41
_STEPS = 8
"""Time steps in a frame: beyond about ε²/2 the method is unstable, here they leave an error of 0.01 %."""
_WAVES = 6
"""Largest wave number of the start."""
_STRENGTH = 0.25
_MEANS = (-0.3, 0.3)
_CONTOUR_POINTS = 16
"""On the upper half of a unit circle; beyond these the coefficients do not change."""


def discretisation() -> Discretisation:
    """64 × 64 cells, 41 frames to t = 0.08."""
    cells, spec = cell_centres(0.0, 1.0, _CELLS), TASK_SPECS["cahn_hilliard2d"]
    return Discretisation(spec, frame_times(_FRAMES, spec.dt), ("x", "y"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, 1]."""
    (epsilon,) = parameters
    initial = np.stack([_initial(generator(seed, sample)) for sample in samples])
    dt = TASK_SPECS["cahn_hilliard2d"].dt
    states = evolve(initial, epsilon, frames=_FRAMES, dt=dt, steps=_STEPS)
    return Block(None, states[..., None].astype(np.float32))


def _initial(rng: np.random.Generator) -> Doubles:
    waves = _STRENGTH * random_field(rng, _CELLS, largest_wave_number=_WAVES)
    return np.asarray(waves + rng.uniform(*_MEANS), np.float64)


def evolve(initial: Doubles, epsilon: float, *, frames: int, dt: float, steps: int) -> Doubles:
    """Solve from values on the periodic unit square.

    Args:
        initial: [n, X, X] at time 0; X even.
        epsilon: a border between phases is tanh(x / √2 ε); a mixture separates at rates up to 1 / 4ε².
        frames: states to return, `dt` apart.
        steps: time steps in a frame.

    Returns:
        [n, frames, X, X], the first of them `initial`.
    """
    states = np.empty((len(initial), frames, *initial.shape[1:]))
    states[:, 0] = initial
    scheme = _Exponential.of(squared_wave_numbers(initial.shape[-1]), epsilon, dt / steps)
    spectrum: Spectrum = fft.rfft2(initial)
    for frame in range(1, frames):
        for _ in range(steps):
            spectrum = scheme.step(spectrum)
        states[:, frame] = fft.irfft2(spectrum, s=initial.shape[1:])
    return states


@dataclass(frozen=True, slots=True, eq=False)
class _Exponential:
    """The fourth-order exponential Runge–Kutta method (ETDRK4) for one step; all [X, X // 2 + 1]."""

    squared: Doubles
    """−Δ."""
    full: Doubles
    """The exact linear solution over a step,"""
    half: Doubles
    """and over half of one."""
    inner: Doubles
    """Weight of Δu³ within half a step."""
    first: Doubles
    """Weight of Δu³ at the beginning of the step,"""
    middle: Doubles
    """of each of the two in the middle,"""
    last: Doubles
    """and at its end."""

    @classmethod
    def of(cls, squared: Doubles, epsilon: float, dt: float) -> "_Exponential":
        """The coefficients of a time step.

        They are differences of almost equal numbers where the linear part L is small, and harmless on a
        circle around each L dt, whose mean is their value in the centre.
        """
        linear = dt * squared * (1.0 - epsilon**2 * squared)
        angles = np.pi * (np.arange(_CONTOUR_POINTS) + 0.5) / _CONTOUR_POINTS
        z = linear[..., None] + np.exp(1j * angles)
        e = np.exp(z)

        def weight(values: Spectrum) -> Doubles:
            return np.asarray(dt * values.mean(axis=-1).real, np.float64)

        return cls(
            squared,
            full=np.exp(linear),
            half=np.exp(0.5 * linear),
            inner=weight((np.exp(0.5 * z) - 1.0) / z),
            first=weight((-4.0 - z + e * (4.0 - 3.0 * z + z**2)) / z**3),
            middle=weight(2.0 * (2.0 + z + e * (z - 2.0)) / z**3),
            last=weight((-4.0 - 3.0 * z - z**2 + e * (4.0 - z)) / z**3),
        )

    def step(self, state: Spectrum) -> Spectrum:
        """[n, X, X // 2 + 1] → the same a step later."""
        halfway = self.half * state
        begin = self._cube(state)
        predicted = halfway + self.inner * begin
        middle = self._cube(predicted)
        again = self._cube(halfway + self.inner * middle)
        end = self._cube(self.half * predicted + self.inner * (2.0 * again - begin))
        middle += again
        advanced: Spectrum = self.full * state + self.first * begin + self.middle * middle + self.last * end
        return advanced

    def _cube(self, state: Spectrum) -> Spectrum:
        """Δu³."""
        values = fft.irfft2(state, s=(state.shape[-2],) * 2)
        cube: Spectrum = fft.rfft2(values * values * values)
        cube *= -self.squared
        return cube


SOLVER = Solver(
    task="cahn_hilliard2d",
    version=1,
    default_samples=32,
    parameter_sets=((0.025,), (0.035,), (0.05,)),
    batch=4,
    discretisation=discretisation,
    solve=solve,
)
