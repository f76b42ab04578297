"""The reference solvers by task. A solver's module is imported when it is asked for: some need scipy."""

import importlib

from ups.data.solvers.solver import Solver, SolverSource
from ups.errors import DataError
from ups.tasks import TASK_SPECS, task_spec

_MAX_SAMPLES = 1_000_000


def solver_of(task: str) -> Solver:
    """The solver of a task.

    Raises:
        NotFoundError: no such task.
        DataError: it has no solver, or what the solver needs is not installed.
    """
    spec = task_spec(task)
    if not spec.has_solver:
        with_solver = ", ".join(name for name, other in TASK_SPECS.items() if other.has_solver)
        raise DataError(
            f"making {task} is not available in this version",
            hint=f"there are solvers for {with_solver}",
        )
    try:
        module = importlib.import_module(f"ups.data.solvers.{task}")
    except ModuleNotFoundError as error:
        raise DataError(
            f"the solver of {task} needs {error.name}, which is not installed",
            hint="pip install 'ups-console[train]'",
        ) from None
    solver: Solver = module.SOLVER
    return solver


def solver_sources(task: str, *, samples: int | None, seed: int) -> list[SolverSource]:
    """The sources of a request: one for each set of parameters.

    Raises:
        NotFoundError, DataError: as `solver_of`; also too few samples, or a negative seed.
    """
    solver = solver_of(task)
    count = solver.default_samples if samples is None else samples
    if not 3 <= count <= _MAX_SAMPLES:
        raise DataError(f"{count} samples cannot be made: at least 3 (one for each split)")
    if seed < 0:
        raise DataError(f"the seed is {seed}: it may not be negative")
    return [SolverSource(solver, count, seed, parameters) for parameters in solver.parameter_sets]
