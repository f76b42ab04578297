"""Compressible Navier–Stokes in the periodic unit cube, from random flows of a given Mach number."""

from collections.abc import Sequence

import numpy as np

from ups.data.solvers import compressible
from ups.data.solvers.random_flow import random_flows
from ups.data.solvers.solver import Solver, cell_centres, frame_times
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

_CELLS = 32
_FRAMES = 11
_DT = 0.05


def discretisation() -> Discretisation:
    """32 × 32 × 32 cells, 11 frames to t = 0.5."""
    cells = cell_centres(0.0, 1.0, _CELLS)
    times = frame_times(_FRAMES, _DT)
    return Discretisation(TASK_SPECS["compressible_ns3d"], times, ("x", "y", "z"), (cells, cells, cells))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, Y, Z, 5]: density, pressure, velocity."""
    eta, zeta, mach = parameters
    initial = random_flows(seed, samples, dims=3, cells=_CELLS, mach=mach).astype(np.float32)
    states = compressible.evolve(initial, width=1.0 / _CELLS, eta=eta, zeta=zeta, frames=_FRAMES, dt=_DT)
    return Block(None, np.ascontiguousarray(np.moveaxis(states, 0, -1), np.float32))


SOLVER = Solver(
    task="compressible_ns3d",
    version=1,
    default_samples=8,
    parameter_sets=((1e-8, 1e-8, 1.0),),
    batch=1,
    discretisation=discretisation,
    solve=solve,
)
