"""A smoke test before the expensive part: one step of every stage, judged and stored, on the real config.

It runs in a process of its own, in a directory beside the run's: it leaves no memory, no random state and no
setting behind, and what is trained afterwards is the same as without it. Micro-batches, model, precision and
data are the run's own; only the counts of samples and epochs are not. What it cannot see: tasks whose data
come while training goes on, and what only goes wrong after many steps.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from remote import environment
from remote.evaluate import RUN_SPLITS
from remote.failures import Failure, ReportedError, explain
from remote.files import write_json
from remote.hydrate import Datasets
from remote.publish import files_below
from ups.config import TrainConfig
from ups.course import course
from ups.errors import StoreError
from ups.events import EventWriter
from ups.rundir import RunDirectory, RunSpec, render_spec
from ups.store import ObjectStore

PATIENCE_S = 1200.0
"""A test that takes longer hangs; most of what it takes is a first look at all of the data."""
_ROLLOUT_STEPS = 2
_PLAN, _RESULT = "plan.json", "result.json"
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Smoke:
    """What a run's smoke test needs."""

    spec: RunSpec
    directory: RunDirectory
    store: ObjectStore
    datasets: Datasets
    """Of the tasks that training begins with."""
    device: str
    patience_s: float = PATIENCE_S

    def run(self, check: Callable[[], None]) -> str:
        """Test; returns what was done, in words.

        Args:
            check: asked again and again; raises where somebody asked to stop.

        Raises:
            ReportedError: something does not work.
        """
        started = time.monotonic()
        work = self.directory.root.with_name(f".{self.directory.root.name}.smoke")
        shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
        try:
            self._upload()
            found = self._learn(work, check)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        stages = len(course(self.spec.stages))
        steps = f"one step of {stages} stage{'s' if stages != 1 else ''}"
        return (
            f"{steps}, checkpoint {found['bytes'] / 1e6:.1f} MB,"
            f" evaluation, upload: {time.monotonic() - started:.0f} s"
        )

    def _upload(self) -> None:
        """A byte to the store and away again, where the results will go."""
        key = f"runs/{self.spec.run}/attempt-{self.spec.attempt}/.smoke"
        try:
            self.store.write_bytes(key, b".")
            if self.store.find(key) is None:
                raise StoreError(f"{self.store.url} does not hold {key} after it was written")
            self.store.delete(key)
        except Exception as error:
            raise ReportedError(_told(explain(error), "upload")) from error

    def _learn(self, work: Path, check: Callable[[], None]) -> dict[str, Any]:
        try:
            work.mkdir()
            spec = reduced(self.spec, self.datasets)
            RunDirectory(work).spec_path.write_text(render_spec(spec), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{work} cannot be written: {error.strerror or error}") from error
        files = {task: {name: str(path) for name, path in of.items()} for task, of in self.datasets.items()}
        write_json(work / _PLAN, {"device": self.device, "datasets": files})
        code = self._child(work, check)
        try:
            result: dict[str, Any] = json.loads((work / _RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ReportedError(_told(_death(code), _where(work))) from None
        if failure := result.get("failure"):
            raise ReportedError(Failure(**failure))
        return result

    def _child(self, work: Path, check: Callable[[], None]) -> int:
        """Run the test's process to its end; returns its exit code."""
        child = subprocess.Popen(
            [sys.executable, "-m", "remote", "smoke", str(work)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + self.patience_s
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(_LOOK_S)
                check()
                if time.monotonic() > until:
                    told = f"it has not ended within {self.patience_s / 60:.0f} min"
                    hint = "run.log may say more; `--set` another batch size, or take another machine"
                    raise ReportedError(_told(Failure("training", told, hint, 7), _where(work)))
        finally:
            child.kill()
            child.wait()
            if child.stdin is not None:
                child.stdin.close()


def reduced(spec: RunSpec, tasks: Collection[str]) -> RunSpec:
    """The run with one micro-batch of each of some tasks for an epoch, and one epoch of every stage."""
    content = spec.config.model_dump(mode="json")
    held = [task for task in spec.tasks if task in tasks]
    sizes = {task: spec.config.training.batch_size_of(task) for task in held}
    curriculum = spec.config.training.rollout_curriculum
    content["data"]["task"] = held
    # in proportion to its micro-batches each task has its turn once
    content["data"]["task_sampling"] = {"strategy": "balanced", "weights": sizes}
    content["training"] |= {
        "samples_per_epoch": sum(sizes.values()),
        "patience": None,
        "log_every": 1,
        "inverse_loss_warmup_epochs": 0,
        "task_curriculum": {},
        # the longest unrolling takes most memory
        "rollout_curriculum": {
            "enabled": curriculum.enabled, "stages": [max(curriculum.stages)], "epoch_boundaries": [0]
        },
    }  # fmt: skip
    for stage in filter(None, content["stages"].values()):
        stage |= {"epochs": 1, "patience": None}
    steps = spec.config.evaluation.rollout_steps or _ROLLOUT_STEPS
    content["evaluation"] |= {
        "every": 1, "validation_samples": 1, "rollout_steps": min(steps, _ROLLOUT_STEPS),
    }  # fmt: skip
    content["gates"] = {}
    config = TrainConfig.model_validate(content)
    return spec.model_copy(update={"config": config, "tasks": tuple(held), "smoke": False})


# --- in the process of its own --------------------------------------------------------------


def execute(work: Path) -> int:
    """Take one step of everything in a directory that a run has prepared; returns the exit code."""
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    try:
        result = _steps(work)
    except Exception as error:  # noqa: BLE001 - the process boundary: the run tells it
        failure = explain(error, where=str(work))
        if not failure.expected:
            traceback.print_exc()
        result = {"failure": asdict(_told(failure, _where(work)))}
    write_json(work / _RESULT, result)
    return 0


def _steps(work: Path) -> dict[str, Any]:
    from ups.evaluation.report import evaluate
    from ups.training.job import TrainingJob
    from ups.training.run import train

    directory = RunDirectory(work)
    spec = directory.read_spec()
    plan = json.loads((work / _PLAN).read_text(encoding="utf-8"))
    datasets = {
        task: {name: Path(file) for name, file in of.items()} for task, of in plan["datasets"].items()
    }
    environment.use_threads(spec.threads)
    events = EventWriter(directory.events_path)
    # a control otherwise takes as many steps as its stage's compute buys: thousands on a small operator
    step = spec.config.training.samples_per_epoch
    trained = train(
        TrainingJob(spec, directory, datasets, plan["device"], control_samples=step), events
    )  # fmt: skip
    size = sum(file.stat().st_size for file in files_below(trained.checkpoint))
    held = {task: _judged(files) for task, files in datasets.items()}
    evaluate(
        trained.checkpoint, held, RUN_SPLITS, spec.config.evaluation, plan["device"], limit=1,
        own=spec.evaluations,
    )  # fmt: skip
    return {"bytes": size}


def _judged(files: Mapping[str, Path]) -> dict[str, Path]:
    return {split: files[split] for split in RUN_SPLITS if split in files}


def _die_with_parent() -> None:
    """Its end closes this process's input: nothing is left of a run that was killed."""
    os.read(0, 1)  # sys.stdin would hold a lock when this process ends by itself
    os._exit(1)


# --- how it fails ---------------------------------------------------------------------------


def _where(work: Path) -> str:
    """What the test was at: the first stage that has not come to its end."""
    directory = RunDirectory(work)
    ended: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # none has
        ended = json.loads(directory.stages_path.read_text(encoding="utf-8"))
    stages = course(directory.read_spec().stages)
    return next((f"stage {name}" for name in stages if name not in ended), "evaluation")


def _told(failure: Failure, where: str) -> Failure:
    return Failure(
        failure.code, f"smoke test, {where}: {failure.message}", failure.hint, failure.exit_code,
        expected=True,
    )  # fmt: skip


def _death(code: int) -> Failure:
    if code == -9:
        return Failure(
            "memory", "the process was killed, as the kernel does where memory is short",
            "lower training.batch_size or evaluation.batch_size, or rent a machine with more memory", 7,
        )  # fmt: skip
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return Failure("internal", f"the process ended {how}", "run.log has what it said", 1)
