"""Finished runs of shipped configs in a home, as their mirror would hold them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.home import Home
from ups.config import TrainConfig, load_train_config
from ups.evaluation.gates import decide
from ups.evaluation.validation_curves import Point
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory, RunSpec, render_spec

CONFIGS = Path(__file__).parents[2] / "configs"


def figures_of(config: TrainConfig, figure: float, **others: float) -> dict[str, Any]:
    """The splits of a report where every task reached `figure`, but for `others`."""
    tasks = {
        task: {"one_step": others.get(task, figure), "persistence_one_step": 1.0, "skill": True}
        for task in config.data.task
    }
    mean = sum(values["one_step"] for values in tasks.values()) / len(tasks)
    return {"splits": {"test": {"tasks": tasks, "aggregate": {"one_step": mean}}}}


def record(
    home: Home,
    run: str,
    name: str,
    figure: float,
    *,
    config: TrainConfig | None = None,
    curve: Sequence[float] = (),
    attempt: int = 1,
    first_epoch: int = 1,
    gates: bool = True,
    **others: float,
) -> RunDirectory:
    """A run of a shipped config, or of `config`, that succeeded with these test figures."""
    config = config or load_train_config(CONFIGS / f"{name}.yaml")
    directory = RunDirectory(home.runs / run / f"attempt-{attempt}")
    directory.root.mkdir(parents=True)
    spec = RunSpec(
        run=run, attempt=attempt, name=name, created=time.time(), config=config, tasks=config.data.task,
        stages=config.stages.names, seed=0, store="dir:/nowhere", datasets={}, code_version="0.1.0",
        config_sha256="ab" * 32,
    )  # fmt: skip
    directory.spec_path.write_text(render_spec(spec))
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.RUN, name=name, tasks=list(config.data.task), stages=["operator"])
        for epoch, value in enumerate(curve, first_epoch):
            for task in config.data.task:
                writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=epoch * 10, task=task,
                             split="val", values={"nrmse": value})  # fmt: skip
        writer.write(EventType.DONE, status="succeeded", exit_code=0, summary="")
    report = figures_of(config, figure, **others)
    points = [Point(epoch, value) for epoch, value in enumerate(curve, first_epoch)]
    if gates:
        report["gates"] = decide(report, config, dict.fromkeys(config.data.task, points)).to_json()
    directory.report_path.write_text(json.dumps({"run": run, **report}))
    return directory
