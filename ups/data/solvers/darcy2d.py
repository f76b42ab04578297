"""Darcy flow, −∇·(a ∇u) = β on the unit square, u = 0 around it, a two-valued random coefficient.

Five-point finite volumes with the mean of both cells at a face, and the zero in the centre of a
ghost cell outside: what the published data were made with, so that the answers agree with theirs
as far as those are steady (0.2 % in the median). Solved directly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from ups.data.solvers.solver import Solver, cell_centres, generator
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 64
_LOW, _HIGH = 0.1, 1.0
"""The two values of the coefficient."""
_WAVES = 8
_LARGEST_WAVE_NUMBER = 1.0
"""Of the waves whose sum is cut into the two values, in periods along an axis."""


def discretisation() -> Discretisation:
    """64 × 64 cells."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    return Discretisation(TASK_SPECS["darcy2d"], np.zeros(0), ("x", "y"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """Inputs and answers, each [n, X, Y, 1]."""
    (beta,) = parameters
    coefficients = np.stack([_coefficient(generator(seed, sample)) for sample in samples])
    answers = np.stack([pressure(a, np.full_like(a, beta)) for a in coefficients])
    return Block(coefficients[..., None].astype(np.float32), answers[..., None].astype(np.float32))


def pressure(coefficient: Doubles, source: Doubles) -> Doubles:
    """The solution of −∇·(a ∇u) = f on a square of n cells a side.

    Args:
        coefficient: a in the cells, [n, n].
        source: f in the cells, [n, n].

    Returns:
        u in the cells, [n, n]; it is 0 half a cell outside of the square.
    """
    cells = len(coefficient)
    index = np.arange(cells * cells).reshape(cells, cells)
    diagonal = np.zeros((cells, cells))
    rows, columns, values = [], [], []
    for axis in (0, 1):
        a, at = np.moveaxis(coefficient, axis, 0), np.moveaxis(index, axis, 0)
        along = np.moveaxis(diagonal, axis, 0)  # a view: the sums below land in `diagonal`
        face = 0.5 * (a[:-1] + a[1:])
        along[:-1] += face
        along[1:] += face
        along[0] += a[0]
        along[-1] += a[-1]
        rows += [at[:-1].ravel(), at[1:].ravel()]
        columns += [at[1:].ravel(), at[:-1].ravel()]
        values += [-face.ravel(), -face.ravel()]
    matrix = sparse.csc_matrix(
        (
            np.concatenate([*values, diagonal.ravel()]),
            (np.concatenate([*rows, index.ravel()]), np.concatenate([*columns, index.ravel()])),
        ),
        shape=(cells * cells, cells * cells),
    )
    factors = linalg.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    solution: Doubles = factors.solve(source.ravel() / cells**2).reshape(cells, cells)
    return solution


def _coefficient(rng: np.random.Generator) -> Doubles:
    """[X, Y]: the sign of a smooth random field chooses between the two values."""
    x = cell_centres(0.0, 1.0, _CELLS)
    while True:
        wave = rng.uniform(-_LARGEST_WAVE_NUMBER, _LARGEST_WAVE_NUMBER, (2, _WAVES))
        phase, amplitude = rng.uniform(0.0, 2 * np.pi, _WAVES), rng.normal(size=_WAVES)
        angle = 2 * np.pi * (wave[0] * x[:, None, None] + wave[1] * x[None, :, None]) + phase
        field = np.where((amplitude * np.sin(angle)).sum(axis=-1) > 0.0, _HIGH, _LOW)
        if field.min() < field.max():
            return field


SOLVER = Solver(
    task="darcy2d",
    version=1,
    default_samples=1000,
    parameter_sets=((1.0,),),
    batch=32,
    discretisation=discretisation,
    solve=solve,
)
