"""A run directory whose events are written by the test, and what W&B gets to know of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ups.config import TrainConfig
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec

TASKS = ("advection1d", "darcy2d")


def a_run(root: Path, *, attempt: int = 1, **wandb: Any) -> RunDirectory:
    """A directory of a run on two tasks that reports to W&B."""
    config = TrainConfig.model_validate(
        {
            "data": {"task": list(TASKS)},
            "stages": {"operator": {"epochs": 2}},
            "logging": {"wandb": {"enabled": True, **wandb}},
        }
    )
    spec = RunSpec(
        run="1130-abcd", attempt=attempt, name="tiny", created=0.0, config=config, tasks=TASKS,
        stages=("operator",), seed=3, store="dir:/nowhere", datasets={}, code_version="0",
        config_sha256=config_sha256(config),
    )  # fmt: skip
    directory = RunDirectory(root)
    root.mkdir(parents=True)
    directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
    return directory


def write_epochs(directory: RunDirectory, first: int, end: int) -> None:
    """The events of some epochs: a point for each task, its validation, its rollout, a checkpoint."""
    with EventWriter(directory.events_path) as writer:
        for epoch in range(first, end):
            step = 10 * (epoch + 1)
            writer.write(EventType.SYSTEM, gpu=[{"util": 90, "temp": 60}], cpu=12.5, ram=40.0)
            for number, task in enumerate(TASKS):
                writer.write(
                    EventType.METRIC, stage="operator", epoch=epoch, step=step, task=task, split="train",
                    values={"loss": 1.0 / (step + number), "lr": 1e-3, "share": 0.25 + 0.5 * number},
                )  # fmt: skip
            for task in TASKS:
                writer.write(
                    EventType.METRIC, stage="operator", epoch=epoch + 1, step=step, task=task, split="val",
                    values={"nrmse": 1.0 / step, "persistence": 0.5},
                )  # fmt: skip
            _write_rollout(directory, writer, step)
            _write_checkpoint(directory, writer, epoch + 1)


def _write_rollout(directory: RunDirectory, writer: EventWriter, step: int) -> None:
    directory.rollouts.mkdir(exist_ok=True)
    path = directory.rollouts / f"advection1d-{step}.npz"
    frames = np.sin(np.linspace(0, 6, 5 * 16)).reshape(1 * 5, 16, 1)
    meta = np.array(json.dumps({"task": "advection1d", "step": step, "fields": ["u"]}))
    np.savez(path, true=frames, pred=0.9 * frames, initial=frames[:1], times=np.arange(5), meta=meta)
    writer.write(
        EventType.ROLLOUT, task="advection1d", step=step, path=f"rollouts/{path.name}",
        nrmse=0.1, persistence=1.0,
    )  # fmt: skip


def _write_checkpoint(directory: RunDirectory, writer: EventWriter, epoch: int) -> None:
    folder = directory.checkpoints / f"operator-{epoch:04}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    path = f"checkpoints/{folder.name}"
    writer.write(EventType.CHECKPOINT, stage="operator", epoch=epoch, path=path, best=True, sha256="0")


def write_done(directory: RunDirectory) -> None:
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.DONE, status="succeeded", exit_code=0, summary=SUMMARY)


SUMMARY: dict[str, Any] = {
    "split": "test",
    "tasks": {"advection1d": {"one_step": 0.04, "skill": True}},
    "aggregate": {"one_step": 0.05},
    "decision": None,
}
