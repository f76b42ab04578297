"""Several processes compute what one computes, and end together."""

from pathlib import Path
from typing import Any

import pytest

from tests.ups.training.gang import run_gang
from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config
from ups.config import TrainConfig, parse_train_config
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.training.job import TrainingJob

Datasets = dict[str, dict[str, Path]]


def config_of(strategy: str = "ddp", *, batch: int = 5, **training: Any) -> TrainConfig:
    """All that is drawn at random, two micro-batches a step, and batches that two cannot share evenly."""
    base = tiny_config(batch_size=batch, accum_steps=2, noise=0.05, ema_decay=0.9, **training)
    content = base.model_dump(mode="json")
    content["operator"]["pdet"] |= {"drop_path": 0.2, "dropout": 0.1}
    content["distributed"] = {"strategy": strategy}
    content["stages"]["operator"]["epochs"] = 2
    return parse_train_config(content)


def assert_same_curves(one: TrainingJob, other: TrainingJob) -> None:
    for split in ("train", "val"):
        first, second = curve(one, split), curve(other, split)
        assert first
        assert [point[:3] for point in first] == [point[:3] for point in second]
        for *_, values, found in [(*a, b[3]) for a, b in zip(first, second, strict=True)]:
            assert found == pytest.approx(values, rel=1e-4, abs=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, datasets: Datasets) -> TrainingJob:
    job = make_job(tmp_path_factory.mktemp("alone"), datasets, config_of())
    run_job(job)
    return job


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_write_the_curves_of_one(
    tmp_path: Path, datasets: Datasets, alone: TrainingJob, strategy: str
) -> None:
    job = make_job(tmp_path / "run", datasets, config_of(strategy))
    code, printed = run_gang(job)
    assert code == 0, printed
    assert_same_curves(alone, job)


def test_processes_without_a_sample_of_their_own_change_nothing(tmp_path: Path, datasets: Datasets) -> None:
    few = config_of(batch=2, samples_per_epoch=16)
    one, three = make_job(tmp_path / "one", datasets, few), make_job(tmp_path / "three", datasets, few)
    run_job(one)
    code, printed = run_gang(three, processes=3)
    assert code == 0, printed
    assert_same_curves(one, three)


def test_checkpoint_goes_on_under_another_strategy_and_number_of_processes(
    tmp_path: Path, datasets: Datasets, alone: TrainingJob
) -> None:
    """Alone for one epoch, then sharded: the config says so from the beginning."""
    config = config_of("fsdp2")
    run_job(make_job(tmp_path / "run", datasets, config, should_stop=lambda: True))
    job = make_job(tmp_path / "run", datasets, config)
    code, printed = run_gang(job)
    assert code == 0, printed
    assert [event.fields["epoch"] for event in events(job, EventType.RESUMED)] == [1]
    assert_same_curves(alone, job)
    one, other = (checkpoints.last(of.run_dir.checkpoints) for of in (alone, job))
    assert one is not None
    assert other is not None
    for file in one.state["files"]:
        expected, found = one.tensors(file), other.tensors(file)
        assert {key: value.shape for key, value in found.items()} == {
            key: value.shape for key, value in expected.items()
        }


def test_memory_that_runs_out_in_one_process_halves_the_micro_batches_of_all(
    tmp_path: Path, datasets: Datasets
) -> None:
    job = make_job(tmp_path / "run", datasets, config_of(batch=4))
    code, printed = run_gang(job, "memory")
    assert code == 0, printed
    assert [event.fields["code"] for event in events(job, EventType.WARNING)] == ["memory"]
    last = checkpoints.last(job.run_dir.checkpoints)
    assert last is not None
    assert last.state["progress"]["split"] == 2
