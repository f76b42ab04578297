"""Training copies its state and goes on; what is on the disk is whole, and a full disk is told in time."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.patience import PATIENCE_S
from tests.ups.training.jobs import curve, events, make_job, run_job
from tests.ups.training.test_resume import same_weights
from ups.errors import StoreError
from ups.events import EventType, EventWriter
from ups.models import checkpoint as checkpoints
from ups.models import tensor_file
from ups.rundir import RunDirectory
from ups.training.job import TrainingJob
from ups.training.run import train
from ups.training.saving import Saver
from ups.training.state import Snapshot

Datasets = dict[str, dict[str, Path]]
FILE = "model.safetensors"


def snapshot(epoch: int, weights: torch.Tensor, score: float | None = 0.5) -> Snapshot:
    return Snapshot("operator", epoch, {FILE: {"w": weights}}, {"score": score})


class Told:
    """The checkpoints that were announced."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.best: list[bool] = []

    def write(self, kind: EventType, **fields: Any) -> None:
        assert kind is EventType.CHECKPOINT
        self.epochs.append(fields["epoch"])
        self.best.append(fields["best"])


class Gate:
    """A disk that takes nothing until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()
        write = tensor_file.write

        def slow(*arguments: Any) -> tensor_file.Written:
            self.reached.set()
            self._open.wait(PATIENCE_S)
            return write(*arguments)

        monkeypatch.setattr(tensor_file, "write", slow)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open()


def test_training_changes_its_weights_while_they_are_written(tmp_path: Path, gate: Gate) -> None:
    told, weights = Told(), torch.ones(4)
    with Saver(RunDirectory(tmp_path), told) as saver:
        saver.save(snapshot(1, weights), since=time.perf_counter())
        assert gate.reached.wait(PATIENCE_S)
        weights.zero_()
        saver.check()
        assert told.epochs == []
        gate.open()
    assert told.epochs == [1], "leaving it waits for the last one"
    found = checkpoints.last(tmp_path / "checkpoints")
    assert found is not None
    assert torch.equal(found.tensors(FILE)["w"], torch.ones(4))


def test_a_save_waits_for_the_one_before_and_none_is_left_out(tmp_path: Path, gate: Gate) -> None:
    told = Told()
    with Saver(RunDirectory(tmp_path), told) as saver:
        saver.save(snapshot(1, torch.ones(4), score=0.1), since=time.perf_counter())
        second = threading.Thread(
            target=lambda: saver.save(snapshot(2, torch.zeros(4), score=0.2), since=time.perf_counter())
        )
        second.start()
        second.join(0.1)
        assert second.is_alive(), "there is one copy in memory, and it is being written"
        gate.open()
        second.join()
    assert told.epochs == [1, 2]
    assert told.best == [True, False]
    best = checkpoints.best(tmp_path / "checkpoints")
    assert best is not None
    assert torch.equal(best.tensors(FILE)["w"], torch.ones(4)), "its copy was not overwritten by the second"


def test_what_stops_training_is_not_hidden_by_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> tensor_file.Written:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tensor_file, "write", full)

    def fail() -> None:
        with Saver(RunDirectory(tmp_path), Told()) as saver:
            saver.save(snapshot(1, torch.ones(4)), since=time.perf_counter())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


class FillsTheDisk(EventWriter):
    """After the first epoch's checkpoint no file may grow beyond some kilobytes."""

    def write(self, kind: EventType, **fields: Any) -> Any:
        event = super().write(kind, **fields)
        if kind is EventType.CHECKPOINT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (32 * 1024, resource.RLIM_INFINITY))
        return event


def test_a_full_disk_stops_the_run_which_goes_on_once_there_is_room(
    tmp_path: Path, datasets: Datasets, finished: tuple[TrainingJob, object]
) -> None:
    job = make_job(tmp_path / "run", datasets)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with FillsTheDisk(job.run_dir.events_path) as sink, pytest.raises(StoreError) as raised:
            train(job, sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.message == "the checkpoint operator-0002 cannot be written: no space left"
    assert "free some space" in raised.value.hint
    assert raised.value.exit_code == 6
    assert [path.name for path in job.run_dir.checkpoints.iterdir()] == ["operator-0001"]
    run_job(job)
    assert curve(job, "train") == curve(finished[0], "train")
    assert same_weights(job, finished[0])


_KILLED_IN_MID_FILE = """
import os, pickle, signal, sys
from ups.events import EventWriter
from ups.models import tensor_file
from ups.training.job import TrainingJob
from ups.training.run import train

write, calls = tensor_file.write, []

def mortal(path, tensors):
    calls.append(path)
    written = write(path, tensors)
    if len(calls) == int(sys.argv[2]):
        os.truncate(path, written.bytes // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    return written

tensor_file.write = mortal
job = TrainingJob(*pickle.load(open(sys.argv[1], "rb")))
with EventWriter(job.run_dir.events_path) as sink:
    train(job, sink)
"""


def test_killed_while_a_checkpoint_is_written_the_one_before_is_used(
    tmp_path: Path, datasets: Datasets, finished: tuple[TrainingJob, object]
) -> None:
    job = make_job(tmp_path / "run", datasets)
    job_file = tmp_path / "job.pickle"
    job_file.write_bytes(pickle.dumps((job.spec, job.run_dir, job.datasets, job.device)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    in_the_second_epochs = "6"  # two files each: at the start, and of each epoch
    process = subprocess.run(
        [sys.executable, "-c", _KILLED_IN_MID_FILE, str(job_file), in_the_second_epochs],
        env=environment, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    names = sorted(path.name for path in job.run_dir.checkpoints.iterdir())
    assert names == [".partial-operator-0002", "operator-0001"]
    assert [event.fields["epoch"] for event in events(job, EventType.CHECKPOINT)] == [1]
    run_job(job)
    (resumed,) = events(job, EventType.RESUMED)
    assert resumed.fields["checkpoint"] == "checkpoints/operator-0001"
    assert curve(job, "train") == curve(finished[0], "train")
    assert curve(job, "val") == curve(finished[0], "val")
    assert same_weights(job, finished[0])
