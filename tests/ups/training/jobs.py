"""Tiny training jobs: two tasks, a few seconds, and the events that they write."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.ups.converted import write_advection, write_darcy
from ups.config import TrainConfig, parse_train_config
from ups.events import Event, EventReader, EventType, EventWriter
from ups.rundir import RunDirectory, RunSpec, config_sha256
from ups.training.job import TrainingJob, TrainingResult
from ups.training.run import train

EPOCHS = 3


def tiny_config(**training: Any) -> TrainConfig:
    """Two tasks, three epochs of twelve steps."""
    return parse_train_config(
        {
            "data": {"task": ["advection1d", "darcy2d"]},
            "latent": {"dim": 16, "tokens": 16},
            "operator": {"pdet": {"input_dim": 16, "hidden_dim": 32, "num_heads": 2, "depth": 2}},
            "training": {
                "batch_size": 4,
                "samples_per_epoch": 48,
                "log_every": 4,
                "grad_clip": 1.0,
                "transport_skip": "off",
                "refinement": {"channels": 4, "layers": 2},
                **training,
            },
            "stages": {"operator": {"epochs": EPOCHS, "optimizer": {"lr": 1e-2}}},
        }
    )


def tiny_datasets(folder: Path) -> dict[str, dict[str, Path]]:
    """Both tasks' converted files."""
    return {"advection1d": write_advection(folder), "darcy2d": write_darcy(folder)}


def make_job(
    run_dir: Path,
    datasets: Mapping[str, Mapping[str, Path]],
    config: TrainConfig | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    enough: Callable[[float], str | None] = lambda needed_s: None,
) -> TrainingJob:
    config = config or tiny_config()
    run_dir.mkdir(exist_ok=True)
    spec = RunSpec(
        run="r1", name="tiny", created=0.0, config=config, tasks=config.data.task, stages=config.stages.names,
        seed=config.seed, threads=1, store="dir:/none", datasets={}, code_version="0",
        config_sha256=config_sha256(config),
    )  # fmt: skip
    return TrainingJob(spec, RunDirectory(run_dir), datasets, "cpu", should_stop, enough)


def run_job(job: TrainingJob) -> TrainingResult:
    with EventWriter(job.run_dir.events_path) as sink:
        return train(job, sink)


def events(job: TrainingJob, *kinds: EventType) -> list[Event]:
    return [event for event in EventReader(job.run_dir.events_path).read() if event.type in kinds]


def curve(job: TrainingJob, split: str) -> list[tuple[Any, ...]]:
    """(epoch, step, task, values) of every point of a split; a resumed run's repeated points replaced."""
    points: list[tuple[Any, ...]] = []
    for event in events(job, EventType.METRIC, EventType.RESUMED):
        fields = event.fields
        if event.type == EventType.RESUMED:
            points = [point for point in points if point[0] != fields["stage"] or point[2] <= fields["step"]]
        elif fields["split"] == split:
            names = ("stage", "epoch", "step", "task", "values")
            points.append(tuple(fields[name] for name in names))
    return [point[1:] for point in points]
