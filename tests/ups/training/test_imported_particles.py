"""Particles from LagrangeBench's own files, in two and in three dimensions, trained on and judged."""

import json
from pathlib import Path

import numpy as np
import pytest

from console.tui.drawing.rollout import draw_frame, read_rollout
from tests.ups.data.test_lagrange import LENNARD_JONES, TASK, VORTEX, imported
from tests.ups.training.jobs import events, make_job, run_job
from ups.config import Evaluation, TrainConfig, parse_train_config
from ups.data.point_fields import PointFields
from ups.errors import DataError
from ups.evaluation.predictor import load
from ups.evaluation.report import evaluate
from ups.evaluation.rollout import roll, trajectories
from ups.events import EventType
from ups.training.job import TrainingJob

FOLDERS = (VORTEX, LENNARD_JONES)


def held_out(job: TrainingJob) -> PointFields:
    return PointFields.open(Path(job.datasets[TASK]["test"]))


def config() -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": [TASK], "supernodes": 64},
            "latent": {"dim": 16, "tokens": 16},
            "operator": {"pdet": {"input_dim": 16, "hidden_dim": 32, "num_heads": 2, "depth": 1}},
            "training": {
                "batch_size": 2, "samples_per_epoch": 16, "log_every": 4, "transport_skip": "off",
                "refinement": {"channels": 6, "layers": 1},
                "physics_priors": {"enabled": True, "lambda_conservation": 0.1, "lambda_latent_norm": 1e-4},
            },
            "stages": {"operator": {"epochs": 2, "optimizer": {"lr": 1e-2}}},
            "evaluation": {"validation_samples": 1},
        }
    )  # fmt: skip


@pytest.fixture(scope="module", params=FOLDERS, ids=["2-D", "3-D"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    folder = tmp_path_factory.mktemp("run")
    fields = imported(folder / "store", request.param)
    datasets = {TASK: {split: own.path for split, own in fields.items()}}
    job = make_job(folder / "run", datasets, config())
    assert run_job(job).status == "finished"
    return job


def test_report_is_of_the_files_own_vectors(trained: TrainingJob) -> None:
    settings = Evaluation(symmetric_average=True, rollout_steps=4, batch_size=2)
    report = evaluate(trained.run_dir.checkpoints, trained.datasets, ["test"], settings, "cpu")
    json.dumps(report, allow_nan=False)
    figures = report["splits"]["test"]["tasks"][TASK]
    assert figures["steps"] == 4
    assert figures["one_step"] > 0
    assert figures["symmetric_average"]


def test_rollouts_stay_in_the_files_own_box_and_can_be_drawn(trained: TrainingJob) -> None:
    predictor = load(trained.run_dir.checkpoints, "cpu")
    fields = held_out(trained)
    given = next(trajectories(fields, predictor, batch_size=1))
    states, positions = roll(predictor, given)
    assert states.shape[-1] == fields.spec.spatial_dims
    assert positions is not None
    low, high = np.array(fields.spec.domain).T
    assert (positions.numpy() >= low).all()
    assert (positions.numpy() <= high).all()
    if high[0] > 1:
        assert positions.max() > 1
    [event] = list(events(trained, EventType.ROLLOUT))[-1:]
    view = read_rollout(trained.run_dir.root / event.fields["path"], event.fields)
    assert view.fields == fields.spec.fields
    assert draw_frame(view, 0, 0, 60, 12)


def test_checkpoint_knows_its_box_and_refuses_another(trained: TrainingJob, tmp_path: Path) -> None:
    own = held_out(trained).spec
    predictor = load(trained.run_dir.checkpoints, "cpu")
    assert predictor.model.head(TASK).task.spec == own
    other = next(folder for folder in FOLDERS if imported(tmp_path / folder.name, folder)["test"].spec != own)
    with pytest.raises(DataError, match="lies in the domain"):
        predictor.check(imported(tmp_path / "other", other)["test"])
