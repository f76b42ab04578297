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


def assert_same_curves(one: TrainingJob, other: TrainingJob, *, only: tuple[str, ...] = ()) -> None:
    """All values, or `only` those of these names, agree to 1e-4."""
    for split in ("train", "val"):
        first, second = curve(one, split), curve(other, split)
        assert first
        assert [point[:3] for point in first] == [point[:3] for point in second]
        for *_, values, found in [(*a, b[3]) for a, b in zip(first, second, strict=True)]:
            chosen = [name for name in values if not only or name in only]
            assert {name: found[name] for name in chosen} == pytest.approx(
                {name: values[name] for name in chosen}, rel=1e-4, abs=1e-4
            )


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


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_every_stage_and_loss_of_two_processes_is_that_of_one(
    tmp_path: Path, datasets: Datasets, strategy: str
) -> None:
    content = config_of(
        strategy, batch=4, use_inverse_losses=True, lambda_inv_enc=0.05, lambda_inv_dec=0.05,
        lambda_spectral=0.05, query_sampling={"enabled": True, "num_queries": 8, "strategy": "stratified"},
        physics_priors={"enabled": True, "lambda_boundary": 0.05, "lambda_latent_norm": 1e-3},
        rollout_curriculum={"enabled": True, "stages": [1, 2], "epoch_boundaries": [0, 1]},
        samples_per_epoch=24,
    ).model_dump(mode="json")  # fmt: skip
    content["stages"] |= {name: {"epochs": 1} for name in ("diff_residual", "consistency_distill")}
    content["diffusion"] = {"latent_dim": 16, "hidden_dim": 32}
    config = parse_train_config(content)
    one, two = make_job(tmp_path / "one", datasets, config), make_job(tmp_path / "two", datasets, config)
    run_job(one)
    code, printed = run_gang(two)
    assert code == 0, printed
    # the inverse losses of a codec that hardly loses anything are rounding
    assert_same_curves(one, two, only=("loss", "nrmse", "rollout_nrmse"))
    trained = {event.fields["stage"] for event in events(two, EventType.METRIC)}
    assert trained >= {"operator", "diff_residual", "consistency_distill"}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_tasks_join_two_processes_as_they_join_one(tmp_path: Path, datasets: Datasets, strategy: str) -> None:
    joining = {"enabled": True, "stages": [{"epochs": [0, 1], "tasks": ["darcy2d"]}]}
    config = config_of(strategy, samples_per_epoch=24, task_curriculum=joining)
    one, two = make_job(tmp_path / "one", datasets, config), make_job(tmp_path / "two", datasets, config)
    run_job(one)
    code, printed = run_gang(two)
    assert code == 0, printed
    assert_same_curves(one, two)
    assert {task for epoch, _, task, _ in curve(two, "val") if epoch == 2} >= {"advection1d", "darcy2d"}


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
