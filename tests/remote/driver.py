"""Executes a run whose learning is replaced by something instant, and dies where it is told to.

Usage: python -m tests.remote.driver RUN_DIR POINT [BEHAVIOUR]. POINT is `never`, or an event (`done`,
`train:started`) followed by `-` or `+`: SIGKILL comes right before or right after that event is written.
BEHAVIOUR is what training does.
"""

import errno
import json
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

from remote.__main__ import main
from ups.errors import TrainingError
from ups.events import Event, EventType, EventWriter
from ups.training.job import TrainingJob, TrainingResult

CHECKPOINT = "operator-0001"


def train(job: TrainingJob, sink: Any) -> TrainingResult:
    with (job.run_dir.root / "train-calls").open("a") as file:
        file.write("x")
    given = {task: {name: str(path) for name, path in files.items()} for task, files in job.datasets.items()}
    (job.run_dir.root / "train-files").write_text(json.dumps(given))
    behaviour = sys.argv[3] if len(sys.argv) > 3 else ""
    if behaviour in _FAILURES:
        raise _FAILURES[behaviour]
    path = job.run_dir.checkpoints / CHECKPOINT
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "state.json").write_text("{}")
    sink.write(EventType.CHECKPOINT, stage="operator", epoch=1, path=f"checkpoints/{CHECKPOINT}", best=True)
    if behaviour == "wait":
        while not job.should_stop():
            time.sleep(0.02)
        return TrainingResult("stopped", path, 1, 10, 100, None)
    if behaviour == "epochs" and job.enough(float(os.environ["TEST_NEEDED_S"])) is not None:
        return TrainingResult("enough", path, 1, 10, 100, 0.5)
    if behaviour == "hang":
        time.sleep(60)
    return TrainingResult("finished", path, 1, 10, 100, 0.5)


_FAILURES: dict[str, Exception] = {
    "training-error": TrainingError("the loss is not finite", hint="lower the rate"),
    "bug": ZeroDivisionError("division by zero"),
    "memory": MemoryError(),
    "disk-full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/checkpoints/x"),
    "no-torch": ModuleNotFoundError("No module named 'torch'", name="torch"),
}


def evaluate(checkpoint: Path, datasets: Any, splits: Any, *_: Any, **_named: Any) -> dict[str, Any]:
    figures = {"one_step": 0.1, "rollout": float("nan"), "persistence_one_step": 0.5, "skill": True}
    of_split = {"tasks": dict.fromkeys(datasets, figures), "aggregate": figures}
    return {
        "checkpoint": checkpoint.name,
        "splits": dict.fromkeys(splits, of_split),
        "gates": {"verdict": None},
    }


def die_at(point: str) -> None:
    """Make the event writer kill this process at one event."""
    write = EventWriter.write

    def dying(self: EventWriter, kind: EventType, **fields: Any) -> Event:
        name = f"{fields['phase']}:{fields['state']}" if kind is EventType.PHASE else str(kind)
        if f"{name}-" == point:
            os.kill(os.getpid(), signal.SIGKILL)
        event = write(self, kind, **fields)
        if f"{name}+" == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return event

    EventWriter.write = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.modules["ups.training.run"] = types.SimpleNamespace(train=train)  # type: ignore[assignment]
    sys.modules["ups.evaluation.report"] = types.SimpleNamespace(evaluate=evaluate)  # type: ignore[assignment]
    from remote import environment

    environment.use_threads = lambda threads: 1
    die_at(sys.argv[2])
    code = main(["run", sys.argv[1]])
    print(json.dumps({"torch": "torch" in sys.modules}))
    raise SystemExit(code)
