"""Advection, ∂u/∂t + β ∂u/∂x = 0 on the periodic unit interval: the exact solution u₀(x − βt)."""

from collections.abc import Sequence

import numpy as np

from ups.data.solvers.solver import Solver, cell_centres, frame_times
from ups.data.solvers.waves import random_waves
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

_CELLS = 256
_FRAMES = 41
_DT = 0.05


def discretisation() -> Discretisation:
    """256 cells, 41 frames to t = 2."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    return Discretisation(TASK_SPECS["advection1d"], frame_times(_FRAMES, _DT), ("x",), (cells,))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, 1]."""
    (beta,) = parameters
    waves = random_waves(seed, samples)
    cells, times = cell_centres(0.0, 1.0, _CELLS), frame_times(_FRAMES, _DT)
    states = np.stack([waves(cells - beta * time) for time in times], axis=1)
    return Block(None, states[..., None].astype(np.float32))


SOLVER = Solver(
    task="advection1d",
    version=1,
    default_samples=64,
    parameter_sets=((0.1,), (0.4,), (1.0,)),
    batch=256,
    discretisation=discretisation,
    solve=solve,
)
