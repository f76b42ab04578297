import numpy as np

from console.tui.drawing.scatter import bounds, scatter


def test_points_land_where_they_lie_and_gaps_are_filled_from_beside() -> None:
    positions = np.random.default_rng(0).random((400, 2))
    values = positions[:, 0]
    plane = scatter(values, positions, np.zeros(2), np.ones(2))
    assert plane.shape == (20, 20)
    assert np.isfinite(plane).all()
    rows = (np.arange(20) + 0.5) / 20
    assert np.abs(plane - rows[:, None]).max() < 0.11  # the first axis runs down


def test_what_is_not_finite_is_left_out() -> None:
    positions = np.array([[0.1, 0.1], [0.9, 0.9], [np.nan, 0.5]])
    plane = scatter(np.array([1.0, np.nan, 5.0]), positions, np.zeros(2), np.ones(2))
    assert (plane == 1.0).all()
    assert scatter(np.full(3, np.nan), positions, np.zeros(2), np.ones(2)).tolist() == [[0.0] * 2] * 2


def test_bounds_hold_all_points_and_are_never_flat() -> None:
    low, high = bounds(np.array([[[0.0, 2.0], [1.0, 2.0]], [[np.inf, 0.0], [-1.0, 2.0]]]))
    assert low.tolist() == [-1.0, 2.0]
    assert high.tolist() == [1.0, 3.0]
