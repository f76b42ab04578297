import numpy as np
import pytest

from console.tui.series import Series


def test_points_appended_in_batches_are_the_points_appended_at_once() -> None:
    x, y = np.arange(5000.0), np.random.default_rng(0).random(5000)
    whole, parts = Series(), Series()
    whole.extend(x, y)
    for start in range(0, 5000, 137):
        parts.extend(x[start : start + 137], y[start : start + 137])
    assert (parts.x == whole.x).all()
    assert (parts.y == whole.y).all()


def test_the_average_is_a_running_exponential_one() -> None:
    series = Series()
    y = np.random.default_rng(1).random(50)
    series.extend(np.arange(50.0), y)
    weight = 1 - 2 / 8
    average = y[0]
    for index in range(50):
        average = weight * average + (1 - weight) * y[index]
        assert series.smooth[index] == pytest.approx(average)


def test_a_nan_is_a_gap_in_both() -> None:
    series = Series()
    series.extend(np.arange(4.0), np.array([1.0, np.nan, 1.0, 1.0]))
    assert np.isnan(series.smooth).tolist() == [False, True, False, False]
    assert series.smooth[3] == 1.0


def test_going_back_to_a_checkpoint_drops_what_came_after() -> None:
    series = Series()
    series.extend(np.arange(10.0), np.ones(10))
    series.cut_after(4)
    assert len(series) == 5
    series.extend(np.array([5.0]), np.array([2.0]))
    assert series.last == 2.0


def test_the_nearest_point() -> None:
    series = Series()
    assert series.nearest(3) is None
    series.extend(np.array([0.0, 10, 20]), np.ones(3))
    assert [series.nearest(x) for x in (-5, 4, 6, 99)] == [0, 0, 1, 2]
