"""When a target is met at this rate: what is said of curves whose end is known."""

import math
import subprocess
import sys

import numpy as np
import pytest

from ups.evaluation.forecast import Forecast, Outlook, forecast, read
from ups.evaluation.validation_curves import Point

EPOCHS = 40


def falling(
    *, scale: float = 0.6, exponent: float = 0.8, floor: float = 0.0, noise: float = 0.0, seed: int = 0
) -> list[Point]:
    """A whole run's curve: a power of the epoch above a floor, with an error that is a share of it."""
    random = np.random.default_rng(seed)
    epoch = np.arange(1, EPOCHS + 1)
    value = (floor + scale * epoch**-exponent) * np.exp(noise * random.standard_normal(EPOCHS))
    return [Point(float(e), float(v)) for e, v in zip(epoch, value, strict=True)]


def first_below(curve: list[Point], target: float) -> float:
    return next((p.epoch for p in curve if p.nrmse is not None and p.nrmse < target), math.inf)


def test_a_clean_curve_meets_its_target_where_it_will() -> None:
    curve = falling(floor=0.02)
    told = forecast(curve[:10], 0.07, EPOCHS)
    true = first_below(curve, 0.07)
    assert told.outlook is Outlook.EXPECTED
    assert told.epoch == pytest.approx(true, abs=2)
    assert told.low is not None
    assert told.high is not None
    assert told.low <= true <= told.high
    assert f"is met at epoch {told.epoch:g} ({told.low:g} to {told.high:g}, 80% sure)" in told.text()


def test_the_interval_holds_as_often_as_it_says() -> None:
    held = judged = promised = kept = 0
    random = np.random.default_rng(7)
    for seed in range(200):
        curve = falling(
            scale=random.uniform(0.3, 1), exponent=random.uniform(0.3, 1.2), floor=random.uniform(0, 0.08),
            noise=random.uniform(0.01, 0.06), seed=seed,
        )  # fmt: skip
        told = forecast(curve[: random.integers(8, 30)], 0.1, EPOCHS)
        if told.outlook in (Outlook.MET, Outlook.UNKNOWN):
            continue
        true = first_below(curve, 0.1)
        low, high = (math.inf if value is None else value for value in (told.low, told.high))
        judged += 1
        held += low <= true <= high
        if told.outlook is Outlook.EXPECTED:
            promised, kept = promised + 1, kept + (true < math.inf)
    assert judged > 80
    assert held >= 0.8 * judged
    assert kept >= 0.8 * promised


@pytest.mark.parametrize("seed", range(5))
def test_a_harder_target_is_never_met_earlier(seed: int) -> None:
    curve = falling(floor=0.03, noise=0.03, seed=seed)[:12]
    epochs, chances = [], []
    for target in np.geomspace(0.02, 0.12, 15)[::-1]:
        told = forecast(curve, float(target), EPOCHS)
        epochs.append(math.inf if told.epoch is None else told.epoch)
        chances.append(told.chance or 0.0)
    assert epochs == sorted(epochs)
    assert chances == sorted(chances, reverse=True)


def test_a_floor_above_the_target_is_not_within_this_run() -> None:
    told = forecast(falling(floor=0.2, noise=0.01)[:20], 0.1, EPOCHS)
    assert told.outlook is Outlook.NOT_WITHIN
    assert told.epoch is None
    assert told.at_end == pytest.approx(0.2 + 0.6 * EPOCHS**-0.8, rel=0.1)
    assert "is not met within this run (epoch 40 ends near 0.2" in told.text()


def test_what_may_or_may_not_be_is_said_so() -> None:
    told = forecast(falling(noise=0.08, seed=3)[:8], 0.03, EPOCHS)
    assert told.outlook is Outlook.UNCERTAIN
    assert told.chance is not None
    assert 0.1 <= told.chance <= 0.5
    assert "may be met by epoch 40" in told.text()


def test_a_target_that_was_met_stays_met() -> None:
    curve = falling(noise=0.05)
    told = forecast(curve, 0.1, EPOCHS)
    assert (told.outlook, told.epoch) == (Outlook.MET, first_below(curve, 0.1))
    assert "was met at epoch" in told.text()


@pytest.mark.parametrize("count", range(5))
def test_too_few_epochs_say_nothing(count: int) -> None:
    told = forecast(falling()[:count], 0.01, EPOCHS)
    assert told.outlook is Outlook.UNKNOWN
    assert "too few epochs" in told.text()


_NAN, _INF = math.nan, math.inf


@pytest.mark.parametrize(
    "values",
    [
        [0.5] * 12,
        [0.5] * 5,
        [None] * 8,
        [_NAN] * 8,
        [_INF, -_INF] * 4,
        [0.5, None, _NAN, 0.4, _INF, 0.35, 0.33, 0.3, 0.29],
        [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 1e9, 1e300],
        [1e-300] * 6,
        [0.0] * 6,
        [-1.0] * 6,
        [0.9, 0.1] * 6,
        [1e308, 1e-3] * 4,
    ],
)
@pytest.mark.parametrize("target", [1e-9, 0.05, 1e6])
def test_no_curve_is_too_odd(values: list[float | None], target: float) -> None:
    curve = [Point(float(epoch), value) for epoch, value in enumerate(values, 1)]
    with np.errstate(all="raise"):
        told = forecast(curve, target, EPOCHS)
    assert told.text()
    assert read(told.to_json()) == told
    if told.low is not None and told.high is not None:
        assert told.low <= told.high


@pytest.mark.parametrize("epochs", [[3.0] * 8, [0.0] * 8, list(range(8)), [8.0, 7, 6, 5, 4, 3, 2, 1]])
def test_no_axis_is_too_odd(epochs: list[float]) -> None:
    assert forecast([Point(epoch, 0.5) for epoch in epochs], 0.1, EPOCHS).text()


def test_a_constant_curve_is_not_expected_to_fall() -> None:
    assert forecast([Point(float(e), 0.5) for e in range(1, 13)], 0.3, EPOCHS).outlook is Outlook.NOT_WITHIN


def test_after_the_last_epoch_nothing_is_expected_any_more() -> None:
    assert forecast(falling(floor=0.2), 0.1, EPOCHS).outlook is Outlook.NOT_WITHIN


def test_validation_every_other_epoch_is_foreseen_at_those() -> None:
    told = forecast(falling()[1:20:2], 0.045, EPOCHS)
    assert told.epoch is not None
    assert told.epoch % 2 == 0


@pytest.mark.parametrize(
    "fields", [None, {}, {"outlook": "guessed"}, {"outlook": "met", "mood": 1}, {"outlook": []}]
)
def test_what_another_version_wrote_is_passed_over(fields: dict[str, object] | None) -> None:
    assert read(fields) is None


def test_a_forecast_survives_its_event() -> None:
    told = Forecast(Outlook.UNCERTAIN, 0.1, 40, None, 33.0, None, chance=0.3, at_end=0.12)
    assert read(told.to_json()) == told


def test_torch_is_not_needed() -> None:
    code = "import sys, ups.evaluation.forecast; print('torch' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
