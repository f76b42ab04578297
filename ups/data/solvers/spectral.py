"""Fields on the periodic unit square: their wave numbers, and smooth random ones to start from."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Doubles = NDArray[np.float64]


def squared_wave_numbers(cells: int) -> Doubles:
    """Eigenvalues of −Δ in the order of `rfft2` on cells × cells, [cells, cells // 2 + 1]."""
    rows = 2 * np.pi * fft.fftfreq(cells, 1.0 / cells)
    columns = 2 * np.pi * fft.rfftfreq(cells, 1.0 / cells)
    return np.asarray(rows[:, None] ** 2 + columns**2, np.float64)


def random_field(rng: np.random.Generator, cells: int, *, largest_wave_number: int) -> Doubles:
    """A smooth field of mean 0 and mean square 1.

    Args:
        rng: its random numbers; the same ones give the same field on any number of cells.
        cells: along either axis; more than twice the wave number.
        largest_wave_number: periods along an axis, at most; the waves up to it are equally strong, in
            random phase, within a circle.

    Returns:
        [cells, cells], values at cell centres.
    """
    span = np.arange(-largest_wave_number, largest_wave_number + 1)
    coefficients = np.stack([1.0, 1j]) @ rng.normal(size=(2, len(span) ** 2))
    square = coefficients.reshape(len(span), len(span)) * (np.hypot(*np.meshgrid(span, span)) <= span[-1])
    square[largest_wave_number, largest_wave_number] = 0.0
    centres = (np.arange(cells) + 0.5) / cells
    waves = np.exp(2j * np.pi * centres[:, None] * span)
    field: Doubles = np.real(waves @ square @ waves.T)
    normalised: Doubles = field / np.sqrt(np.mean(field**2))
    return normalised
