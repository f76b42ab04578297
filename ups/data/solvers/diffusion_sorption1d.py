"""Diffusion–sorption, ∂u/∂t = D/R(u) ∂²u/∂x²: a substance enters a column of soil that holds it back.

R(u) = 1 + (1−φ)/φ ρₛ k n uⁿ⁻¹ after Freundlich. The constants D = 5·10⁻⁴, φ = 0.29, ρₛ = 2880, k = 3.5·10⁻⁴
and n = 0.874 are PDEBench's, and so are the boundaries: ghost cells hold u = 1 on the left and D ∂u/∂x, by
differences of the last two cells, on the right. Samples differ in the level that the column starts from.

R du is dC with C = u + (1−φ)/φ ρₛ k uⁿ, the dissolved and the bound substance: ∂C/∂t = D ∂²u/∂x² is the
same equation and conserves C. It is solved in this form, by three-point differences in space and the
L-stable diagonally implicit Runge–Kutta method of two stages and second order (Alexander 1977) in
time, with Newton's method in each stage. The first frame, in which the front starts from a jump, is
solved in steps that grow from its beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 256
_FRAMES = 101
_STEPS = 4
"""Time steps in a frame,"""
_FIRST_STEPS = 16
"""and in the first."""
_LEVELS = (0.0, 0.2)
_GAMMA = 1.0 - np.sqrt(0.5)
"""The coefficient that makes the method L-stable and of second order."""
_NEWTON_TOLERANCE = 1e-10
_NEWTON_STEPS = 30
"""Far more than are needed: three or four do."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of soil of length 1."""

    diffusivity: float = 5e-4
    bound: float = (1.0 - 0.29) / 0.29 * 2880.0 * 3.5e-4
    """Bound substance where u = 1, relative to the dissolved."""
    exponent: float = 0.874
    """Of Freundlich's law; with 1 the equation is linear."""
    offset: float = 1e-6
    """Added to u in the law, as in the published data: R is infinite where u = 0."""
    entry: float = 1.0
    """u at the left."""

    def content(self, u: Doubles) -> Doubles:
        """C(u), dissolved and bound."""
        held: Doubles = u + self.bound * np.power(u + self.offset, self.exponent)
        return held

    def retardation(self, u: Doubles) -> Doubles:
        """R(u) = dC/du."""
        factor: Doubles = 1.0 + self.bound * self.exponent * np.power(u + self.offset, self.exponent - 1.0)
        return factor


def discretisation() -> Discretisation:
    """256 cells, 101 frames to t = 500."""
    cells, spec = cell_centres(0.0, 1.0, _CELLS), TASK_SPECS["diffusion_sorption1d"]
    return Discretisation(spec, frame_times(_FRAMES, spec.dt), ("x",), (cells,))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, 1]."""
    assert not parameters
    levels = np.array([generator(seed, sample).uniform(*_LEVELS) for sample in samples])
    initial = np.repeat(levels[:, None], _CELLS, axis=1)
    dt = TASK_SPECS["diffusion_sorption1d"].dt
    states = evolve(initial, Column(), frames=_FRAMES, dt=dt, steps=_STEPS, first_steps=_FIRST_STEPS)
    return Block(None, states[..., None].astype(np.float32))


def evolve(
    initial: Doubles, column: Column, *, frames: int, dt: float, steps: int, first_steps: int
) -> Doubles:
    """Solve from values in the cells.

    Args:
        initial: [n, X] at time 0, positive.
        column: what the substance moves through.
        frames: states to return, `dt` apart.
        steps: time steps in a frame, of equal length.
        first_steps: time steps in the first frame, which end at the cubes of equal parts of it.

    Returns:
        [n, frames, X], the first of them `initial`.
    """
    states = np.empty((len(initial), frames, initial.shape[1]))
    states[:, 0] = state = initial
    graded = dt * np.diff((np.arange(first_steps + 1) / first_steps) ** 3)
    even = np.full(steps, dt / steps)
    diffusion = _Diffusion(column, initial.shape)
    for frame in range(1, frames):
        for step in graded if frame == 1 else even:
            state = diffusion.step(state, step)
        states[:, frame] = state
    return states


class _Diffusion:
    """Time steps of n columns at once, whose tridiagonal systems stand one after another in a single one."""

    def __init__(self, column: Column, shape: tuple[int, ...]) -> None:
        self._column = column
        cells = shape[1]
        self._scale = column.diffusivity * cells**2
        self._outlet = column.diffusivity * cells
        """The right ghost cell holds this times the difference of the last two cells."""
        self._lower, self._centre, self._upper = np.ones(shape), np.full(shape, -2.0), np.ones(shape)
        self._lower[:, 0] = self._upper[:, -1] = 0.0
        self._lower[:, -1] += self._outlet
        self._centre[:, -1] -= self._outlet

    def step(self, state: Doubles, dt: float) -> Doubles:
        """[n, X] → [n, X]."""
        content = self._column.content(state)
        middle = self._implicit(content, state, _GAMMA * dt)
        return self._implicit(content + (1.0 - _GAMMA) * dt * self._rate(middle), middle, _GAMMA * dt)

    def _rate(self, u: Doubles) -> Doubles:
        """D ∂²u/∂x²."""
        total = self._centre * u
        total[:, 1:] += self._lower[:, 1:] * u[:, :-1]
        total[:, :-1] += self._upper[:, :-1] * u[:, 1:]
        total[:, 0] += self._column.entry
        total *= self._scale
        return total

    def _implicit(self, content: Doubles, guess: Doubles, dt: float) -> Doubles:
        """The u for which C(u) − dt D ∂²u/∂x² is `content`."""
        weight = dt * self._scale
        lower, upper = (-weight * part.ravel() for part in (self._lower, self._upper))
        u = guess
        for _ in range(_NEWTON_STEPS):
            missing = content + dt * self._rate(u) - self._column.content(u)
            diagonal = self._column.retardation(u) - weight * self._centre
            *_, change, failed = lapack.dgtsv(lower[1:], diagonal.ravel(), upper[:-1], missing.ravel())
            assert not failed
            # C bends most near 0: a step may not leave more than nine tenths behind.
            u = np.maximum(u + change.reshape(u.shape), 0.1 * u)
            if np.abs(change).max() < _NEWTON_TOLERANCE:
                break
        return u


SOLVER = Solver(
    task="diffusion_sorption1d",
    version=1,
    default_samples=64,
    parameter_sets=((),),
    batch=64,
    discretisation=discretisation,
    solve=solve,
)
