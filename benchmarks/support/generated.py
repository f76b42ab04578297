"""Converted files made here with nothing but numpy and torch, for machines that have no more.

The project's own solvers make the data wherever they need no scipy; Darcy flow, whose solver does, is
solved here on the same cells by conjugate gradients. The files are kept under a folder and found there
again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ups.data.assembly import assemble
from ups.data.convert import write_split_files
from ups.data.fields import SPLITS
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import Solver, SolverSource, cell_centres, generator
from ups.data.source import Block, Discretisation
from ups.errors import DataError
from ups.tasks import TASK_SPECS

_CELLS = 64
_WAVES = 8
_LOW, _HIGH = 0.1, 1.0
_TOLERANCE = 1e-6
"""Residual of the conjugate gradients relative to the source."""
_MOST_ITERATIONS = 2000


def files(task: str, folder: Path, samples: int, device: str) -> dict[str, Path]:
    """The three splits of a task: split → file.

    Args:
        task: the task.
        folder: where files are kept; a request that was made before is found there.
        samples: initial conditions, each solved for all of the solver's parameters.
        device: where Darcy flow is solved.

    Raises:
        DataError: there is no solver, or it needs what is not installed.
    """
    paths = {split: folder / f"{task}-{samples}-{split}.h5" for split in SPLITS}
    if not all(path.is_file() for path in paths.values()):
        solver = _darcy(device) if task == "darcy2d" else solver_of(task)
        sources = [SolverSource(solver, samples, 0, parameters) for parameters in solver.parameter_sets]
        write_split_files(assemble(sources), paths)
    return paths


def _darcy(device: str) -> Solver:
    def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
        (beta,) = parameters
        coefficients = np.stack([_coefficient(generator(seed, sample)) for sample in samples])
        answers = pressure(torch.from_numpy(coefficients).to(device), beta).cpu().numpy()
        return Block(coefficients[..., None].astype(np.float32), answers[..., None].astype(np.float32))

    def discretisation() -> Discretisation:
        cells = cell_centres(0.0, 1.0, _CELLS)
        return Discretisation(TASK_SPECS["darcy2d"], np.zeros(0), ("x", "y"), (cells, cells))

    return Solver("darcy2d", 1, 1000, ((1.0,),), 256, discretisation, solve)


def pressure(coefficient: Tensor, beta: float) -> Tensor:
    """The solutions of −∇·(a ∇u) = β on the unit square, u = 0 half a cell outside of it.

    Five-point finite volumes with the mean of both cells at a face; conjugate gradients, preconditioned
    by the diagonal (Hestenes and Stiefel 1952), of all samples at once.

    Args:
        coefficient: a in the cells, [n, X, X] in float64.
        beta: the source.

    Returns:
        u in the cells, [n, X, X].

    Raises:
        DataError: no convergence.
    """
    cells = coefficient.shape[-1]
    along_x = torch.nn.functional.pad(coefficient.transpose(1, 2), (1, 1), mode="replicate").transpose(1, 2)
    along_y = torch.nn.functional.pad(coefficient, (1, 1), mode="replicate")
    face_x, face_y = 0.5 * (along_x[:, 1:] + along_x[:, :-1]), 0.5 * (along_y[..., 1:] + along_y[..., :-1])

    def apply(field: Tensor) -> Tensor:
        around = torch.nn.functional.pad(field, (1, 1, 1, 1))
        flux_x = face_x * around[:, :, 1:-1].diff(dim=1)
        flux_y = face_y * around[:, 1:-1].diff(dim=2)
        return -(flux_x.diff(dim=1) + flux_y.diff(dim=2))

    def dot(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).sum(dim=(1, 2), keepdim=True)

    diagonal = face_x[:, 1:] + face_x[:, :-1] + face_y[..., 1:] + face_y[..., :-1]
    source = torch.full_like(coefficient, beta / cells**2)
    solution, residual = torch.zeros_like(source), source.clone()
    direction = residual / diagonal
    weight = dot(residual, direction)
    for _ in range(_MOST_ITERATIONS):
        image = apply(direction)
        length = weight / dot(direction, image)
        solution = solution + length * direction
        residual = residual - length * image
        if bool((residual.norm(dim=(1, 2)) <= _TOLERANCE * source.norm(dim=(1, 2))).all()):
            return solution
        scaled = residual / diagonal
        new_weight = dot(residual, scaled)
        direction = scaled + new_weight / weight * direction
        weight = new_weight
    raise DataError("the conjugate gradients of darcy2d do not converge")


def _coefficient(rng: np.random.Generator) -> np.ndarray:
    """[X, Y]: the sign of a sum of long waves chooses between two values."""
    x = cell_centres(0.0, 1.0, _CELLS)
    while True:
        wave, phase = rng.uniform(-1.0, 1.0, (2, _WAVES)), rng.uniform(0.0, 2 * np.pi, _WAVES)
        angle = 2 * np.pi * (wave[0] * x[:, None, None] + wave[1] * x[None, :, None]) + phase
        field = np.where((rng.normal(size=_WAVES) * np.sin(angle)).sum(axis=-1) > 0.0, _HIGH, _LOW)
        if field.min() < field.max():
            return field
