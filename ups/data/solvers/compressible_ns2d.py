"""Compressible Navier–Stokes in the periodic unit square, from random flows of a given Mach number."""

from collections.abc import Sequence

import numpy as np

from ups.data.solvers import compressible
from ups.data.solvers.random_flow import random_flows
from ups.data.solvers.solver import Solver, cell_centres, frame_times
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

_CELLS = 64
_FRAMES = 21
_DT = 0.05


def discretisation() -> Discretisation:
    """64 × 64 cells, 21 frames to t = 1."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    times = frame_times(_FRAMES, _DT)
    return Discretisation(TASK_SPECS["compressible_ns2d"], times, ("x", "y"), (cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, 4]: density, pressure, velocity."""
    eta, zeta, mach = parameters
    initial = random_flows(seed, samples, dims=2, cells=_CELLS, mach=mach).astype(np.float32)
    states = compressible.evolve(initial, width=1.0 / _CELLS, eta=eta, zeta=zeta, frames=_FRAMES, dt=_DT)
    return Block(None, np.ascontiguousarray(np.moveaxis(states, 0, -1), np.float32))


SOLVER = Solver(
    task="compressible_ns2d",
    version=1,
    default_samples=12,
    parameter_sets=((1e-8, 1e-8, 0.1), (1e-8, 1e-8, 1.0), (0.01, 0.01, 1.0)),
    batch=1,
    discretisation=discretisation,
    solve=solve,
)
