"""Random periodic initial conditions for one dimension, as functions of position.

As PDEBench describes its own: a sum of two sine waves of random wave number, amplitude and phase on
a random level; of some the absolute value with a random sign is taken, some are cut to a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers.solver import generator

Doubles = NDArray[np.float64]

_WAVES = 2
_LARGEST_WAVE_NUMBER = 4
_ODD_SHARE = 0.1
"""Share of samples of which the absolute value is taken, and, independently, that are windowed."""
_EDGE = 0.01
"""Width of a window's edges."""


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """n initial conditions on [0, 1), continued periodically."""

    level: Doubles
    """[n, 1]."""
    wave_number: Doubles
    """[n, waves], as are `amplitude` and `phase`."""
    amplitude: Doubles
    phase: Doubles
    sign: Doubles
    """[n, 1] 0 leaves a sample as it is, else the sign of its absolute value."""
    window: Doubles
    """[n, 2] first and last position; (0, 1) where there is none."""

    def __call__(self, positions: Doubles) -> Doubles:
        """[n, X] values at positions [X] or [n, X]."""
        wrapped = np.broadcast_to(np.mod(positions, 1.0), (len(self.level), positions.shape[-1]))
        values = np.repeat(self.level, wrapped.shape[1], axis=1)
        for wave in range(self.amplitude.shape[1]):
            number, phase = self.wave_number[:, wave, None], self.phase[:, wave, None]
            values += self.amplitude[:, wave, None] * np.sin(2 * np.pi * number * wrapped + phase)
        values = np.where(self.sign == 0.0, values, self.sign * np.abs(values))
        low, high = self.window[:, :1], self.window[:, 1:]
        box = 0.5 * (np.tanh((wrapped - low) / _EDGE) - np.tanh((wrapped - high) / _EDGE))
        return np.where(high - low < 1.0, values * box, values)


def random_waves(seed: int, samples: Sequence[int]) -> Waves:
    """The initial conditions of the given sample indices."""
    return draw_waves([generator(seed, sample) for sample in samples])


def draw_waves(generators: Sequence[np.random.Generator]) -> Waves:
    """One initial condition from each of the generators, which move on."""
    drawn = [_draw(one) for one in generators]
    level, number, amplitude, phase, sign, window = (
        np.stack([np.atleast_1d(one[part]) for one in drawn]) for part in range(6)
    )
    return Waves(level, number, amplitude, phase, sign, window)


def _draw(rng: np.random.Generator) -> tuple[Doubles, ...]:
    number = rng.integers(1, _LARGEST_WAVE_NUMBER + 1, _WAVES).astype(np.float64)
    amplitude, phase = rng.uniform(0.0, 1.0, _WAVES), rng.uniform(0.0, 2 * np.pi, _WAVES)
    level = np.sum(rng.uniform(0.0, 1.0, _WAVES) * np.sin(rng.uniform(0.0, 2 * np.pi, _WAVES)))
    folded, windowed = rng.uniform(size=2) < _ODD_SHARE
    sign = rng.choice([-1.0, 1.0])
    window = np.array([rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)])
    return (
        np.asarray(level),
        number,
        amplitude,
        phase,
        np.asarray(sign if folded else 0.0),
        window if windowed else np.array([0.0, 1.0]),
    )
