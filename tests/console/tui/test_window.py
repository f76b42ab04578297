from hypothesis import given
from hypothesis import strategies as st

from console.tui.window import Window


def test_all_is_shown_until_one_zooms_in() -> None:
    window = Window((0.0, 100.0))
    assert window.shown == (0.0, 100.0)
    window.pan(0.5)
    assert window.shown == (0.0, 100.0)


def test_a_zoomed_window_follows_the_newest_end() -> None:
    window = Window((0.0, 100.0))
    window.zoom(0.5)
    assert window.shown == (50.0, 100.0)
    window.whole = (0.0, 120.0)
    assert window.shown == (70.0, 120.0)


def test_a_panned_window_stays_until_it_is_moved_back_to_the_end() -> None:
    window = Window((0.0, 100.0))
    window.zoom(0.5)
    window.pan(-0.5)
    assert window.shown == (25.0, 75.0)
    window.whole = (0.0, 120.0)
    assert window.shown == (25.0, 75.0)
    window.pan(2)
    assert window.follows
    assert window.shown == (70.0, 120.0)


def test_it_does_not_leave_the_whole() -> None:
    window = Window((0.0, 100.0))
    window.zoom(0.25)
    window.pan(-20)
    assert window.shown == (0.0, 25.0)
    window.zoom(100)
    assert window.shown == (0.0, 100.0)
    assert window.width is None


def test_zooming_keeps_a_position_in_its_place() -> None:
    window = Window((0.0, 100.0))
    window.zoom(0.5, around=20.0)
    assert window.shown == (10.0, 60.0)


def test_a_crosshair_that_leaves_takes_the_window_along() -> None:
    window = Window((0.0, 100.0))
    window.zoom(0.5)
    window.reveal(40.0)
    assert window.shown == (40.0, 90.0)
    window.reveal(95.0)
    assert window.shown == (45.0, 95.0)


def test_without_a_point_nothing_happens() -> None:
    window = Window()
    window.zoom(0.5)
    window.pan(1)
    window.reveal(3)
    assert window.shown is None


def test_while_points_come_the_axis_ends_at_a_round_position_until_they_have_reached_it() -> None:
    window = Window()
    assert window.cover((0.0, 1001.0), more_come=True)
    assert window.shown == (0.0, 1010.0)
    assert not window.cover((0.0, 1010.0), more_come=True)
    assert window.cover((0.0, 1011.0), more_come=True)
    assert window.shown == (0.0, 1020.0)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e9))
def test_that_position_is_near(low: float, width: float) -> None:
    window = Window()
    window.cover((low, low + width), more_come=True)
    assert window.shown is not None
    assert low + width <= window.shown[1] <= low + 1.03 * width


def test_once_the_run_has_ended_the_axis_ends_with_it() -> None:
    window = Window()
    for end in (1000.0, 1001.0, 1002.0):
        window.cover((0.0, end), more_come=True)
    assert window.cover((0.0, 1002.0), more_come=False)
    assert window.shown == (0.0, 1002.0)


def test_a_zoomed_window_ends_at_the_newest_point_and_not_where_the_axis_of_all_would() -> None:
    window = Window()
    for end in (1000.0, 1001.0):
        window.cover((0.0, end), more_come=True)
    window.zoom(0.001)
    assert window.follows
    assert window.shown is not None
    assert window.shown[1] == 1001.0
