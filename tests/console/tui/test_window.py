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
