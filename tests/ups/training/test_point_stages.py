"""The later stages and test-time compute on meshes and particles, by the same code as on grids."""

from pathlib import Path

import pytest

from tests.ups.point_files import write_points
from tests.ups.training.jobs import make_job, run_job
from tests.ups.training.test_points import small_config
from ups.config import Evaluation, TrainConfig, Ttc, parse_train_config
from ups.evaluation.report import evaluate
from ups.models import checkpoint as checkpoints
from ups.training import ledger as ledgers
from ups.training.job import TrainingJob

Datasets = dict[str, dict[str, Path]]
TASKS = ("darcy2d_mesh", "particles_advect")


def staged_config() -> TrainConfig:
    """Meshes and particles through two stages of one epoch."""
    content = small_config().model_dump(mode="json")
    content["data"]["task"] = list(TASKS)
    content["diffusion"] = {"latent_dim": 16, "hidden_dim": content["operator"]["pdet"]["hidden_dim"]}
    content["stages"]["operator"]["epochs"] = 1
    content["stages"]["diff_residual"] = {"epochs": 1, "optimizer": {"lr": 3e-3}}
    return parse_train_config(content)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingJob, Datasets]:
    folder = tmp_path_factory.mktemp("points")
    datasets = {task: write_points(folder, task) for task in TASKS}
    job = make_job(tmp_path_factory.mktemp("run"), datasets, staged_config())
    run_job(job)
    return job, datasets


def test_corrector_learns_on_points(run: tuple[TrainingJob, Datasets]) -> None:
    record = ledgers.read(run[0].run_dir)["diff_residual"]
    assert set(record.nrmse) == set(TASKS)
    assert record.score is not None
    assert record.flops > 0


def test_search_looks_ahead_on_points_that_move(run: tuple[TrainingJob, Datasets]) -> None:
    found = checkpoints.best(run[0].run_dir.checkpoints, "diff_residual")
    assert found is not None
    ttc = Ttc(enabled=True, candidates=3, steps=2, beam=2, noise=0.05, weights={"critic": 1.0})
    report = evaluate(found.path, run[1], ("test",), Evaluation(rollout_steps=2), "cpu", ttc=ttc)
    figures = report["splits"]["test"]["ttc"]
    for task in TASKS:
        assert figures["search"][task] == {"candidates": 3, "terms": {"critic": 1.0}}
        for way in ("off", "average", "on"):
            assert figures[way]["tasks"][task] > 0
            assert figures[way]["rollout"]["tasks"][task] > 0
