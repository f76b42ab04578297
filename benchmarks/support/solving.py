"""How fast the reference solvers make data, on one core."""

import time

from ups.data.solvers.registry import solver_sources
from ups.tasks import TASK_SPECS


def print_rates() -> None:
    """Samples per CPU second of each solver: one batch under each of its parameters, at default size."""
    for name, spec in TASK_SPECS.items():
        if spec.has_solver:
            print(f"{name:22} {_rate(name):8.3g} samples/s", flush=True)


def _rate(task: str) -> float:
    sources = solver_sources(task, samples=None, seed=0)
    made, begun = 0, time.process_time()
    for source in sources:
        made += len(next(source.blocks(source.segment)))
    return made / (time.process_time() - begun)
