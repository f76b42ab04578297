"""What a reference solver is, and how its solutions become a source of samples.

A solver is deterministic: the same request gives the same values, and the initial condition of
sample i under a seed is the same whatever else is generated with it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.data.source import AnyBlock, AnyDiscretisation, Floats
from ups.tasks import task_spec


@dataclass(frozen=True, slots=True)
class Solver:
    """Generates the data of one task."""

    task: str
    version: int
    """Raised whenever the same request would give other values."""
    default_samples: int
    parameter_sets: tuple[tuple[float, ...], ...]
    """Each initial condition is solved for each of these."""
    batch: int
    """Samples solved at a time."""
    discretisation: Callable[[], AnyDiscretisation]
    solve: Callable[[int, Sequence[int], tuple[float, ...]], AnyBlock]
    """(seed, sample indices, parameters) → the samples, in float32."""


@dataclass(frozen=True, slots=True)
class SolverSource:
    """A number of initial conditions, solved for one set of parameters when they are read."""

    solver: Solver
    samples: int
    seed: int
    parameters: tuple[float, ...]

    @property
    def discretisation(self) -> AnyDiscretisation:
        return self.solver.discretisation()

    @property
    def name(self) -> str:
        return " ".join(["solver", *(f"{name}={value:g}" for name, value in self._parameters.items())])

    @property
    def sha256(self) -> str:
        """Of the request: the same one always has the same samples."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.about

    @property
    def about(self) -> Mapping[str, Any]:
        return {
            "kind": "solver",
            "task": self.solver.task,
            "version": self.solver.version,
            "samples": self.samples,
            "seed": self.seed,
            "parameters": self._parameters,
        }

    @property
    def _parameters(self) -> dict[str, float]:
        names = [parameter.name for parameter in task_spec(self.solver.task).parameters]
        return dict(zip(names, self.parameters, strict=True))

    @property
    def segment(self) -> int:
        return self.solver.batch

    def blocks(self, rows: int, span: range | None = None) -> Iterator[AnyBlock]:
        step = min(rows, self.solver.batch)
        asked = range(self.samples) if span is None else span
        for first in range(asked.start, asked.stop, step):
            indices = range(first, min(first + step, asked.stop))
            yield self.solver.solve(self.seed, indices, self.parameters)

    def initial_conditions(self, rows: int) -> Iterator[Floats] | None:
        """None: every sample has its own random numbers, and the same under all parameters."""
        return None


def generator(seed: int, sample: int) -> np.random.Generator:
    """The random numbers of one sample."""
    return np.random.default_rng((seed, sample))


def cell_centres(low: float, high: float, cells: int) -> NDArray[np.float64]:
    """Centres of equal cells."""
    return np.asarray(low + (np.arange(cells) + 0.5) * ((high - low) / cells), np.float64)


def frame_times(frames: int, dt: float) -> NDArray[np.float64]:
    """0, dt, 2 dt …"""
    return np.asarray(np.arange(frames) * dt, np.float64)
