import numpy as np
import pytest

from console.tui.placing import Bill, epochs_of


def test_epochs_are_straight_lines_between_their_beginnings() -> None:
    steps = np.arange(10.0, 310, 10)
    epochs = epochs_of(steps, steps // 101, np.zeros(30, int))
    assert epochs.of(np.array([0.0, 55, 110, 160])).tolist() == pytest.approx([0, 0.5, 1, 1.5])


def test_the_epochs_of_a_second_stage_come_after_those_of_the_first() -> None:
    steps = np.arange(0.0, 400, 100)
    epochs = epochs_of(steps, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    assert epochs.of(steps).tolist() == [0, 1, 2, 3]


def test_steps_that_go_backwards_do_no_harm() -> None:
    steps = np.array([0.0, 100, 50, 200])
    places = epochs_of(steps, np.array([0, 1, 0, 2]), np.zeros(4, int)).of(steps)
    assert np.isfinite(places).all()


def test_dollars_follow_the_price_of_each_instance() -> None:
    bill = Bill(((0.0, 0.36), (3600.0, 3.6)))
    assert bill.dollars(np.array([-5.0, 0, 1800, 3600, 7200])).tolist() == pytest.approx(
        [0, 0, 0.18, 0.36, 3.96]
    )
    assert not bill.is_free
    assert Bill(((0.0, 0.0),)).is_free
    assert Bill().is_free
