"""A smoke test catches what would fail late, before the expensive part, and changes nothing."""

import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
from safetensors.numpy import load_file

from remote.smoke import reduced
from tests.patience import PATIENCE_S
from tests.remote.conftest import CONFIG, MakeRun, start, two_task_config, wait_for
from tests.remote.test_pipeline import drive
from ups.config import TrainConfig
from ups.events import Event, EventReader
from ups.rundir import RunDirectory
from ups.stores.directory import DirectoryStore

TRAINING = {**CONFIG["training"], "samples_per_epoch": 16}
LATER = {"operator": {"epochs": 1}, "diff_residual": {"epochs": 1}}


ROOT = Path(__file__).parents[2]
BROKEN_LATE = """
import sys
if "smoke" in sys.orig_argv:
    from ups.errors import TrainingError
    from ups.training.stages import Stages
    def broken(self, name):
        raise TrainingError("the kernel is not supported here", hint="take another machine")
    Stages._begin_corrector = broken
"""
"""What only the second stage meets, on this machine."""
KILLED = """
import os, sys
if "smoke" in sys.orig_argv:
    os.kill(os.getpid(), 9)
"""
HANGS = """
import os, sys, time
if "smoke" in sys.orig_argv:
    place = os.path.join(os.path.dirname(__file__), "hanging")
    with open(place + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(place + ".part", place)
    time.sleep(60)
"""


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {**CONFIG, "stages": {"operator": {"epochs": 1}}, "training": TRAINING, **changes}
    )


def begin(run: RunDirectory, **environment: str) -> subprocess.Popen[str]:
    return start(
        "-m", "remote", "run", str(run.root), log=run.log_path, UPS_REMOTE_DEVICE="cpu", **environment
    )  # fmt: skip


def execute(run: RunDirectory, **environment: str) -> tuple[int, list[Event]]:
    return begin(run, **environment).wait(timeout=PATIENCE_S), EventReader(run.events_path).read()


def phases(events: list[Event]) -> list[str]:
    return [f"{e.fields['phase']} {e.fields['state']}" for e in events if e.type == "phase"]


def smoked(run: RunDirectory) -> list[str]:
    """What the finished smoke test says."""
    events = EventReader(run.events_path).read() if run.events_path.exists() else []
    of_smoke = [event.fields for event in events if event.fields.get("phase") == "smoke"]
    return [fields["detail"] for fields in of_smoke if fields.get("state") == "finished"]


def nothing_is_left(run: RunDirectory, store: DirectoryStore) -> bool:
    return not list(run.root.parent.glob(".*smoke")) and not list(store.root.rglob(".smoke*"))


class TestARunWithASmokeTest:
    def test_computes_the_same_as_without(self, make_run: MakeRun, store: DirectoryStore) -> None:
        made = [make_run(name, run=name, config=config(), smoke=name == "tried") for name in ("tried", "not")]
        ended = [execute(run) for run in made]
        assert [code for code, _ in ended] == [0, 0]
        tried, plain = (events for _, events in ended)
        assert phases(tried)[3:5] == ["smoke started", "smoke finished"]
        assert tried[0].fields["phases"] == ["hydrate", "precompute", "smoke", "train", "evaluate", "publish"]
        (told,) = smoked(made[0])
        assert told.startswith("one step of 1 stage, checkpoint 0.")
        assert " MB, evaluation, upload: " in told
        assert not [phase for phase in phases(plain) if "smoke" in phase]
        first, second = ([e.fields for e in events if e.type == "metric"] for events in (tried, plain))
        assert first == second
        weights = [
            {p.parent.name: load_file(p) for p in run.checkpoints.glob("*/model.safetensors")} for run in made
        ]
        assert {k: {n: a.tobytes() for n, a in v.items()} for k, v in weights[0].items()} == {
            k: {n: a.tobytes() for n, a in v.items()} for k, v in weights[1].items()
        }
        assert nothing_is_left(made[0], store)

    def test_takes_a_step_of_the_controls_too_and_no_more(self, make_run: MakeRun) -> None:
        """Matched compute would give the control of a small operator's corrector thousands."""
        run = make_run(config=config(stages=LATER), stages=("operator", "diff_residual"), smoke=True)
        process = begin(run)
        wait_for(lambda: bool(smoked(run)))
        process.kill()
        process.wait(timeout=PATIENCE_S)
        assert smoked(run)[0].startswith("one step of 3 stages, ")

    def test_goes_without_once_training_has_begun(self, make_run: MakeRun) -> None:
        run = make_run(smoke=True)
        begun = run.checkpoints / "operator-0001"
        begun.mkdir(parents=True)
        (begun / "state.json").write_text("{}")
        assert drive(run) == 0
        assert "smoke skipped" in phases(EventReader(run.events_path).read())

    def test_nothing_is_left_of_it_where_the_run_is_stopped(
        self, make_run: MakeRun, store: DirectoryStore, tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(HANGS)
        run = make_run(config=config(), smoke=True)
        process = begin(run, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        hanging = tmp_path / "hanging"
        wait_for(hanging.exists)
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0
        events = EventReader(run.events_path).read()
        assert "smoke skipped" in phases(events)
        assert events[-1].fields["status"] == "stopped"
        assert not psutil.pid_exists(int(hanging.read_text()))
        assert nothing_is_left(run, store)

    def test_its_process_does_not_outlive_a_run_that_is_killed(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        run = make_run(config=config(), smoke=True)
        process = begin(run)
        work = run.root.with_name(".r1.smoke")
        wait_for((work / "events.jsonl").exists)  # it is past its imports
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait(timeout=PATIENCE_S)
        wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=PATIENCE_S)


class TestWhatItCatches:
    def test_a_later_stage_that_cannot_work(
        self, make_run: MakeRun, store: DirectoryStore, tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(BROKEN_LATE)
        run = make_run(config=config(stages=LATER), stages=("operator", "diff_residual"), smoke=True)
        code, events = execute(run, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        assert code == 7
        assert "smoke failed" in phases(events)
        assert "train started" not in phases(events)
        error = next(e.fields for e in events if e.type == "error")
        assert error["message"] == "smoke test, stage diff_residual: the kernel is not supported here"
        assert (error["code"], error["hint"]) == ("training", "take another machine")
        assert events[-1].fields["status"] == "failed"
        assert nothing_is_left(run, store)

    def test_a_process_that_is_killed(self, make_run: MakeRun, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text(KILLED)
        run = make_run(config=config(), smoke=True)
        code, events = execute(run, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        assert code == 7
        error = next(e.fields for e in events if e.type == "error")
        assert error["code"] == "memory"
        assert error["message"].startswith("smoke test, stage operator: the process was killed")
        assert "train started" not in phases(events)

    def test_a_store_that_takes_no_results(self, make_run: MakeRun, store: DirectoryStore) -> None:
        (store.root / "runs").write_text("in the way")
        run = make_run(config=config(), smoke=True)
        code, events = execute(run)
        assert code == 6
        error = next(e.fields for e in events if e.type == "error")
        assert error["code"] == "store"
        assert error["message"].startswith("smoke test, upload: ")
        assert "train started" not in phases(events)


def test_each_task_has_one_micro_batch_whatever_its_curriculum_says(make_joint_run: MakeRun) -> None:
    given = two_task_config(batch_size={"advection1d": 4, "default": 2})
    spec = make_joint_run(config=given).read_spec()
    both = reduced(spec, spec.tasks)
    assert both.config.training.samples_per_epoch == 6
    assert both.config.stages.operator.epochs == 1
    assert both.config.training.task_curriculum.enabled is False
    first = reduced(spec, ["darcy2d"])
    assert first.tasks == first.config.data.task == ("darcy2d",)
