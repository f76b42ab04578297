"""Meshes and particles from made data to a report, in one operator with a grid task."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from console.tui.drawing.rollout import draw_frame, read_rollout
from tests.ups.converted import write_advection
from tests.ups.point_files import write_points
from tests.ups.training.jobs import curve, events, make_job, run_job
from ups.config import Evaluation, TrainConfig, parse_train_config
from ups.data.split import open_split, pairs_of
from ups.errors import ConfigError, DataError
from ups.evaluation import predictions
from ups.evaluation.predictor import load
from ups.evaluation.report import evaluate
from ups.evaluation.rollout import roll, trajectories
from ups.events import EventType
from ups.models.geometry import carried
from ups.physics import symmetries, vector_channels
from ups.tasks import task_spec
from ups.training.augment import augmented, to_device
from ups.training.job import TrainingJob
from ups.training.setup import new_operator, open_data

POINT_TASKS = ("darcy2d_mesh", "particles_advect")
Datasets = dict[str, dict[str, Path]]


def small_config(**changes: dict[str, Any]) -> TrainConfig:
    content: dict[str, Any] = {
        "data": {"task": ["advection1d", *POINT_TASKS], "supernodes": 128},
        "latent": {"dim": 16, "tokens": 16},
        "operator": {"pdet": {"input_dim": 16, "hidden_dim": 32, "num_heads": 2, "depth": 2}},
        "training": {
            "batch_size": 2, "samples_per_epoch": 24, "log_every": 4, "transport_skip": "off",
            "refinement": {"channels": 6, "layers": 2},
        },
        "stages": {"operator": {"epochs": 2, "optimizer": {"lr": 1e-2}}},
        "evaluation": {"validation_samples": 1},
    }  # fmt: skip
    for section, values in changes.items():
        content[section] = {**content[section], **values}
    return parse_train_config(content)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Datasets:
    folder = tmp_path_factory.mktemp("data")
    return {
        "advection1d": write_advection(folder),
        **{task: write_points(folder, task) for task in POINT_TASKS},
    }


@pytest.fixture(scope="module")
def trained(datasets: Datasets, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
    job = make_job(tmp_path_factory.mktemp("run"), datasets, small_config())
    assert run_job(job).status == "finished"
    return job


def test_every_task_has_a_curve_of_its_own(trained: TrainingJob) -> None:
    losses = {task: values["loss"] for _, _, task, values in curve(trained, "train")}
    assert set(losses) == {"advection1d", *POINT_TASKS}
    assert len(set(losses.values())) == 3


def test_report_stands_beside_persistence_and_leaves_out_what_needs_a_grid(
    trained: TrainingJob, datasets: Datasets
) -> None:
    settings = Evaluation(symmetric_average=True, rollout_steps=2, batch_size=2)
    report = evaluate(trained.run_dir.checkpoints, datasets, ["test"], settings, "cpu")
    json.dumps(report, allow_nan=False)
    tasks = report["splits"]["test"]["tasks"]
    for task in POINT_TASKS:
        assert tasks[task]["pdebench"] is None
        assert tasks[task]["symmetric_average"]
        assert tasks[task]["persistence_one_step"] > 0
    assert tasks["particles_advect"]["steps"] == 2
    assert tasks["advection1d"]["pdebench"] is not None
    assert tasks["darcy2d_mesh"]["one_step"] < tasks["darcy2d_mesh"]["persistence_one_step"]


def test_rollout_files_hold_the_points_and_can_be_drawn(trained: TrainingJob, datasets: Datasets) -> None:
    written = {event.fields["task"]: event.fields for event in events(trained, EventType.ROLLOUT)}
    for task in POINT_TASKS:
        path = trained.run_dir.root / written[task]["path"]
        fields = open_split(datasets[task]["val"])
        with np.load(path) as content:
            frames, points = content["true"].shape[:2]
            assert content["positions"].shape == (frames, points, 2)
            assert content["offsets"].tolist() == [0, points]
            assert (len(content["cells"]) > 0) == (task == "darcy2d_mesh")
            moved = np.abs(content["pred_positions"] - content["positions"]).max() > 0
            assert moved == (task == "particles_advect")
            assert points == fields.block(0).samples[0].points
        view = read_rollout(path, written[task])
        text = "".join(part for row in draw_frame(view, frames - 1, 0, 60, 12) for part, _ in row)
        assert "prediction" in text
        assert "▀" in text


@pytest.mark.parametrize("task", POINT_TASKS)
def test_predictions_can_be_scored_by_anyone(
    trained: TrainingJob, datasets: Datasets, tmp_path: Path, task: str
) -> None:
    output = tmp_path / "out.npz"
    settings = Evaluation(rollout_steps=3, batch_size=2)
    predictions.write(trained.run_dir.checkpoints, datasets[task]["train"], task, output, settings=settings)
    report = evaluate(
        trained.run_dir.checkpoints, {task: {"test": datasets[task]["train"]}}, ["test"], settings, "cpu"
    )
    with np.load(output) as content:
        offsets = content["point_offsets"]
        errors = []
        for first, end in itertools.pairwise(offsets):
            true, predicted = (content[name][first:end].astype(np.float64) for name in ("true", "rollout"))
            scale = np.sqrt((true**2).sum(axis=(0, 2)))
            errors.append((np.sqrt(((predicted - true) ** 2).sum(axis=(0, 2))) / scale).mean())
        assert len(content["positions"]) == offsets[-1] == len(content["initial"])
        assert content["positions"].shape[:2] == content["true"].shape[:2]
    assert np.mean(errors) == pytest.approx(report["splits"]["test"]["tasks"][task]["rollout"], rel=1e-4)


def test_checkpoint_judges_meshes_of_any_size_and_refuses_other_tasks(
    trained: TrainingJob, datasets: Datasets, tmp_path: Path
) -> None:
    predictor = load(trained.run_dir.checkpoints, "cpu")
    predictor.check(open_split(datasets["darcy2d_mesh"]["test"]))
    spec = predictor.model.spec
    assert spec.tasks[1].num_tokens == 16
    config = small_config(data={"task": ["particles_advect"]})
    job = make_job(tmp_path / "other", datasets, config)
    model, _ = new_operator(config, open_data(config, job.datasets), 0)
    other = type(predictor)(model, {}, torch.device("cpu"), 1)
    with pytest.raises(DataError, match="knows only particles_advect"):
        other.check(open_split(datasets["darcy2d_mesh"]["test"]))


def test_exploding_rollout_is_counted_and_stops_nothing(trained: TrainingJob, datasets: Datasets) -> None:
    predictor = load(trained.run_dir.checkpoints, "cpu").unguarded()
    fields = open_split(datasets["particles_advect"]["test"])
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.mul_(1e4)
    given = next(trajectories(fields, predictor, batch_size=2))
    states, positions = roll(predictor, given)
    assert not states.isfinite().all() or states.abs().max() > 1e6
    assert positions is not None
    assert positions.isfinite().all()


def test_killed_run_goes_on_as_if_nothing_had_been(
    trained: TrainingJob, datasets: Datasets, tmp_path: Path
) -> None:
    stops = iter([True])
    job = make_job(tmp_path / "run", datasets, small_config(), lambda: next(stops, False))
    assert run_job(job).status == "stopped"
    assert run_job(job).status == "finished"
    assert curve(job, "train") == curve(trained, "train")
    assert curve(job, "val") == curve(trained, "val")


def test_latent_space_too_small_for_the_points_is_refused(datasets: Datasets) -> None:
    config = small_config(latent={"tokens": 1}, data={"task": ["darcy2d_mesh"]})
    with pytest.raises(ConfigError, match=r"points of darcy2d_mesh"):
        new_operator(config, open_data(config, datasets), 0)


class TestAugmentation:
    def test_moved_particles_have_the_velocities_with_which_they_move(self, datasets: Datasets) -> None:
        pairs = pairs_of(open_split(datasets["particles_advect"]["train"]))
        spec, random = task_spec("particles_advect"), np.random.default_rng(0)
        batch = to_device(pairs.take(np.array([0, 1]), np.array([0, 3]), 1), "cpu")
        later = to_device(pairs.take(np.array([0, 1]), np.array([1, 4]), 1), "cpu")
        assert batch.geometry is not None
        assert later.geometry is not None
        for _ in range(5):
            state = random.bit_generator.state
            first = augmented(batch, random)
            random.bit_generator.state = state  # the same map and shifts
            then = augmented(later, random)
            assert first.geometry is not None
            assert then.geometry is not None
            there = carried(first.geometry, first.inputs, first.targets[:, 0], first.dt, spec)
            off = there.positions - then.geometry.positions
            off = (off - off.round()).norm(dim=-1)[first.geometry.mask]
            assert off.max() < 2e-3  # the trapezoidal rule's own error, a tenth of a step

    def test_symmetric_images_come_back(self, datasets: Datasets) -> None:
        spec = task_spec("particles_advect")
        positions, field = torch.rand(2, 9, 2), torch.randn(2, 9, 2)
        vector = vector_channels(spec, spec.fields)
        maps = symmetries(spec, (1, 1))
        assert len(maps) == 8
        for symmetry in maps:
            back = symmetry.inverse()
            moved = symmetry.move(positions, spec.domain)
            assert torch.allclose(back.move(moved, spec.domain), positions, atol=1e-6)
            assert torch.equal(back.turn(symmetry.turn(field, vector), vector), field)


def test_windows_of_several_steps_are_unrolled_with_moving_particles(
    datasets: Datasets, tmp_path: Path
) -> None:
    rollout = {"enabled": True, "stages": [3], "epoch_boundaries": [0]}
    config = small_config(
        data={"task": ["particles_advect"]}, training={"rollout_curriculum": rollout, "samples_per_epoch": 8}
    )
    job = make_job(tmp_path / "run", datasets, config)
    assert run_job(job).status == "finished"


def test_supernodes_too_few_for_the_target_are_said_out_loud(datasets: Datasets, tmp_path: Path) -> None:
    config = small_config(
        data={"task": ["darcy2d_mesh"], "supernodes": 16}, training={"samples_per_epoch": 4}
    ).model_copy(update={"target_nrmse": 0.05})
    job = make_job(tmp_path / "run", datasets, config)
    run_job(job)
    (warning,) = [
        event for event in events(job, EventType.WARNING) if event.fields["code"] == "reconstruction"
    ]
    assert "darcy2d_mesh" in warning.fields["message"]
