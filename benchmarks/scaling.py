"""How error and cost grow with the operator: parameters, tokens, batch.

Every row trains the project's operator through its own entry on one CPU thread, with equal samples for all
sizes of a sweep, and is judged on the test split; the transport skip, which leaves the network little to do
where it applies, is off. Costs are CPU seconds of the optimizer steps; beside each
sweep stands the exponent p of `ms/step ∝ size^p`, fitted by least squares on logarithms. The peer of a row
is the smallest size of its sweep. Those are reported only.

Before them: training, converting and precomputing by two processes beside one, which have bars.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# before torch and numpy are imported, which read them
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.support import two_processes
from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.converting import large_raw
from benchmarks.support.measured_run import Datasets, Figures, run
from ups import catalog
from ups.config import TrainConfig, parse_train_config
from ups.data.convert import import_raw, make
from ups.data.fields import Fields
from ups.errors import DataError
from ups.stores.directory import DirectoryStore
from ups.tasks import task_spec

TASKS = ("advection1d", "darcy2d")


@dataclass(frozen=True, slots=True)
class Size:
    """One operator and how it is trained."""

    width: int = 128
    depth: int = 3
    tokens: int | None = None
    """Of every task, made by its patch; None: the smallest patch that keeps to 64."""
    batch: int = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes that are swept."""

    sizes: tuple[tuple[int, int], ...]
    """Width and depth."""
    tokens: tuple[int, ...]
    batches: tuple[int, ...]
    samples: int
    """That each operator is trained on."""
    timed_steps: int
    """Of the sweep over batches, which is not judged."""
    made: int
    """Initial conditions that a solver makes."""
    raw_bytes: int = 2**24
    """Of a file that is converted, and cached, by one and by two processes."""


FULL = Plan(
    ((64, 3), (96, 3), (128, 3), (192, 3), (256, 4)), (64, 128, 256), (2, 4, 8, 16, 32), 3200, 24, 120, 2**30
)
QUICK = Plan(((32, 2), (64, 2)), (64, 256), (2, 8), 96, 6, 12, 2**24)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--processes-only", action="store_true", help="only what a second process is worth")
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw files instead of the reference solvers")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="ups-scaling-") as folder:
        plan = QUICK if options.quick else FULL
        datasets = _datasets(Path(folder), options, plan.made)
        with tempfile.TemporaryDirectory(prefix="ups-processes-") as scratch:
            raw = large_raw(Path(scratch), plan.raw_bytes)
            size = Size(batch=plan.batches[-1])
            config = _config(size, tuple(datasets), plan.timed_steps * 4 * size.batch)
            rows = [*two_processes.rows(Path(scratch), config, datasets, raw, judged=not options.quick)]
        if not options.processes_only:
            rows += swept(plan, datasets)
    return finish(rows, options.json)


def swept(plan: Plan, datasets: Datasets) -> list[Row]:
    """The rows of all sweeps."""
    return [*_sizes(plan, datasets), *_tokens(plan, datasets), *_batches(plan, datasets)]


def _sizes(plan: Plan, datasets: Datasets) -> Iterator[Row]:
    """Parameters against error and cost, both tasks jointly."""
    found = {}
    for width, depth in plan.sizes:
        figures = run(_config(Size(width, depth), tuple(datasets), plan.samples), datasets, "cpu")
        found[f"{figures.parameters / 1e6:.2f} M parameters (width {width}, depth {depth})"] = figures
        _say(f"width {width}, depth {depth}", figures)
    yield from _sweep(found)
    costs = [(figures.parameters, figures.cpu_seconds_per_step) for figures in found.values()]
    yield _exponent("parameters", costs)


def _tokens(plan: Plan, datasets: Datasets) -> Iterator[Row]:
    """Tokens against error and cost, for each task alone and each number that a patch gives."""
    for task, files in datasets.items():
        found, costs = {}, []
        for tokens in plan.tokens:
            patch = _patch(Fields.open(files["train"]).grid, tokens)
            if patch is None:
                continue
            config = _config(Size(tokens=tokens), (task,), plan.samples // 2, patch=patch)
            figures = run(config, {task: files}, "cpu")
            found[f"{tokens} tokens of {task}"] = figures
            costs.append((tokens, figures.cpu_seconds_per_step))
            _say(f"{task}, {tokens} tokens", figures)
        yield from _sweep(found)
        if len(costs) > 1:
            yield _exponent(f"tokens of {task}", costs)


def _batches(plan: Plan, datasets: Datasets) -> Iterator[Row]:
    """The batch against samples/s; nothing is judged."""
    found = {}
    for batch in plan.batches:
        config = _config(Size(batch=batch), tuple(datasets), plan.timed_steps * batch)
        found[batch] = run(config, datasets, "cpu", judge=False)
    smallest = min(found)

    def rate(batch: int) -> float:
        return batch / found[batch].cpu_seconds_per_step

    for batch in found:
        yield Row(
            f"batch {batch}", rate(batch), rate(smallest), f"batch {smallest}", "samples/CPU s", "higher"
        )
    yield _exponent("batch", [(batch, figures.cpu_seconds_per_step) for batch, figures in found.items()])


def _sweep(found: Mapping[str, Figures]) -> Iterator[Row]:
    """Rows of error and cost beside those of the first, smallest size."""
    for index, (what, figures) in enumerate(found.items()):
        if index == 0:
            smallest, name = figures, what.partition(" (")[0]
        for task, scores in figures.test.items():
            error, least = scores["one_step"], smallest.test[task]["one_step"]
            if error is None or least is None:  # not finite
                error, least = error or math.inf, least or math.inf
            yield Row(f"{what}: nRMSE {task}", error, least, name, "", "lower")
        yield Row(f"{what}: training", figures.cpu_seconds, smallest.cpu_seconds, name, "CPU s", "lower")
        yield Row(
            f"{what}: step", 1e3 * figures.cpu_seconds_per_step, 1e3 * smallest.cpu_seconds_per_step, name,
            "CPU ms", "lower",
        )  # fmt: skip


def _exponent(what: str, costs: Sequence[tuple[float, float]]) -> Row:
    return Row(f"ms/step ∝ {what}^p, p", fitted_exponent(costs), 1.0, "linear", "", "lower")


def fitted_exponent(costs: Sequence[tuple[float, float]]) -> float:
    """The p of cost ∝ size^p by least squares on the logarithms of (size, cost)."""
    sizes, values = np.log(np.asarray(costs, np.float64)).T
    return float(np.polyfit(sizes, values, 1)[0])


def _patch(grid: Sequence[int], tokens: int) -> int | None:
    """The patch edge that makes exactly so many tokens; None where none does."""
    edges = (edge for edge in range(1, min(grid) + 1) if all(cells % edge == 0 for cells in grid))
    return next((edge for edge in edges if math.prod(cells // edge for cells in grid) == tokens), None)


def _config(size: Size, tasks: tuple[str, ...], samples: int, *, patch: int | None = None) -> TrainConfig:
    operator: dict[str, Any] = {
        "pdet": {
            "input_dim": 128, "hidden_dim": size.width, "depth": size.depth, "num_heads": size.width // 32,
        },
    }  # fmt: skip
    if patch is not None:
        operator["patch"] = dict.fromkeys(tasks, patch)
    return parse_train_config(
        {
            "seed": 0,
            "data": {"task": list(tasks)},
            "latent": {"dim": 128, "tokens": size.tokens or 64},
            "operator": operator,
            "training": {
                "batch_size": size.batch, "samples_per_epoch": samples, "grad_clip": 1.0, "log_every": 2,
                "transport_skip": "off",
            },
            "evaluation": {"validation_samples": 1, "symmetric_average": False, "rollout_steps": 1},
            "stages": {"operator": {"epochs": 1, "optimizer": {"lr": 3e-3, "adamw_lr": 2e-3}}},
        }
    )  # fmt: skip


def _datasets(folder: Path, options: argparse.Namespace, samples: int) -> Datasets:
    store = DirectoryStore(folder)
    found = {}
    for task in TASKS:
        if options.data is None:
            make(store, task, samples=samples)
        else:
            pattern = task_spec(task).raw_files
            raw = sorted(options.data.glob(pattern))
            if not raw:
                raise DataError(f"{options.data} holds no raw file of {task}", hint=f"it is called {pattern}")
            import_raw(store, task, raw)
        paths = {
            split: store.local_path(entry.key) for split, entry in catalog.dataset(store, task).splits.items()
        }
        found[task] = {split: path for split, path in paths.items() if path is not None}
    return found


def _say(what: str, figures: Figures) -> None:
    errors = ", ".join(f"{task} {scores['one_step']}" for task, scores in figures.test.items())
    print(f"{what}: {figures.cpu_seconds:.1f} CPU s; {errors}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
