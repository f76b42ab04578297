"""An interrupted run computes what the uninterrupted one would have, to the last bit."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config
from ups.errors import TrainingError
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.training.job import TrainingJob

Datasets = dict[str, dict[str, Path]]
_RICH = {"ema_decay": 0.9, "accum_steps": 2}


def same_weights(first: TrainingJob, second: TrainingJob) -> bool:
    one, other = (checkpoints.last(job.run_dir.checkpoints) for job in (first, second))
    assert one is not None
    assert other is not None
    return all(
        one.state["files"][name]["sha256"] == other.state["files"][name]["sha256"]
        for name in one.state["files"]
    )


def test_stopping_after_every_epoch_changes_nothing(tmp_path: Path, datasets: Datasets) -> None:
    config = tiny_config(**_RICH)
    whole = make_job(tmp_path / "whole", datasets, config)
    run_job(whole)
    parts = make_job(tmp_path / "parts", datasets, config, should_stop=lambda: True)
    statuses = [run_job(parts).status for _ in range(3)]
    assert statuses == ["stopped", "stopped", "finished"]
    assert [event.fields["epoch"] for event in events(parts, EventType.RESUMED)] == [1, 2]
    assert curve(parts, "train") == curve(whole, "train")
    assert curve(parts, "val") == curve(whole, "val")
    assert same_weights(parts, whole)


_PROGRAM = """
import pickle, sys, time
from ups.events import EventWriter
from ups.training.job import TrainingJob
from ups.training.run import train

job = TrainingJob(*pickle.load(open(sys.argv[1], "rb")))

class Slow(EventWriter):
    def write(self, kind, **fields):
        super().write(kind, **fields)
        time.sleep(0.05)

with Slow(job.run_dir.events_path) as sink:
    train(job, sink)
"""


@pytest.mark.parametrize("points", [1, 5, 14])
def test_killed_in_mid_epoch_and_started_again_changes_nothing(
    tmp_path: Path, datasets: Datasets, finished: tuple[TrainingJob, object], points: int
) -> None:
    job = make_job(tmp_path / "run", datasets)
    job_file = tmp_path / "job.pickle"
    job_file.write_bytes(pickle.dumps((job.spec, job.run_dir, job.datasets, job.device)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(job_file)], env=environment)
    deadline = time.monotonic() + PATIENCE_S
    while len(events(job, EventType.METRIC)) < points and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(events(job, EventType.METRIC)) >= points
    run_job(job)
    assert events(job, EventType.RESUMED)
    assert curve(job, "train") == curve(finished[0], "train")
    assert curve(job, "val") == curve(finished[0], "val")
    assert same_weights(job, finished[0])


def test_checkpoint_of_another_config_is_refused(tmp_path: Path, datasets: Datasets) -> None:
    run_job(make_job(tmp_path / "run", datasets, should_stop=lambda: True))
    with pytest.raises(TrainingError, match="another config"):
        run_job(make_job(tmp_path / "run", datasets, tiny_config(noise=0.5)))


def test_damaged_checkpoint_means_starting_over_and_saying_so(
    tmp_path: Path, datasets: Datasets, finished: tuple[TrainingJob, object]
) -> None:
    job = make_job(tmp_path / "run", datasets, should_stop=lambda: True)
    run_job(job)
    for path in job.run_dir.checkpoints.iterdir():
        (path / "model.safetensors").write_bytes(b"torn")
    run_job(make_job(tmp_path / "run", datasets))
    resumed = events(job, EventType.RESUMED)[-1].fields
    assert (resumed["epoch"], resumed["step"], resumed["checkpoint"]) == (0, 0, None)
    assert curve(job, "train") == curve(finished[0], "train")
