"""Tasks that the curriculum draws later join when they are due; when their data came changes nothing."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config
from tests.ups.training.test_resume import same_weights
from ups.data.outline import Outline
from ups.data.split import open_split
from ups.errors import DataError, StoreError
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.training.curriculum import joining_epochs
from ups.training.job import TrainingJob

Datasets = dict[str, dict[str, Path]]

CURRICULUM = {
    "enabled": True,
    "stages": [
        {"epochs": [0, 1], "tasks": ["darcy2d"]},
        {"epochs": [1, 3], "tasks": ["advection1d", "darcy2d"], "weights": "inverse_nrmse"},
    ],
}
RICH = {"ema_decay": 0.9, "task_curriculum": CURRICULUM}


def outline(datasets: Datasets, task: str) -> Outline:
    return Outline.of(open_split(datasets[task]["train"]))


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory, datasets: Datasets) -> TrainingJob:
    """A finished run whose data were all there from the start."""
    job = make_job(tmp_path_factory.mktemp("at-once"), datasets, tiny_config(**RICH))
    run_job(job)
    return job


class Slow:
    """Data whose late task comes when it has been asked for often enough."""

    def __init__(self, folder: Path, datasets: Datasets, *, asked: int) -> None:
        self.datasets = {
            **datasets,
            "advection1d": {split: folder / f"late_{split}.h5" for split in datasets["advection1d"]},
        }
        self._from = datasets["advection1d"]
        self._left = asked
        self.outlines = {"advection1d": outline(datasets, "advection1d")}
        self.asked_for: list[tuple[str, ...]] = []

    def arrived(self, tasks: Sequence[str]) -> bool:
        self.asked_for.append(tuple(tasks))
        if "advection1d" in tasks:
            self._left -= 1
            if self._left == 0:
                for split, path in self.datasets["advection1d"].items():
                    path.write_bytes(self._from[split].read_bytes())
            return self._left <= 0
        return True

    def job(self, run_dir: Path, **options: Any) -> TrainingJob:
        made = make_job(run_dir, self.datasets, tiny_config(**RICH), **options)
        return replace(made, outlines=self.outlines, arrived=self.arrived)


def same_curves(one: TrainingJob, other: TrainingJob) -> bool:
    return all(curve(one, split) == curve(other, split) for split in ("train", "val"))


def test_late_data_change_nothing(tmp_path: Path, datasets: Datasets, at_once: TrainingJob) -> None:
    slow = Slow(tmp_path, datasets, asked=3)
    job = slow.job(tmp_path / "run")
    assert run_job(job).status == "finished"
    assert slow.asked_for == [("darcy2d",), *[("advection1d",)] * 3]
    assert same_curves(job, at_once)
    assert same_weights(job, at_once)


def test_a_task_is_judged_from_when_it_joins(at_once: TrainingJob) -> None:
    judged = [(epoch, task) for epoch, _, task, _ in curve(at_once, "val") if task is not None]
    assert judged == [
        (1, "darcy2d"), (2, "advection1d"), (2, "darcy2d"), (3, "advection1d"), (3, "darcy2d"),
    ]  # fmt: skip
    assert {task for epoch, _, task, _ in curve(at_once, "train") if epoch == 0} == {"darcy2d"}
    best = checkpoints.best(at_once.run_dir.checkpoints)
    assert best is not None
    assert set(best.state["progress"]["nrmse"]) == {"advection1d", "darcy2d"}


def test_stopping_everywhere_changes_nothing(
    tmp_path: Path, datasets: Datasets, at_once: TrainingJob
) -> None:
    job = make_job(tmp_path / "run", datasets, tiny_config(**RICH), should_stop=lambda: True)
    assert [run_job(job).status for _ in range(3)] == ["stopped", "stopped", "finished"]
    assert same_curves(job, at_once)
    assert same_weights(job, at_once)


def test_a_request_to_stop_ends_the_wait(tmp_path: Path, datasets: Datasets, at_once: TrainingJob) -> None:
    slow, stop = Slow(tmp_path, datasets, asked=2), threading.Event()

    def arrived(tasks: Sequence[str]) -> bool:
        if "advection1d" in tasks:
            stop.set()
        return slow.arrived(tasks)

    job = slow.job(tmp_path / "run", should_stop=stop.is_set)
    result = run_job(replace(job, arrived=arrived))
    assert (result.status, result.epochs) == ("stopped", 1)
    stop.clear()
    assert run_job(job).status == "finished"
    assert same_curves(job, at_once)
    assert same_weights(job, at_once)


def test_killed_right_after_joining(
    tmp_path: Path, datasets: Datasets, at_once: TrainingJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path / "run", datasets, tiny_config(**RICH))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ups.training.stages.Stages.join", die)
        with pytest.raises(KeyboardInterrupt):
            run_job(job)
    with monkeypatch.context() as patched:
        patched.setattr("ups.training.run._warn_of_floors", die)
        with pytest.raises(KeyboardInterrupt):
            run_job(job)
    run_job(job)
    assert [event.fields["epoch"] for event in events(job, EventType.RESUMED)] == [1, 1]
    assert same_curves(job, at_once)
    assert same_weights(job, at_once)


def test_data_that_do_not_come_fail_the_run_where_they_are_needed(tmp_path: Path, datasets: Datasets) -> None:
    slow = Slow(tmp_path, datasets, asked=9)

    def arrived(tasks: Sequence[str]) -> bool:
        if "advection1d" in tasks:
            raise StoreError("the bucket is gone")
        return True

    job = replace(slow.job(tmp_path / "run"), arrived=arrived)
    with pytest.raises(StoreError, match="the bucket is gone"):
        run_job(job)
    last = checkpoints.last(job.run_dir.checkpoints)
    assert last is not None
    assert last.epoch == 1


def test_file_that_is_not_what_its_manifest_says(tmp_path: Path, datasets: Datasets) -> None:
    slow = Slow(tmp_path, datasets, asked=1)
    slow.outlines = {"advection1d": replace(slow.outlines["advection1d"], samples=99)}
    with pytest.raises(DataError, match="not what its manifest says"):
        run_job(slow.job(tmp_path / "run"))


def test_too_little_data_is_refused_before_the_first_step(tmp_path: Path, datasets: Datasets) -> None:
    slow = Slow(tmp_path, datasets, asked=1)
    slow.outlines = {"advection1d": replace(slow.outlines["advection1d"], samples=0)}
    with pytest.raises(DataError, match="no pair of states"):
        run_job(slow.job(tmp_path / "run"))
    assert events(slow.job(tmp_path / "run"), EventType.METRIC) == []


def test_when_tasks_join() -> None:
    assert joining_epochs(tiny_config()) == {"advection1d": 0, "darcy2d": 0}
    assert joining_epochs(tiny_config(task_curriculum=CURRICULUM)) == {"advection1d": 1, "darcy2d": 0}
    alone = {"enabled": True, "stages": [{"epochs": [0, 2], "tasks": ["darcy2d"]}]}
    assert joining_epochs(tiny_config(task_curriculum=alone)) == {"advection1d": 2, "darcy2d": 0}
    never = {"enabled": True, "stages": [{"epochs": [0, 9], "tasks": ["darcy2d"]}]}
    assert joining_epochs(tiny_config(task_curriculum=never)) == {"advection1d": 0, "darcy2d": 0}
