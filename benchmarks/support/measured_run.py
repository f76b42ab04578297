"""One training through the project's own entry, measured from the events that it writes."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ups.config import TrainConfig
from ups.evaluation.report import evaluate
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.models.operator import LatentOperator
from ups.models.spec import OperatorSpec
from ups.rundir import RunDirectory, RunSpec, config_sha256
from ups.training.job import TrainingJob
from ups.training.run import train

Datasets = Mapping[str, Mapping[str, Path]]
"""task → split → converted file."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a training took and what came of it."""

    seconds_per_step: float
    """Wall time of an optimizer step."""
    cpu_seconds_per_step: float
    samples_per_second: float
    cpu_seconds: float
    """Of all steps."""
    shares: Mapping[str, float]
    """Each task's share of the samples."""
    parameters: int
    """Trained values."""
    peak_bytes: int
    """Most device memory in use at a time; 0 on a CPU."""
    test: Mapping[str, Mapping[str, Any]]
    """task → figures of the evaluation on the test split."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Mark:
    wall: float
    cpu: float
    samples: int
    step: int


@dataclass(slots=True)
class Clock:
    """An event sink that notes the time at each report of progress.

    The first report comes after some steps, so that neither the set-up nor a compilation counts, unless
    it is the only one.
    """

    start: _Mark = field(init=False)
    marks: list[_Mark] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _step: int = 0

    def __post_init__(self) -> None:
        self.start = _Mark(time.perf_counter(), time.process_time(), 0, 0)

    def write(self, kind: EventType, **fields: Any) -> None:
        if kind is EventType.METRIC and fields["split"] == "train":
            self._step = fields["step"]
            self.shares[fields["task"]] = fields["values"]["share"]
        elif kind is EventType.PROGRESS and fields["phase"] == "train":
            self.marks.append(_Mark(time.perf_counter(), time.process_time(), fields["done"], self._step))
        elif kind is EventType.WARNING:
            self.warnings.append(fields["message"])

    def ends(self, epoch: int | None) -> tuple[_Mark, _Mark]:
        """The first and the last mark of the first epoch, which has so many samples."""
        within = [mark for mark in self.marks if epoch is None or mark.samples <= epoch]
        return (within[0], within[-1]) if len(within) > 1 else (self.start, self.marks[0])


def run(config: TrainConfig, datasets: Datasets, device: str, *, judge: bool = True) -> Figures:
    """Train, and evaluate the best checkpoint on the test split where `judge` is set.

    Steps are timed within the first epoch, in which no validation falls: `training.log_every` has to
    divide it into several parts.
    """
    clock = Clock()
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory(prefix="ups-benchmark-") as folder:
        spec = RunSpec(
            run="benchmark", name="benchmark", created=0.0, config=config, tasks=config.data.task,
            stages=config.stages.names, seed=config.seed, threads=torch.get_num_threads(), store="dir:/none",
            datasets={}, code_version="0", config_sha256=config_sha256(config),
        )  # fmt: skip
        result = train(TrainingJob(spec, RunDirectory(Path(folder)), datasets, device), clock)
        peak = torch.cuda.max_memory_allocated(device) if cuda else 0
        report = evaluate(result.checkpoint, datasets, ["test"], config.evaluation, device) if judge else None
        parameters = _parameters(result.checkpoint)
    first, last = clock.ends(config.training.samples_per_epoch)
    steps = last.step - first.step
    cpu_per_step = (last.cpu - first.cpu) / steps
    return Figures(
        seconds_per_step=(last.wall - first.wall) / steps,
        cpu_seconds_per_step=cpu_per_step,
        samples_per_second=(last.samples - first.samples) / (last.wall - first.wall),
        cpu_seconds=cpu_per_step * result.steps,
        shares=clock.shares,
        parameters=parameters,
        peak_bytes=peak,
        test={} if report is None else report["splits"]["test"]["tasks"],
        warnings=tuple(clock.warnings),
    )


def _parameters(checkpoint: Path) -> int:
    model = LatentOperator(OperatorSpec.from_json(checkpoints.read(checkpoint).state["operator"]))
    return sum(parameter.numel() for parameter in model.parameters())
