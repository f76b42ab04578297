"""Reports and predictions of a trained checkpoint: the same figures twice, beside persistence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.ups.converted import advection, write_advection, write_converted
from tests.ups.training.jobs import make_job, run_job, tiny_config, tiny_datasets
from ups.config import EvalConfig, Evaluation, Ttc
from ups.data.fields import Fields
from ups.errors import DataError
from ups.evaluation import predictions
from ups.evaluation.predictor import load
from ups.evaluation.report import evaluate
from ups.physics import symmetries

Datasets = dict[str, dict[str, Path]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Datasets]:
    threads = torch.get_num_threads()
    datasets = tiny_datasets(tmp_path_factory.mktemp("data"))
    config = tiny_config(samples_per_epoch=96)
    checkpoint = run_job(make_job(tmp_path_factory.mktemp("run"), datasets, config)).checkpoint
    torch.set_num_threads(threads)
    return checkpoint, datasets


@pytest.fixture(scope="module")
def report(trained: tuple[Path, Datasets]) -> dict[str, Any]:
    return evaluate(*trained, ("val", "test"), Evaluation(batch_size=3), "cpu")


def test_report_is_json_and_has_what_the_design_says(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report["splits"]) == {"val", "test"}
    for split in report["splits"].values():
        assert set(split) == {"tasks", "aggregate", "ttc"}
        for task in split["tasks"].values():
            assert task["one_step"] > 0
            low, high = task["one_step_interval"]
            assert low <= task["one_step"] <= high
            assert task["skill"] == (task["one_step"] < task["persistence_one_step"])
            assert task["diverged"] <= task["samples"] == 4
        mean = np.mean([task["one_step"] for task in split["tasks"].values()])
        assert split["aggregate"]["one_step"] == pytest.approx(mean)


def test_a_split_may_be_judged_by_a_config_of_its_own(
    trained: tuple[Path, Datasets], report: dict[str, Any]
) -> None:
    searching = EvalConfig(
        ttc=Ttc(enabled=True, candidates=2, noise=0.01), evaluation=Evaluation(batch_size=3, rollout_steps=2)
    )
    found = evaluate(
        *trained, ("val", "test"), Evaluation(batch_size=3), "cpu", own={"val": searching}
    )["splits"]  # fmt: skip
    assert "on" in found["val"]["ttc"]
    assert found["val"]["tasks"]["advection1d"]["rollout"] < report["splits"]["val"]["tasks"]["advection1d"][
        "rollout"
    ]  # fmt: skip
    assert found["test"] == report["splits"]["test"]


def test_report_says_how_well_predictions_keep_what_the_equation_guarantees(report: dict[str, Any]) -> None:
    for split in report["splits"].values():
        advection, darcy = (split["tasks"][task]["physics"] for task in ("advection1d", "darcy2d"))
        assert set(advection) == {"conservation_gap", "equation_residual"}
        assert set(darcy) == {"boundary_violation", "negativity", "equation_residual"}
        assert advection["conservation_gap"]["true"] < 1e-5
        assert advection["equation_residual"]["true"] < 1e-2 < advection["equation_residual"]["one_step"]
        for check in (*advection.values(), *darcy.values()):
            low, high = check["rollout_interval"]
            assert low <= check["rollout"] <= high
        assert darcy["boundary_violation"]["one_step"] == darcy["boundary_violation"]["rollout"]
        residual = split["aggregate"]["physics"]["equation_residual"]["rollout"]
        assert residual == pytest.approx(
            (advection["equation_residual"]["rollout"] + darcy["equation_residual"]["rollout"]) / 2
        )
        assert split["aggregate"]["physics"]["negativity"]["true"] == darcy["negativity"]["true"]


def test_aggregate_has_an_interval(report: dict[str, Any]) -> None:
    aggregate = report["splits"]["test"]["aggregate"]
    for name in ("one_step", "rollout"):
        low, high = aggregate[f"{name}_interval"]
        assert low <= aggregate[name] <= high


def test_symmetric_averaging_is_told_apart(report: dict[str, Any]) -> None:
    tasks, ttc = report["splits"]["test"]["tasks"], report["splits"]["test"]["ttc"]
    assert tasks["darcy2d"]["symmetric_average"]
    assert not tasks["advection1d"]["symmetric_average"]
    assert ttc["on"]["tasks"]["darcy2d"] == tasks["darcy2d"]["one_step"]
    assert ttc["off"]["tasks"]["darcy2d"] == tasks["darcy2d"]["one_step_plain"]
    assert ttc["off"]["tasks"]["darcy2d"] != ttc["on"]["tasks"]["darcy2d"]


@pytest.mark.parametrize("task", ["advection1d", "darcy2d"])
def test_anyone_can_compute_the_report_from_the_predictions(
    trained: tuple[Path, Datasets], report: dict[str, Any], tmp_path: Path, task: str
) -> None:
    checkpoint, datasets = trained
    output = tmp_path / "out.npz"
    predictions.write(checkpoint, datasets[task]["test"], task, output)
    with np.load(output) as file:
        arrays = {name: file[name].astype(np.float64) for name in file.files}
    assert set(arrays) == {"initial", "true", "one_step", "rollout", "times", "parameters"}
    samples, steps = arrays["true"].shape[:2]
    assert arrays["one_step"].shape == arrays["rollout"].shape == arrays["true"].shape
    assert (len(arrays["initial"]), len(arrays["parameters"]), len(arrays["times"])) == (
        samples,
        samples,
        steps,
    )

    def nrmse(predicted: np.ndarray) -> float:
        error = (predicted - arrays["true"]).reshape(samples, steps, -1)
        scale = np.linalg.norm(arrays["true"].reshape(samples, steps, -1), axis=2)
        return float((np.linalg.norm(error, axis=2) / scale).mean(axis=1).mean())

    expected = report["splits"]["test"]["tasks"][task]
    assert nrmse(arrays["one_step"]) == pytest.approx(expected["one_step"], rel=1e-5)
    assert nrmse(arrays["rollout"]) == pytest.approx(expected["rollout"], rel=1e-5)
    if task == "advection1d":
        before = np.concatenate([arrays["initial"][:, None], arrays["true"][:, :-1]], axis=1)
        assert nrmse(before) == pytest.approx(expected["persistence_one_step"], rel=1e-5)
        copied = np.broadcast_to(arrays["initial"][:, None], arrays["true"].shape)
        assert nrmse(copied) == pytest.approx(expected["persistence_rollout"], rel=1e-5)


def test_predictions_are_the_steps_that_they_say(trained: tuple[Path, Datasets], tmp_path: Path) -> None:
    checkpoint, datasets = trained
    output = tmp_path / "out.npz"
    predictions.write(checkpoint, datasets["advection1d"]["test"], "advection1d", output)
    fields = Fields.open(datasets["advection1d"]["test"])
    assert fields.states is not None
    predictor = load(checkpoint, "cpu")
    with np.load(output) as file:
        np.testing.assert_array_equal(file["true"], fields.states[:, 1:])
        np.testing.assert_allclose(file["times"], fields.times[1:])
        for name, given in (("one_step", file["true"][:, 2]), ("rollout", file["rollout"][:, 2])):
            parameters = torch.from_numpy(file["parameters"])
            step = predictor.step("advection1d", torch.from_numpy(given), parameters, fields.dt)
            np.testing.assert_allclose(file[name][:, 3], step.numpy(), atol=1e-5)


def test_symmetric_average_has_the_symmetries(trained: tuple[Path, Datasets]) -> None:
    predictor = load(trained[0], "cpu", symmetric_average=True)
    inputs, parameters = torch.rand(2, 16, 16, 1), torch.ones(2, 1)
    answer = predictor.step("darcy2d", inputs, parameters, 0.0)
    for symmetry in symmetries(predictor.model.head("darcy2d").task.spec, (16, 16)):
        image = predictor.step("darcy2d", symmetry.apply(inputs), parameters, 0.0)
        torch.testing.assert_close(image, symmetry.apply(answer), atol=1e-5, rtol=1e-4)


def test_doing_nothing_has_no_skill(tmp_path: Path) -> None:
    files = {"advection1d": write_advection(tmp_path)}
    config = tiny_config(noise=0.0).model_copy(
        update={"data": tiny_config().data.model_copy(update={"task": ("advection1d",)})}
    )
    job = make_job(tmp_path / "run", files, config, should_stop=lambda: True)
    run_job(job)
    predictor = load(job.run_dir.root, "cpu")
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.zero_()
    state, parameters = torch.randn(2, 32, 1), torch.full((2, 1), 0.4)
    torch.testing.assert_close(predictor.unguarded().step("advection1d", state, parameters, 0.05), state)


def test_rollout_length_can_be_bounded(trained: tuple[Path, Datasets]) -> None:
    found = evaluate(*trained, ("test",), Evaluation(rollout_steps=3), "cpu")
    assert found["splits"]["test"]["tasks"]["advection1d"]["steps"] == 3


def test_split_that_nobody_has_is_refused(trained: tuple[Path, Datasets]) -> None:
    files = {"darcy2d": {"val": trained[1]["darcy2d"]["val"]}}
    with pytest.raises(DataError, match="no test split"):
        evaluate(trained[0], files, ("test",), Evaluation(), "cpu")


def test_another_grid_or_task_is_refused(trained: tuple[Path, Datasets], tmp_path: Path) -> None:
    states, beta = advection(2, seed=0, cells=64)
    path = write_converted(tmp_path / "a.h5", "advection1d", "test", {"states": states}, beta, dt=0.05)
    with pytest.raises(DataError, match="grid of 64 cells, but the checkpoint was trained on 32"):
        predictions.write(trained[0], path, "advection1d", tmp_path / "out.npz")
    with pytest.raises(DataError, match="holds advection1d, not darcy2d"):
        predictions.write(trained[0], path, "darcy2d", tmp_path / "out.npz")
    path = write_converted(tmp_path / "b.h5", "burgers1d", "test", {"states": states}, beta, dt=0.05)
    with pytest.raises(DataError, match="knows only advection1d, darcy2d"):
        predictions.write(trained[0], path, "burgers1d", tmp_path / "out.npz")
