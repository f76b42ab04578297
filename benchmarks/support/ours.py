"""Our joint operator, trained by the project's own entry point for about a number of CPU seconds.

Schedules count samples, never seconds: a short training first measures samples per CPU second, and
the real one is made as long as the budget allows. What it really took is what the peers are given.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support.datasets import Datasets
from benchmarks.support.peers import batch_size
from ups.config import TrainConfig, parse_train_config
from ups.evaluation.predictor import Predictor, load
from ups.events import EventType
from ups.rundir import RunDirectory, RunSpec, config_sha256
from ups.tasks import task_spec
from ups.training.job import TrainingJob
from ups.training.run import train

MICRO_BATCHES = 3
"""Of an optimizer step: Muon costs as much as one of them."""
_FIRST_SAMPLES = 600
"""Trained to learn the rate roughly; a twelfth of the budget then measures it."""
_PATCH = {1: 32, 2: 8}
_SHARES = {"burgers1d": 1.5}
"""Micro-batches of a task for each one of another."""
_CARRIED_SHARE = 0.2
"""Where the transport skip leaves little to learn."""


def recipe(
    tasks: tuple[str, ...],
    seed: int,
    samples: int,
    *,
    transport: bool = True,
    only: str | None = None,
    log_every: int = 10,
) -> TrainConfig:
    """The experiment of the comparison: `configs/local_2task.yaml`'s operator, tuned for minutes.

    Args:
        tasks: what the joint operator learns.
        seed: of weights and sampling.
        samples: to train on.
        transport: allow the transport skip.
        only: draw samples of this task only, for timing.
        log_every: optimizer steps between two reports of progress.
    """
    sizes = {task: batch_size(task_spec(task)) for task in tasks}
    weights = {
        task: size * _share(task, transport=transport) if only in (None, task) else 0.0
        for task, size in sizes.items()
    }
    pdet = {"input_dim": 128, "hidden_dim": 128, "depth": 2, "num_heads": 4}
    rates = {"lr": 3e-3, "adamw_lr": 4e-3, "muon_ns_steps": 3}
    content: dict[str, Any] = {
        "seed": seed,
        "data": {"task": tasks, "task_sampling": {"weights": weights}},
        "latent": {"dim": 128, "tokens": 64},
        "operator": {
            "pdet": pdet,
            "patch": {task: _PATCH[task_spec(task).spatial_dims] for task in tasks},
        },
        "training": {
            "batch_size": sizes,
            "accum_steps": MICRO_BATCHES,
            "samples_per_epoch": samples,
            "grad_clip": 1.0,
            "transport_skip": "auto" if transport else "off",
            "log_every": log_every,
        },
        "evaluation": {"validation_samples": 1},
        "stages": {"operator": {"epochs": 1, "optimizer": rates}},
    }
    return parse_train_config(content)


def _share(task: str, *, transport: bool) -> float:
    """Micro-batches of a task for each one of another."""
    carried = transport and any(parameter.velocity for parameter in task_spec(task).parameters)
    return _CARRIED_SHARE if carried else _SHARES.get(task, 1.0)


@dataclass(frozen=True, slots=True)
class TrainedOperator:
    """A trained joint operator, and what its training took."""

    predictor: Predictor
    """With guards and symmetric averaging."""
    cpu_seconds: float
    samples: int


@dataclass(slots=True)
class CpuClock:
    """An event sink that notes the CPU time at each report of progress.

    The first report comes after some steps, so that neither set-up nor the first steps' lazy
    imports count; the time of those steps is taken to be that of later ones.
    """

    _marks: list[tuple[float, int]] = field(default_factory=list)

    def write(self, kind: EventType, **fields: Any) -> None:
        """Note a `progress` event of training."""
        if kind is EventType.PROGRESS and fields["phase"] == "train":
            self._marks.append((time.process_time(), int(fields["done"])))

    @property
    def samples_per_second(self) -> float:
        """Samples per CPU second between the first and the last report."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start)

    @property
    def samples(self) -> int:
        """Samples trained on."""
        return self._marks[-1][1]


def train_operator(
    datasets: Datasets, config_of: Callable[[int], TrainConfig], *, seconds: float
) -> TrainedOperator:
    """Train the joint operator.

    Args:
        datasets: the files of every task; `train` and `val` are used.
        config_of: samples to train on → the experiment.
        seconds: CPU seconds that the optimizer's steps may take; torch has to be single-threaded.
    """
    samples = _FIRST_SAMPLES
    for share in (1 / 12, 1):
        rate = _run(config_of(samples), datasets)[1].samples_per_second
        samples = max(_FIRST_SAMPLES, round(rate * seconds * share))
    predictor, clock = _run(config_of(samples), datasets)
    return TrainedOperator(predictor, clock.samples / clock.samples_per_second, clock.samples)


def job_of(config: TrainConfig, datasets: Datasets, folder: Path) -> TrainingJob:
    """The training of an experiment in a run directory, on one CPU thread."""
    spec = RunSpec(
        run="benchmark", name="benchmark", created=0.0, config=config, tasks=config.data.task,
        stages=config.stages.names, seed=config.seed, threads=1, store="dir:/none", datasets={},
        code_version="0", config_sha256=config_sha256(config),
    )  # fmt: skip
    return TrainingJob(spec, RunDirectory(folder), datasets, "cpu")


def _run(config: TrainConfig, datasets: Datasets) -> tuple[Predictor, CpuClock]:
    clock = CpuClock()
    with tempfile.TemporaryDirectory(prefix="ups-accuracy-") as folder:
        result = train(job_of(config, datasets, Path(folder)), clock)
        return load(result.checkpoint, "cpu", symmetric_average=True), clock
