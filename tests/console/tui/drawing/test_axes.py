import numpy as np

from console.tui.drawing.axes import XAxis, x_axis
from console.tui.drawing.braille import column_range
from console.tui.drawing.curves import GUTTER, Chart, Trace, draw_chart
from console.tui.drawing.text import visible


def axis(low: float, high: float, kind: XAxis, width: int = 60) -> str:
    return "".join(text for text, _ in x_axis((low, high), [], width, kind))


def test_the_axis_says_what_it_counts_in_round_values() -> None:
    assert axis(0, 64_000, XAxis.STEP).endswith(" step")
    assert "┬20k" in axis(0, 64_000, XAxis.STEP)
    assert "┬1h" in axis(0, 7200, XAxis.TIME)
    assert "┬30m" in axis(0, 7200, XAxis.TIME)
    assert "┬$0.05" in axis(0, 0.12, XAxis.DOLLARS)
    assert "┬5" in axis(0, 12, XAxis.EPOCH)
    assert "step" not in axis(0, 100, XAxis.STEP, 12)


def test_a_key_goes_through_all_axes() -> None:
    kind, seen = XAxis.STEP, []
    for _ in range(4):
        seen.append(kind)
        kind = kind.following
    assert seen == list(XAxis)
    assert kind is XAxis.STEP


def test_a_window_draws_only_its_part_with_a_line_from_beyond_its_edge() -> None:
    x = np.arange(0.0, 1000.0, 100)
    low, high = column_range(x, x.copy(), 450, 650, 21)
    assert np.isfinite(low).all()
    assert low[0] == 450
    assert high[-1] == 650


def test_a_window_without_a_point_is_no_chart() -> None:
    x = np.arange(1.0, 11.0)
    assert draw_chart(Chart([Trace(x, x, "train")], x_range=(50.0, 60.0)), 40, 10) is None


def test_marks_outside_the_window_are_left_out() -> None:
    x = np.arange(1.0, 101.0)
    chart = Chart([Trace(x, x, "train")], marks=[(5.0, "early")], cross=7.0, x_range=(50.0, 100.0))
    rows = draw_chart(chart, 60, 10)
    assert rows is not None
    text = "\n".join("".join(t for t, _ in row)[GUTTER:] for row in rows)
    assert "early" not in text
    assert "│" not in text


def test_names_are_shown_and_never_obeyed() -> None:
    assert visible("darcy2d ü ▲") == "darcy2d ü ▲"
    assert visible("a\x1b[31mb") == "a\\x1b[31mb"
    assert visible("\u202egnp") == "\\u202egnp"
    assert visible("\ud800") == "\\ud800"
