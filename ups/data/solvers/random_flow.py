"""Random initial flows in a periodic square or cube, as PDEBench describes its own.

Density and pressure vary about random levels, the velocity has a given Mach number in the mean; all of
them are sums of waves of every direction with random phases. In half of the samples all this is confined
to a box with sharp edges, around which the gas is at rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers.compressible import GAMMA
from ups.data.solvers.solver import cell_centres, generator

Doubles = NDArray[np.float64]

_LARGEST_WAVE_NUMBER = 4
_LEVELS = (0.1, 10.0)
"""Range of the mean density, and of the temperature (pressure over density)."""
_VARIATIONS = (0.01, 0.2)
"""Range of the mean relative deviation of density and of pressure."""
_LARGEST_DEVIATION = 0.9
"""Relative; what would be more is scaled down, lest a density be negative."""
_BOXED_SHARE = 0.5
_EDGE = 0.01
"""Width of a box's edges."""


def random_flows(seed: int, samples: Sequence[int], *, dims: int, cells: int, mach: float) -> Doubles:
    """[2 + D, n, *S] density, pressure and velocity in the cells of the unit square or cube.

    Args:
        seed: of all samples.
        samples: their indices; what a sample starts from depends on no other.
        dims: D, 2 or 3.
        cells: along each axis.
        mach: mean speed over the speed of sound at mean density and pressure.
    """
    return np.stack([_draw(generator(seed, sample), dims, cells).flow(mach) for sample in samples], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """What a sample starts from but for its Mach number."""

    density: float
    pressure: float
    variations: tuple[Doubles, Doubles]
    """Relative deviations of density and pressure, each [*S]."""
    velocity: Doubles
    """[D, *S] of mean speed 1."""
    box: Doubles
    """[*S] 1 inside the box, 0 around it."""

    def flow(self, mach: float) -> Doubles:
        """[2 + D, *S] density, pressure and velocity."""
        levels = (self.density, self.pressure)
        sound = np.sqrt(GAMMA * self.pressure / self.density)
        scalars = [
            level * (1.0 + variation * self.box)
            for level, variation in zip(levels, self.variations, strict=True)
        ]
        return np.concatenate([np.stack(scalars), mach * sound * self.velocity * self.box])


def _draw(rng: np.random.Generator, dims: int, cells: int) -> _Start:
    density, temperature = rng.uniform(*_LEVELS, 2)
    waves = _waves(rng, 2 + dims, dims, cells)
    velocity = waves[2:] / np.sqrt((waves[2:] ** 2).sum(axis=0)).mean()
    variations = tuple(_scaled(field, rng.uniform(*_VARIATIONS)) for field in waves[:2])
    edges = rng.uniform((0.1, 0.55), (0.45, 0.9), (dims, 2))
    boxed = rng.uniform() < _BOXED_SHARE
    box = np.ones((cells,) * dims)
    if boxed:
        x = cell_centres(0.0, 1.0, cells)
        for axis, (low, high) in enumerate(edges):
            side = 0.5 * (np.tanh((x - low) / _EDGE) - np.tanh((x - high) / _EDGE))
            box *= side.reshape(-1, *(1,) * (dims - 1 - axis))
    return _Start(density, density * temperature, (variations[0], variations[1]), velocity, box)


def _scaled(field: Doubles, variation: float) -> Doubles:
    """The field with that mean absolute value, or less where it would deviate too far."""
    deviation: Doubles = variation * field / np.abs(field).mean()
    deviation *= min(1.0, _LARGEST_DEVIATION / np.abs(deviation).max())
    return deviation


def _waves(rng: np.random.Generator, fields: int, dims: int, cells: int) -> Doubles:
    """[fields, *S] sums of sin(k·x + φ) over all k with no component 0, each φ random.

    Amplitudes are |k|^((1 − D) / 2): every length of waves has the same energy, shared by its directions.
    """
    numbers = np.array([k for k in range(-_LARGEST_WAVE_NUMBER, _LARGEST_WAVE_NUMBER + 1) if k != 0])
    phases = rng.uniform(0.0, 2 * np.pi, (fields, *(len(numbers),) * dims))
    length = np.sqrt(sum(k.astype(float) ** 2 for k in np.meshgrid(*[numbers] * dims, indexing="ij")))
    amplitudes = np.exp(1j * phases) / length ** ((dims - 1) / 2)
    basis = np.exp(2j * np.pi * np.outer(numbers, cell_centres(0.0, 1.0, cells)))
    for _ in range(dims):  # each contraction takes the first of the wave axes and appends one of space
        amplitudes = np.tensordot(amplitudes, basis, axes=(1, 0))
    return np.ascontiguousarray(amplitudes.imag)
