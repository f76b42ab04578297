"""`train`: what it learns, what it says, what it leaves behind, and how it fails."""

import hashlib
import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ups.training.jobs import EPOCHS, curve, events, make_job, run_job, tiny_config
from ups.config import parse_train_config
from ups.errors import ConfigError, DataError, TrainingError
from ups.events import EventType
from ups.training.job import TrainingJob, TrainingResult

Datasets = dict[str, dict[str, Path]]
Finished = tuple[TrainingJob, TrainingResult]


def test_both_tasks_learn(finished: Finished) -> None:
    points = curve(finished[0], "val")
    for task in ("advection1d", "darcy2d"):
        values = [values for _, _, name, values in points if name == task]
        assert len(values) == EPOCHS
        assert values[-1]["nrmse"] < 0.9 * values[-1]["persistence"]


def test_every_task_has_its_own_train_curve(finished: Finished) -> None:
    points = curve(finished[0], "train")
    losses = {
        task: [v["loss"] for _, _, name, v in points if name == task] for task in ("advection1d", "darcy2d")
    }
    assert min(map(len, losses.values())) >= 2 * EPOCHS
    assert not set(losses["advection1d"]) & set(losses["darcy2d"])
    assert all({"loss", "lr", "grad_norm", "share"} <= set(values) for *_, values in points)
    ends = {epoch: step for epoch, step, _, _ in points}
    shares = [values["share"] for epoch, step, _, values in points if step == ends[epoch]]
    assert all(0.3 < share < 0.7 for share in shares)


def test_aggregate_is_the_mean_of_the_tasks(finished: Finished) -> None:
    points = curve(finished[0], "val")
    for epoch in range(1, EPOCHS + 1):
        tasks = [v["nrmse"] for e, _, task, v in points if e == epoch and task is not None]
        (aggregate,) = (v["nrmse"] for e, _, task, v in points if e == epoch and task is None)
        assert aggregate == pytest.approx(np.mean(tasks))


def test_checkpoints_are_announced_with_what_a_mirror_needs(finished: Finished) -> None:
    job, result = finished
    announced = events(job, EventType.CHECKPOINT)
    assert [event.fields["epoch"] for event in announced] == [1, 2, 3]
    last = announced[-1].fields
    folder = job.run_dir.root / last["path"]
    assert hashlib.sha256((folder / "state.json").read_bytes()).hexdigest() == last["sha256"]
    assert sum(file.stat().st_size for file in folder.iterdir()) == last["bytes"]
    for name, file in last["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"]
    best = [event.fields["path"] for event in announced if event.fields["best"]][-1]
    assert result.checkpoint == job.run_dir.root / best
    assert len(list(job.run_dir.checkpoints.iterdir())) <= 2


def test_rollouts_can_be_looked_at(finished: Finished) -> None:
    job, _ = finished
    written = events(job, EventType.ROLLOUT)
    assert {event.fields["task"] for event in written} == {"advection1d", "darcy2d"}
    for event in written:
        with np.load(job.run_dir.root / event.fields["path"]) as content:
            pred, true, meta = content["pred"], content["true"], json.loads(str(content["meta"]))
            assert pred.shape == true.shape == (len(content["times"]), *pred.shape[1:])
            assert pred.dtype == np.float16
            assert meta["task"] == event.fields["task"]
            assert meta["static"] == (meta["task"] == "darcy2d")
            difference = pred.astype(np.float64) - true
            errors = [
                np.linalg.norm(d) / np.linalg.norm(t.astype(np.float64))
                for d, t in zip(difference, true, strict=True)
            ]
            assert np.mean(errors) == pytest.approx(event.fields["nrmse"], rel=0.02)


def test_progress_reaches_the_end(finished: Finished) -> None:
    last = events(finished[0], EventType.PROGRESS)[-1].fields
    assert last["phase"] == "train"
    assert last["done"] == last["total"] == 48 * EPOCHS


def test_finished_run_is_not_trained_again(finished: Finished) -> None:
    job, result = finished
    before = len(events(job, EventType.METRIC))
    assert run_job(job).checkpoint == result.checkpoint
    assert len(events(job, EventType.METRIC)) == before


def test_average_of_the_weights_is_kept_and_used_only_where_it_is_better(
    tmp_path: Path, datasets: Datasets
) -> None:
    job = make_job(tmp_path / "run", datasets, tiny_config(ema_decay=0.9, accum_steps=2))
    folder = run_job(job).checkpoint
    state = json.loads((folder / "state.json").read_text())
    assert "ema.safetensors" in state["files"]
    assert isinstance(state["use_ema"], bool)


def test_patience_ends_a_stage(tmp_path: Path, datasets: Datasets) -> None:
    config = tiny_config(patience=1, warmup=0.0, noise=100.0)
    result = run_job(make_job(tmp_path / "run", datasets, config))
    assert result.status == "finished"
    assert result.epochs <= EPOCHS


def test_loss_that_is_not_finite_stops_the_run_and_names_the_samples(
    tmp_path: Path, datasets: Datasets
) -> None:
    job = make_job(tmp_path / "run", datasets, tiny_config(noise=1e38))
    with pytest.raises(TrainingError, match=r"the loss of \w+ is (nan|inf) at step \d") as caught:
        run_job(job)
    record = json.loads((job.run_dir.root / "nonfinite.json").read_text())
    assert record["task"] in caught.value.message
    assert len(record["samples"]) == len(record["frames"]) == 4
    assert not math.isfinite(float(record["loss"]))


def test_data_that_are_not_finite_are_refused(tmp_path: Path, datasets: Datasets) -> None:
    damaged = tmp_path / "advection1d_train.h5"
    damaged.write_bytes(datasets["advection1d"]["train"].read_bytes())
    with h5py.File(damaged, "r+") as file:
        file["states"][0, 0, 0, 0] = np.nan
    files = {**datasets, "advection1d": {**datasets["advection1d"], "train": damaged}}
    with pytest.raises(DataError, match="not finite"):
        run_job(make_job(tmp_path / "run", files))


def test_missing_validation_split_is_refused(tmp_path: Path, datasets: Datasets) -> None:
    files = {**datasets, "darcy2d": {"train": datasets["darcy2d"]["train"]}}
    with pytest.raises(DataError, match="no val split of darcy2d"):
        run_job(make_job(tmp_path / "run", files))


def test_stride_too_long_for_the_data_is_refused(tmp_path: Path, datasets: Datasets) -> None:
    with pytest.raises(DataError, match="no pair of states 9 frames apart"):
        run_job(make_job(tmp_path / "run", datasets, tiny_config(time_stride=9)))


def test_batch_larger_than_the_data_is_refused(tmp_path: Path, datasets: Datasets) -> None:
    config = tiny_config(batch_size={"darcy2d": 64, "default": 4})
    with pytest.raises(
        DataError, match=r"a batch of 64 is larger than the train split of darcy2d.* 12 pairs"
    ):
        run_job(make_job(tmp_path / "run", datasets, config))


def test_unsupported_config_is_refused_before_anything_is_written(tmp_path: Path, datasets: Datasets) -> None:
    content = tiny_config().model_dump(mode="json")
    content["encoder"] = {"learning_rate": 1e-3}  # of a codec that learns nothing
    job = make_job(tmp_path / "run", datasets, parse_train_config(content))
    with pytest.raises(ConfigError, match=r"encoder\.learning_rate"):
        run_job(job)
    assert not job.run_dir.checkpoints.exists()
