"""Metrics against numbers made by hand and PDEBench's formulas written out as loops."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ups.evaluation import metrics
from ups.evaluation.pdebench import PdebenchMetrics


def test_relative_error_is_over_space_and_channels() -> None:
    true = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])  # [1, 2 cells, 2 channels], norm 5
    assert metrics.relative_error(true + torch.tensor([0.0, 0.5]), true).tolist() == pytest.approx(
        [math.sqrt(0.5) / 5]
    )
    assert metrics.relative_error(true[None] * 1.1, true[None], first=2).tolist() == [pytest.approx([0.1])]


def test_diverged_are_those_not_finite_or_far_off() -> None:
    errors = torch.tensor([[0.1, 0.2], [0.1, 11.0], [float("nan"), 0.1], [float("inf"), 0.0]])
    assert metrics.diverged(errors).tolist() == [False, True, True, True]


def test_interval_holds_the_mean_and_is_repeatable() -> None:
    values = np.random.default_rng(0).normal(1.0, 0.1, 50)
    low, high = metrics.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * 0.1 / math.sqrt(50), rel=0.3)
    assert metrics.interval(values) == (low, high)


def test_pointwise_figures() -> None:
    true = torch.zeros(1, 2, 2, 1)
    predicted = torch.tensor([0.0, 2.0, 0.0, -2.0]).view(1, 2, 2, 1)
    found = {name: value.item() for name, value in metrics.pointwise(predicted, true).items()}
    assert found == pytest.approx({"rmse": math.sqrt(2), "mse": 2.0, "mae": 1.0, "max_error": 2.0})


def test_relative_l2_is_over_the_whole_rollout_at_once() -> None:
    true = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    predicted = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    assert metrics.relative_error(predicted, true).tolist() == pytest.approx([0.2])
    assert metrics.relative_error(predicted, true, first=2).mean().item() == pytest.approx(0.125)


def test_interval_of_an_aggregate_is_narrower_than_that_of_one_task() -> None:
    random = np.random.default_rng(0)
    tasks = [random.normal(mean, 0.1, 40) for mean in (1.0, 2.0, 3.0)]
    low, high = metrics.aggregate_interval(tasks)
    assert low < np.mean([task.mean() for task in tasks]) < high
    assert high - low == pytest.approx(4 * 0.1 / math.sqrt(40 * 3), rel=0.3)


def in_batches(predicted: np.ndarray, true: np.ndarray, size: int) -> dict[str, float | None]:
    collected = PdebenchMetrics()
    for first in range(0, len(true), size):
        part = slice(first, first + size)
        collected.add(torch.from_numpy(predicted[part]), torch.from_numpy(true[part]))
    return collected.result()


def by_loops(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """PDEBench's formulas, one channel and step at a time; arrays [B, T, *S, C]."""
    error = predicted - true
    grid = error.shape[2:-1]
    cells = math.prod(grid)
    rows: dict[str, list[float]] = {}
    for t in range(error.shape[1]):
        for c in range(error.shape[-1]):
            e, y = error[:, t, ..., c], true[:, t, ..., c]
            rmse = [math.sqrt((a**2).mean()) for a in e]
            edges = [
                np.concatenate([np.take(a, i, axis).ravel() for axis in range(len(grid)) for i in (0, -1)])
                for a in e
            ]
            if len(grid) == 1:
                shells = [np.abs(np.fft.rfft(a)) ** 2 for a in e]
            else:
                shells = []
                for a in e:
                    energy = np.abs(np.fft.fft2(a)) ** 2
                    sums = np.zeros(min(grid) // 2)
                    for i in range(grid[0] // 2):
                        for j in range(grid[1] // 2):
                            k = int(math.hypot(i, j))
                            if k < len(sums):
                                sums[k] += energy[i, j]
                    shells.append(sums)
            spectrum = np.sqrt(np.mean(shells, axis=0)) / cells
            for name, value in {
                "RMSE": np.mean(rmse),
                "nRMSE": np.mean([r / math.sqrt((b**2).mean()) for r, b in zip(rmse, y, strict=True)]),
                "CSV": math.sqrt(np.mean([a.sum() ** 2 for a in e])) / cells,
                "Max": np.abs(e).max(),
                "BD": np.mean([math.sqrt((a**2).mean()) for a in edges]),
                "fRMSE_low": spectrum[:4].mean(),
                "fRMSE_mid": spectrum[4:12].mean(),
                "fRMSE_high": spectrum[12:].mean(),
            }.items():
                rows.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in rows.items()}


@pytest.mark.parametrize("shape", [(5, 3, 40, 2), (3, 2, 32, 28, 1)])
def test_pdebench_metrics_whatever_the_batch_size(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    true = random.normal(size=shape)
    predicted = true + 0.1 * random.normal(size=shape)
    expected = by_loops(predicted, true)
    for size in (1, 2, 5):
        assert in_batches(predicted, true, size) == pytest.approx(expected, rel=1e-6)


DATA = Path(__file__).parents[2] / "data"
GOLDEN = json.loads((DATA / "pdebench_metrics.json").read_text())["cases"]
FIRST_FRAME = {"a850bab": 0, "9754b4c": 1}
"""PDEBench's later version leaves out the frame that was given."""


@pytest.mark.parametrize(
    ("case", "commit"), [(case, commit) for case, golden in GOLDEN.items() for commit in golden["values"]]
)
def test_pdebench_metrics_equal_what_its_own_code_says(case: str, commit: str) -> None:
    golden = GOLDEN[case]
    with np.load(DATA / "pdebench_metrics.npz") as file:
        predicted, true = (
            torch.from_numpy(np.moveaxis(file[f"{case}_{which}"], -2, 1))[:, FIRST_FRAME[commit] :]
            for which in ("pred", "target")
        )
    collected = PdebenchMetrics(golden["lengths"])
    collected.add(predicted, true)
    assert collected.result() == pytest.approx(golden["values"][commit], rel=2e-6)


def test_band_that_a_coarse_grid_lacks_is_none() -> None:
    true = np.random.default_rng(2).normal(size=(2, 1, 16, 1))
    assert in_batches(true + 0.1, true, 2)["fRMSE_high"] is None
