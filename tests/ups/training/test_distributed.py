"""Several processes compute what one computes, and end together."""

from collections.abc import Callable
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


def whole_config(strategy: str = "ddp") -> TrainConfig:
    """Every stage and every loss."""
    content = config_of(
        strategy, batch=4, use_inverse_losses=True, lambda_inv_enc=0.05, lambda_inv_dec=0.05,
        lambda_spectral=0.05, query_sampling={"enabled": True, "num_queries": 8, "strategy": "stratified"},
        physics_priors={"enabled": True, "lambda_boundary": 0.05, "lambda_latent_norm": 1e-3},
        rollout_curriculum={"enabled": True, "stages": [1, 2], "epoch_boundaries": [0, 1]},
        samples_per_epoch=24,
    ).model_dump(mode="json")  # fmt: skip
    content["stages"] |= {name: {"epochs": 1} for name in ("diff_residual", "consistency_distill")}
    content["diffusion"] = {"latent_dim": 16, "hidden_dim": 32}
    return parse_train_config(content)


def joining_config(strategy: str = "ddp") -> TrainConfig:
    """A task joins in the second epoch."""
    joining = {"enabled": True, "stages": [{"epochs": [0, 1], "tasks": ["darcy2d"]}]}
    return config_of(strategy, samples_per_epoch=24, task_curriculum=joining)


CONFIGS: dict[str, Callable[[str], TrainConfig]] = {
    "plain": config_of, "whole": whole_config, "joining": joining_config
}  # fmt: skip


@pytest.fixture(scope="module")
def singly(tmp_path_factory: pytest.TempPathFactory, datasets: Datasets) -> dict[str, TrainingJob]:
    """Each config, trained by one process."""
    folder = tmp_path_factory.mktemp("singly")
    jobs = {name: make_job(folder / name, datasets, config("ddp")) for name, config in CONFIGS.items()}
    for job in jobs.values():
        run_job(job)
    return jobs


@pytest.fixture(scope="module")
def alone(singly: dict[str, TrainingJob]) -> TrainingJob:
    return singly["plain"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_compute_what_one_does(
    tmp_path: Path, datasets: Datasets, singly: dict[str, TrainingJob], strategy: str
) -> None:
    jobs = {name: make_job(tmp_path / name, datasets, config(strategy)) for name, config in CONFIGS.items()}
    code, printed = run_gang(*jobs.values())
    assert code == 0, printed
    assert_same_curves(singly["plain"], jobs["plain"])
    # the inverse losses of a codec that hardly loses anything are rounding
    assert_same_curves(singly["whole"], jobs["whole"], only=("loss", "nrmse", "rollout_nrmse"))
    trained = {event.fields["stage"] for event in events(jobs["whole"], EventType.METRIC)}
    assert trained >= {"operator", "diff_residual", "consistency_distill"}
    assert_same_curves(singly["joining"], jobs["joining"])
    joined = curve(jobs["joining"], "val")
    assert {task for epoch, _, task, _ in joined if epoch == 2} >= {"advection1d", "darcy2d"}


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
    code, printed = run_gang(job, trouble="memory")
    assert code == 0, printed
    assert [event.fields["code"] for event in events(job, EventType.WARNING)] == ["memory"]
    last = checkpoints.last(job.run_dir.checkpoints)
    assert last is not None
    assert last.state["progress"]["split"] == 2
