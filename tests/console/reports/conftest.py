"""A run with everything that a report has to cope with."""

import json
from pathlib import Path

import numpy as np
import pytest

from console.home import Home
from console.operations import Operations
from console.reports.content import ReportContent, gather
from tests.console.tui.conftest import record_run
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory

HOSTILE = "<img src=x onerror=alert(1)>\"'&</title><script>alert(2)</script>"
"""A task's name that would run something where it is not escaped."""
VOLUME, PARTICLES = "compressible_ns3d", "particles_advect"
TASKS = ("advection1d", "shallow_water2d", VOLUME, PARTICLES, HOSTILE)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def hard_run(home: Home) -> RunDirectory:
    """Two attempts, two stages, five tasks of every kind, values that are none, warnings."""
    record_run(home, "1130-hard", epochs=2, done="failed", report=False)
    second = RunDirectory(home.runs / "1130-hard" / "attempt-2")
    (second.root / "rollouts").mkdir(parents=True)
    second.spec_path.write_bytes((home.runs / "1130-hard" / "attempt-1" / "run.yaml").read_bytes())
    noise = np.random.default_rng(0)
    with EventWriter(second.events_path) as writer:
        writer.write(EventType.RUN, name="local_2task", tasks=list(TASKS),
                     stages=["operator", "diff_residual"], device="cuda:0 RTX 4090")  # fmt: skip
        writer.write(EventType.PHASE, phase="train", state="started", detail="")
        for step in range(0, 9000, 10):
            stage = "operator" if step < 6000 else "diff_residual"
            for n, task in enumerate(TASKS[: 1 if step % 90 else None]):
                loss = float((1 + step / 100) ** -0.8 * noise.lognormal(sigma=0.5) * 10**-n)
                loss = float("nan") if step == 500 else loss
                writer.write(EventType.METRIC, stage=stage, epoch=step // 900, step=step, task=task,
                             split="train", values={"loss": loss})  # fmt: skip
                if step % 900 == 0:
                    writer.write(EventType.METRIC, stage=stage, epoch=step // 900, step=step, task=task,
                                 split="val", values={"nrmse": loss, "persistence": 0.3})  # fmt: skip
        for task in TASKS:
            name = f"rollouts/{TASKS.index(task)}.npz"
            _write_rollout(second.root / name, task, noise)
            writer.write(EventType.ROLLOUT, task=task, step=9000, path=name, nrmse=0.2, persistence=0.1)
        for _ in range(3):
            writer.write(
                EventType.WARNING, code="plateau", message=f"{HOSTILE} learns no more", hint="stop it"
            )
        writer.write(EventType.PHASE, phase="train", state="failed", detail=HOSTILE)
        writer.write(EventType.DONE, status="failed", exit_code=7, summary="")
    second.report_path.write_text(json.dumps(_evaluation()))
    return second


def _write_rollout(path: Path, task: str, noise: np.random.Generator) -> None:
    frames, more = np.arange(6), {}
    if task == VOLUME:
        x, y, z = np.mgrid[0:24, 0:20, 0:16] / 10
        true = np.stack([np.sin(x + 2 * y + z - 0.3 * t) for t in frames])[..., None]
    elif task == PARTICLES:
        places = noise.random((400, 2)) * (2, 1)
        positions = np.stack([places + 0.02 * t for t in frames])
        true = np.sin(3 * positions[..., :1]) * np.cos(4 * positions[..., 1:])
        more = {"positions": positions, "pred_positions": positions + 0.01}
    elif task == "shallow_water2d":
        x, y = np.mgrid[0:64, 0:64] / 64
        true = np.stack([np.stack([np.exp(-9 * ((x - 0.5) ** 2 + (y - 0.08 * t) ** 2)), x * y], -1)
                         for t in frames])  # fmt: skip
    else:
        x = np.arange(96) / 96
        true = np.stack([np.sin(2 * np.pi * (x - 0.04 * t)) for t in frames])[..., None]
    pred = true + 0.05 * np.sin(9 * true)
    pred[-1].flat[0] = np.nan
    meta = {"task": task, "sample": 3, "step": 9000, "fields": ["h", "u"][: true.shape[-1]]}
    np.savez(path, pred=pred.astype("f2"), true=true.astype("f2"), times=0.05 * (1 + frames),
             meta=json.dumps(meta), **more)  # fmt: skip


def _evaluation() -> dict[str, object]:
    figures = {"one_step": 0.0183, "one_step_interval": [0.017, 0.02], "rollout": 0.0412,
               "rollout_unguarded": 0.5, "persistence_one_step": 0.12,
               "persistence_rollout": 0.7, "diverged": 0, "skill": True}  # fmt: skip
    tasks = dict.fromkeys(TASKS, figures) | {VOLUME: {**figures, "skill": False, "diverged": 2}}
    off = {"aggregate": 0.02, "tasks": dict.fromkeys(TASKS, 0.02)}
    ttc = {"off": off, "average": off, "on": {"aggregate": 0.01, "tasks": dict.fromkeys(TASKS, 0.01)}}
    return {"splits": {"test": {"tasks": tasks, "aggregate": {}, "ttc": ttc}, "val": {"tasks": tasks}}}


@pytest.fixture
def content(home: Home, hard_run: RunDirectory) -> ReportContent:
    operations = Operations(home)
    handle = operations.registry.find("1130-hard")
    return gather(operations.registry, handle, operations.ledger, operations.status(handle))
