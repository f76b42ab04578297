from collections.abc import Sequence

import numpy as np

from console.runs.series import Curve
from console.tui.alerts import Alert, judge
from console.tui.series import Series


def training(*values: float) -> Series:
    series = Series()
    series.extend(np.arange(1.0, len(values) + 1), np.array(values))
    return series


def validation(values: Sequence[float]) -> Curve:
    y, n = np.array(values), np.arange(len(values), dtype=float)
    return Curve(n * 10, y, y, y, n, n, np.zeros(len(values), int), 0)


def test_a_run_that_learns_raises_no_alert() -> None:
    good = validation([0.5 * 0.8**n for n in range(20)])
    assert judge(training(*np.geomspace(1, 0.01, 50)), train_is_finite=True, val=good, level=1.0) is None
    assert judge(None, train_is_finite=True, val=None, level=None) is None


def test_a_loss_that_is_no_number_or_far_above_its_best_has_diverged() -> None:
    down = [*np.geomspace(1, 0.01, 50)]
    assert judge(training(*down), train_is_finite=False, val=None, level=None) is Alert.DIVERGED
    up = training(*down, *[0.9] * 5)
    assert judge(up, train_is_finite=True, val=None, level=None) is Alert.DIVERGED
    assert judge(None, train_is_finite=True, val=validation([0.2, 0.1, 0.9]), level=1.0) is Alert.DIVERGED
    assert judge(None, train_is_finite=True, val=validation([0.2, np.nan]), level=1.0) is Alert.DIVERGED


def test_one_spike_is_no_divergence() -> None:
    spiked = training(*np.geomspace(1, 0.01, 50), 5.0)
    assert judge(spiked, train_is_finite=True, val=None, level=None) is None


def test_no_better_than_copying_has_no_skill_once_it_was_validated_twice() -> None:
    assert judge(None, train_is_finite=True, val=validation([1.2]), level=1.0) is None
    assert judge(None, train_is_finite=True, val=validation([1.2, 1.1]), level=1.0) is Alert.NO_SKILL


def test_a_validation_that_gets_no_better_is_on_a_plateau() -> None:
    level = validation([0.5, *[0.1] * 12])
    assert judge(None, train_is_finite=True, val=level, level=1.0) is Alert.PLATEAU


def test_a_warning_of_the_box_holds_until_the_task_gets_better() -> None:
    still, moves = validation([0.5, 0.1, 0.1]), validation([0.5, 0.1, 0.05])
    assert judge(None, train_is_finite=True, val=still, level=1.0, plateaus=[1.0]) is Alert.PLATEAU
    assert judge(None, train_is_finite=True, val=moves, level=1.0, plateaus=[1.0]) is None


def test_only_divergence_is_red_and_it_is_the_worst() -> None:
    assert [alert.ink for alert in Alert] == ["bad", "warn", "warn"]
    assert [alert.severity for alert in Alert] == [3, 2, 1]
