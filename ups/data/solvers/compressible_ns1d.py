"""Compressible Navier–Stokes on the periodic interval (−1, 1).

Density, pressure and velocity start as waves, as PDEBench describes its own: density between 1 and 20,
pressure between 10 and 200, so that the sound crosses the interval several times.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.solvers import compressible
from ups.data.solvers.solver import Solver, cell_centres, frame_times, generator
from ups.data.solvers.waves import draw_waves
from ups.data.source import Block, Discretisation
from ups.tasks import TASK_SPECS

Doubles = NDArray[np.float64]

_CELLS = 256
_SMOOTH_VISCOSITY = 0.05
"""Below it shocks are so steep that they are solved on cells of half the width."""
_FRAMES = 41
_DT = 0.01
_DENSITIES = (1.0, 10.0)
"""Range of the lowest density, and of what the highest has more."""
_PRESSURES = (10.0, 100.0)


def discretisation() -> Discretisation:
    """256 cells, 41 frames to t = 0.4."""
    cells = cell_centres(-1.0, 1.0, _CELLS)
    return Discretisation(TASK_SPECS["compressible_ns1d"], frame_times(_FRAMES, _DT), ("x",), (cells,))


def solve(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
    """States [n, T, X, 3]: density, pressure, velocity."""
    eta, zeta = parameters
    refinement = 2 if eta < _SMOOTH_VISCOSITY else 1
    initial = initial_flows(seed, samples, _CELLS * refinement).astype(np.float32)
    states = compressible.evolve(
        initial, width=2.0 / initial.shape[-1], eta=eta, zeta=zeta, frames=_FRAMES, dt=_DT
    )
    fine = compressible.conserved(states).reshape(*states.shape[:-1], _CELLS, refinement)
    means = compressible.primitive(fine.mean(axis=-1))
    return Block(None, np.ascontiguousarray(np.moveaxis(means, 0, -1), np.float32))


def initial_flows(seed: int, samples: Sequence[int], cells: int) -> Doubles:
    """[3, n, X] density, pressure, velocity."""
    generators = [generator(seed, sample) for sample in samples]
    positions = cell_centres(0.0, 1.0, cells)
    scalars = [
        _between(draw_waves(generators)(positions), generators, low, high)
        for low, high in (_DENSITIES, _PRESSURES)
    ]
    return np.stack([*scalars, draw_waves(generators)(positions)])


def _between(values: Doubles, generators: Sequence[np.random.Generator], low: float, high: float) -> Doubles:
    """[n, X] moved so that the lowest value, and the range, are random: both log-uniform in [low, high]."""
    drawn = np.array([rng.uniform(np.log(low), np.log(high), 2) for rng in generators])
    lowest, spread = np.exp(drawn).T[..., None]
    shares = values - values.min(axis=1, keepdims=True)
    shares /= shares.max(axis=1, keepdims=True)
    result: Doubles = lowest + spread * shares
    return result


SOLVER = Solver(
    task="compressible_ns1d",
    version=1,
    default_samples=48,
    parameter_sets=((1e-8, 1e-8), (0.01, 0.01), (0.1, 0.1)),
    batch=16,
    discretisation=discretisation,
    solve=solve,
)
