"""Particles carried by a periodic incompressible flow on the unit square, dx/dt = v(x, t).

The flow is v = (∂ψ/∂y, −∂ψ/∂x) of a random streamfunction, a sum of a few Fourier modes that each
decay as viscosity would have it, ψₖ ∝ exp(−ν|k|²t). Every sample has a flow, and a number of
particles, of its own. The classical Runge–Kutta method with a fixed step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ups.data.points import PointBlock, PointDiscretisation, PointSample
from ups.data.solvers.solver import Solver, frame_times, generator
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_FEWEST, _MOST = 512, 1024
"""Particles of a sample."""
_FRAMES = 41
_DT = 0.02
_STEPS = 4
"""Time steps in a frame: relative errors of 1e-6 over a trajectory."""
_MODES = 6
_LARGEST_WAVE_NUMBER = 2
"""Of the streamfunction, in periods along an axis."""
_VISCOSITY = 2e-3
_SPEEDS = (0.7, 1.3)
"""Range of the root mean square speed at the start."""
_SPREAD = np.array([0.7548776662466927, 0.5698402909980532])
"""Steps of the additive recurrence that spreads particles evenly, for any number of them: 1/ρ and 1/ρ²
of the plastic number ρ."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A streamfunction ψ(x, t) = Σ aₖ exp(−ν|k|²t) sin(k·x + φₖ)."""

    wave: Doubles
    """[M, 2] k, whole multiples of 2π."""
    amplitude: Doubles
    """[M]."""
    phase: Doubles
    """[M]."""
    viscosity: float

    def stream(self, positions: Doubles, time: float) -> Doubles:
        """ψ [P] at positions [P, 2]."""
        value: Doubles = np.sin(positions @ self.wave.T + self.phase) @ self._strength(time)
        return value

    def velocity(self, positions: Doubles, time: float) -> Doubles:
        """v [P, 2] at positions [P, 2]."""
        slope = np.cos(positions @ self.wave.T + self.phase) * self._strength(time)
        velocity: Doubles = slope @ np.stack([self.wave[:, 1], -self.wave[:, 0]], axis=1)
        return velocity

    def _strength(self, time: float) -> Doubles:
        decay: Doubles = self.amplitude * np.exp(-self.viscosity * (self.wave**2).sum(axis=1) * time)
        return decay


def discretisation() -> PointDiscretisation:
    """At most 1,024 particles, 41 frames to t = 0.8."""
    return PointDiscretisation(TASK_SPECS["particles_advect"], frame_times(_FRAMES, _DT), _MOST)


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> PointBlock:
    """Trajectories: positions within the box, and velocities as states."""
    assert not parameters
    return PointBlock(tuple(_sample(generator(seed, sample)) for sample in samples))


def _sample(rng: np.random.Generator) -> PointSample:
    count = int(rng.integers(_FEWEST, _MOST + 1))
    flow = random_flow(rng, _VISCOSITY)
    start = rng.uniform(size=2) + np.arange(count)[:, None] * _SPREAD
    start += rng.uniform(-0.25, 0.25, start.shape) / np.sqrt(count)
    paths = carry(flow, np.mod(start, 1.0), frames=_FRAMES, dt=_DT, steps=_STEPS)
    states = np.stack([flow.velocity(paths[:, n], n * _DT) for n in range(_FRAMES)], axis=1)
    wrapped = np.mod(paths, 1.0).astype(np.float32)
    wrapped[wrapped >= 1.0] = 0.0  # what float32 rounds up to the edge
    nothing = np.zeros((0, 3), np.int32)
    return PointSample(wrapped, None, states.astype(np.float32), np.zeros(count, np.bool_), nothing)


def random_flow(rng: np.random.Generator, viscosity: float) -> Flow:
    """A flow of distinct random modes, the long waves stronger."""
    span = np.arange(-_LARGEST_WAVE_NUMBER, _LARGEST_WAVE_NUMBER + 1)
    numbers = np.stack(np.meshgrid(span, span, indexing="ij"), axis=-1).reshape(-1, 2)
    numbers = numbers[(numbers[:, 0] > 0) | ((numbers[:, 0] == 0) & (numbers[:, 1] > 0))]  # k and −k are one
    wave = 2 * np.pi * rng.choice(numbers, _MODES, replace=False).astype(np.float64)
    square = (wave**2).sum(axis=1)
    amplitude = rng.normal(size=_MODES) / square
    speed = np.sqrt(0.5 * (amplitude**2 * square).sum())
    amplitude *= rng.uniform(*_SPEEDS) / speed
    return Flow(wave, amplitude, rng.uniform(0.0, 2 * np.pi, _MODES), viscosity)


def carry(flow: Flow, start: Doubles, *, frames: int, dt: float, steps: int) -> Doubles:
    """Follow particles.

    Args:
        flow: what carries them.
        start: [P, 2].
        frames: positions to return, `dt` apart.
        dt: time between frames.
        steps: time steps in a frame.

    Returns:
        [P, frames, 2], not wrapped into the box.
    """
    paths = np.empty((len(start), frames, 2))
    paths[:, 0] = position = start
    step = dt / steps
    for n in range((frames - 1) * steps):
        time = n * step
        first = flow.velocity(position, time)
        second = flow.velocity(position + 0.5 * step * first, time + 0.5 * step)
        third = flow.velocity(position + 0.5 * step * second, time + 0.5 * step)
        fourth = flow.velocity(position + step * third, time + step)
        position = position + step / 6 * (first + 2 * second + 2 * third + fourth)
        if (n + 1) % steps == 0:
            paths[:, (n + 1) // steps] = position
    return paths


SOLVER = Solver(
    task="particles_advect",
    version=1,
    default_samples=64,
    parameter_sets=((),),
    batch=4,
    discretisation=discretisation,
    solve=solve,
)
