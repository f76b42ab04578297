"""Encoders that cannot keep a whole patch: fitted to the train split, and honest about the rest."""

from pathlib import Path

import numpy as np
import pytest

from tests.ups.converted import write_converted
from tests.ups.training.jobs import events, make_job, run_job, tiny_config
from ups.config import TrainConfig, parse_train_config
from ups.evaluation.report import evaluate
from ups.events import EventType
from ups.models.operator import LatentOperator
from ups.training.bases import reconstruction_floor
from ups.training.setup import new_operator, open_data

Datasets = dict[str, dict[str, Path]]


def config(task: str, **keys: object) -> TrainConfig:
    """Two steps of one task, a token of 8 dimensions, a target that an encoder can miss."""
    return parse_train_config(
        {
            "data": {"task": task, "patch_size": keys.pop("pool", 1)},
            "latent": {"dim": 8, "tokens": keys.pop("tokens", 2)},
            "operator": {"pdet": {"input_dim": 8, "hidden_dim": 24, "num_heads": 2, "depth": 1}},
            "training": {
                "batch_size": 2, "samples_per_epoch": 4, "refinement": {"channels": 2, "layers": 2},
                **keys,
            },
            "stages": {"operator": {"epochs": 1}},
            "target_nrmse": 0.1,
        }
    )  # fmt: skip


def cube(folder: Path) -> Datasets:
    random = np.random.default_rng(0)
    files = {
        split: write_converted(
            folder / f"compressible_ns3d_{split}.h5", "compressible_ns3d", split,
            {"states": 2 + random.normal(size=(samples, 3, 8, 8, 8, 5))}, np.full((samples, 3), 0.1), dt=0.05,
        )
        for split, samples in (("train", 3), ("val", 2), ("test", 2))
    }  # fmt: skip
    return {"compressible_ns3d": files}


def noise(folder: Path) -> Datasets:
    """Fields in as many directions as they have cells: of three waves one token leaves nothing out."""
    random = np.random.default_rng(0)
    files = {
        split: write_converted(
            folder / f"advection1d_{split}.h5", "advection1d", split,
            {"states": random.normal(size=(samples, 9, 32, 1))}, np.full((samples, 1), 0.4), dt=0.05,
        )
        for split, samples in (("train", 8), ("val", 4), ("test", 4))
    }  # fmt: skip
    return {"advection1d": files}


def untrained(settings: TrainConfig, datasets: Datasets) -> LatentOperator:
    return new_operator(settings, open_data(settings, datasets), 0)[0]


@pytest.mark.parametrize(("task", "numbers"), [("advection1d", (1, 2, 64)), ("darcy2d", (1, 4, 64))])
def test_floor_falls_with_more_tokens_until_nothing_is_left_out(
    tmp_path: Path, datasets: Datasets, task: str, numbers: tuple[int, ...]
) -> None:
    files = {**datasets, **noise(tmp_path)}
    floors = []
    for tokens in numbers:
        settings = config(task, tokens=tokens)
        data = open_data(settings, files)
        floors.append(reconstruction_floor(untrained(settings, files), data[task].validation, samples=4))
    assert floors[0] > 1.1 * floors[1] > floors[2]
    assert floors[2] < 1e-5


def test_basis_suits_fields_that_training_has_not_seen(datasets: Datasets) -> None:
    """Three waves have seven directions, wherever augmentation shifts them."""
    settings = config("advection1d", tokens=1)
    validation = open_data(settings, datasets)["advection1d"].validation
    assert reconstruction_floor(untrained(settings, datasets), validation, samples=4) < 1e-5


def test_large_floor_is_warned_of_and_stands_in_the_report(tmp_path: Path, datasets: Datasets) -> None:
    files = {"darcy2d": datasets["darcy2d"]}
    job = make_job(tmp_path / "run", files, config("darcy2d"))
    found = run_job(job)
    (warning,) = events(job, EventType.WARNING)
    assert warning.fields["code"] == "reconstruction"
    assert "darcy2d" in warning.fields["message"]
    report = evaluate(found.checkpoint, files, ["val"], job.spec.config.evaluation, "cpu")
    figure = report["splits"]["val"]["tasks"]["darcy2d"]["reconstruction"]
    assert f"{figure:.3g}" in warning.fields["message"]


def test_encoder_that_keeps_everything_is_no_reason_for_a_warning(tmp_path: Path, datasets: Datasets) -> None:
    files = {"darcy2d": datasets["darcy2d"]}
    job = make_job(tmp_path / "run", files, config("darcy2d", tokens=64))
    run_job(job)
    assert events(job, EventType.WARNING) == []


@pytest.mark.parametrize("pool", [1, 2])
def test_cube_is_trained_and_evaluated(tmp_path: Path, pool: int) -> None:
    files = cube(tmp_path)
    job = make_job(tmp_path / "run", files, config("compressible_ns3d", pool=pool, tokens=64))
    result = run_job(job)
    settings = job.spec.config.evaluation.model_copy(update={"symmetric_average": False})
    task = evaluate(result.checkpoint, files, ["test"], settings, "cpu")["splits"]["test"]["tasks"]
    assert 0 < task["compressible_ns3d"]["one_step"] < 10


def test_projected_state_is_trained_with_pooling(tmp_path: Path, datasets: Datasets) -> None:
    files = {"advection1d": datasets["advection1d"]}
    settings = tiny_config().model_copy(update={"data": config("advection1d", pool=2).data})
    result = run_job(make_job(tmp_path / "run", files, settings))
    assert result.score is not None
    assert result.score < 0.5
