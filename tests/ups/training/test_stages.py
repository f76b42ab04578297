"""The stages after the operator's: what they train, beside what, and whose weights a run ends with."""

from pathlib import Path
from typing import Any

import pytest

from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config
from ups.config import TrainConfig, parse_train_config
from ups.course import control_of, course
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.models.checkpoint import MODEL_FILE, Checkpoint
from ups.models.companions import operator_sha256
from ups.training import ledger as ledgers
from ups.training.job import TrainingJob, TrainingResult

Datasets = dict[str, dict[str, Path]]
Run = tuple[TrainingJob, TrainingResult]
TASKS = ("advection1d", "darcy2d")
LATER = ("diff_residual", "consistency_distill")
ALL = course(LATER)


def staged_config(**training: Any) -> TrainConfig:
    """All three stages, of two epochs each."""
    content = tiny_config(**training).model_dump(mode="json")
    content["diffusion"] = {"latent_dim": 16, "hidden_dim": 32}
    content["stages"]["operator"]["epochs"] = 2
    for stage in LATER:
        content["stages"][stage] = {"epochs": 2, "optimizer": {"lr": 3e-3}}
    return parse_train_config(content)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, datasets: Datasets) -> Run:
    job = make_job(tmp_path_factory.mktemp("staged"), datasets, staged_config(ema_decay=0.9))
    return job, run_job(job)


def best(job: TrainingJob, stage: str | None = None) -> Checkpoint:
    found = checkpoints.best(job.run_dir.checkpoints, stage)
    assert found is not None
    return found


def points(job: TrainingJob, stage: str, split: str) -> list[dict[str, Any]]:
    found = [event.fields for event in events(job, EventType.METRIC)]
    return [dict(fields) for fields in found if (fields["stage"], fields["split"]) == (stage, split)]


@pytest.mark.parametrize("stage", ALL)
def test_every_stage_has_a_curve_of_each_task(run: Run, stage: str) -> None:
    for split in ("train", "val"):
        of_tasks = {
            task: [p["values"] for p in points(run[0], stage, split) if p["task"] == task] for task in TASKS
        }
        assert all(of_tasks.values())
        name = "loss" if split == "train" else "nrmse"
        assert {v[name] for v in of_tasks["advection1d"]}.isdisjoint(v[name] for v in of_tasks["darcy2d"])


@pytest.mark.parametrize("stage", LATER)
def test_corrector_learns_and_is_validated_beside_its_operator(run: Run, stage: str) -> None:
    operator = best(run[0], "operator").state["progress"]["nrmse"]
    for point in points(run[0], stage, "val"):
        if point["task"] is not None:
            assert point["values"]["operator_nrmse"] == operator[point["task"]]
    losses = [p["values"] for p in points(run[0], stage, "train")]
    assert {"critic", "denoising" if stage == "diff_residual" else "consistency"} <= set(losses[0])


@pytest.mark.parametrize("stage", LATER)
def test_checkpoint_of_a_later_stage_is_whole_and_its_operator_has_not_moved(run: Run, stage: str) -> None:
    found, operator = best(run[0], stage), best(run[0], "operator")
    assert MODEL_FILE in found.state["files"]
    assert operator_sha256(found) == operator_sha256(operator)
    assert found.state["corrector"]["steps"] == (4 if stage == "diff_residual" else 1)


def test_weights_of_the_best_validation_are_used_whatever_their_stage(run: Run) -> None:
    job, result = run
    records = ledgers.read(job.run_dir)
    assert tuple(records) == ALL
    scores = {stage: record.score for stage, record in records.items()}
    winner = min(scores, key=lambda stage: scores[stage] or float("inf"))
    assert best(job).stage == winner
    assert result.checkpoint == best(job, winner).path
    shown = ledgers.comparison(records, winner)
    assert set(shown) == {"operator", *LATER}
    used = [shown["operator"]["used"]]
    used += [
        content["used"] for name in LATER for content in (shown[name], shown[name]["operator_continued"])
    ]
    assert sum(used) == 1


def test_corrector_that_is_worse_is_not_used(tmp_path: Path, datasets: Datasets) -> None:
    """A rate far too high ruins the corrector, and the operator's weights stay."""
    content = staged_config().model_dump(mode="json")
    del content["stages"]["consistency_distill"]
    content["stages"]["diff_residual"]["optimizer"] = {"lr": 3.0}
    job = make_job(tmp_path / "run", datasets, parse_train_config(content))
    result = run_job(job)
    records = ledgers.read(job.run_dir)
    assert (records["diff_residual"].score or 9e9) > (records["operator"].score or 0)
    assert result.checkpoint.name.startswith(("operator-", "diff_residual_control-"))
    assert not ledgers.comparison(records, best(job).stage)["diff_residual"]["used"]


@pytest.mark.parametrize("stage", LATER)
def test_control_spends_the_compute_of_its_stage(run: Run, stage: str) -> None:
    records = ledgers.read(run[0].run_dir)
    spent, control = records[stage], records[control_of(stage)]
    one_step = 4 * control.flops / control.samples
    assert abs(control.flops - spent.flops) <= one_step
    assert control.seconds > 0


def test_run_interrupted_after_every_epoch_of_every_stage_ends_the_same(
    tmp_path: Path, datasets: Datasets, run: Run
) -> None:
    whole, parts = run[0], make_job(
        tmp_path / "parts", datasets, staged_config(ema_decay=0.9), should_stop=lambda: True
    )  # fmt: skip
    statuses = [run_job(parts).status]
    while statuses[-1] == "stopped":
        statuses.append(run_job(parts).status)
        assert len(statuses) < 40
    assert {event.fields["stage"] for event in events(parts, EventType.RESUMED)} == set(ALL)
    for split in ("train", "val"):
        assert curve(parts, split) == curve(whole, split)
    for stage in ALL:
        one, other = best(whole, stage), best(parts, stage)
        assert one.state["files"] == other.state["files"]
        mine, theirs = (ledgers.read(job.run_dir)[stage] for job in (whole, parts))
        assert (mine.samples, mine.flops, mine.nrmse) == (theirs.samples, theirs.flops, theirs.nrmse)


def test_finished_run_of_all_stages_is_not_trained_again(run: Run) -> None:
    before = len(events(run[0], EventType.METRIC))
    assert run_job(run[0]).checkpoint == run[1].checkpoint
    assert len(events(run[0], EventType.METRIC)) == before


def test_lost_ledger_of_a_finished_run_costs_nothing_but_its_figures(run: Run) -> None:
    run[0].run_dir.stages_path.rename(run[0].run_dir.root / "kept")
    try:
        assert run_job(run[0]).checkpoint == run[1].checkpoint
    finally:
        (run[0].run_dir.root / "kept").rename(run[0].run_dir.stages_path)


def test_progress_counts_all_stages_and_rollouts_are_not_overwritten(run: Run) -> None:
    done = [event.fields["done"] for event in events(run[0], EventType.PROGRESS)]
    assert done == sorted(done)
    paths = [event.fields["path"] for event in events(run[0], EventType.ROLLOUT)]
    assert len(paths) == len(set(paths))
