import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from console.tui.drawing.braille import Raster, column_range
from console.tui.drawing.curves import GUTTER, Chart, Drawn, Trace, draw_chart
from console.tui.drawing.text import Row


def text_of(rows: list[Row] | None) -> list[str]:
    assert rows is not None
    return ["".join(text for text, _ in row) for row in rows]


def test_each_column_keeps_the_extremes_of_its_points() -> None:
    x = np.arange(1000.0)
    y = np.sin(x)
    y[500] = 9.0
    low, high = column_range(x, y, 0, 999, 20)
    assert high.max() == 9.0
    assert low.min() == y.min()


def test_a_nan_leaves_a_gap_and_does_not_poison_its_neighbours() -> None:
    x = np.arange(10.0)
    y = np.ones(10)
    y[4] = np.nan
    low, _ = column_range(x, y, 0, 9, 91)
    assert np.isnan(low[31:50]).all()
    assert np.isfinite(low[:31]).all()
    assert np.isfinite(low[50:]).all()


def test_a_steep_curve_has_no_holes() -> None:
    low, high = column_range(np.array([0.0, 1.0]), np.array([0.0, 100.0]), 0, 1, 11)
    assert (high[:-1] >= low[1:]).all()


def test_the_last_trace_gives_a_cell_its_ink_and_dots_replace_characters() -> None:
    raster = Raster(2, 1)
    raster.put(0, 0, "╌", "level")
    raster.spans(np.zeros(4), np.zeros(4), "first")
    raster.spans(np.array([0.0, 0, np.nan, np.nan]), np.array([0.0, 0, np.nan, np.nan]), "second")
    assert raster.rows() == [[("⠉", "second"), ("⠉", "first")]]


def test_a_chart_has_labelled_axes() -> None:
    x = np.arange(1.0, 2001.0)
    rows = text_of(draw_chart(Chart([Trace(x, 1 / x, "train")]), 60, 12))
    assert len(rows) == 12
    assert rows[-1].startswith(" " * (GUTTER - 1) + "└┬0")
    assert "┬1k" in rows[-1]
    assert any(row.startswith("  0.1┤") for row in rows)


def test_the_persistence_line_is_drawn_where_it_belongs() -> None:
    x = np.arange(1.0, 101.0)
    rows = text_of(draw_chart(Chart([Trace(x, 0.1 + 0 * x, "train")], level=1.0), 40, 10))
    lines = [n for n, row in enumerate(rows) if "╌╌╌" in row]
    assert lines == [0]


def test_on_a_linear_axis_a_distant_level_does_not_flatten_the_curve() -> None:
    x = np.arange(1.0, 101.0)
    rows = text_of(draw_chart(Chart([Trace(x, 1 / x**0.1, "train")], log_y=False, level=50.0), 40, 10))
    assert not any("╌" in row for row in rows)


def test_one_spike_among_thousands_does_not_hide_the_curve() -> None:
    x = np.arange(1.0, 5001.0)
    y = 0.5 + 0 * x
    y[2500] = 1e9
    rows = draw_chart(Chart([Trace(x, y, "train")], log_y=False), 60, 12)
    assert "0.5┤" in "\n".join(text_of(rows))


def test_values_that_a_log_axis_cannot_show_are_gaps() -> None:
    x = np.arange(4.0)
    assert draw_chart(Chart([Trace(x, np.array([0.0, -1, np.nan, 0]), "train")]), 40, 10) is None
    assert draw_chart(Chart([Trace(x, np.array([0.0, -1, 1, 2]), "train")]), 40, 10) is not None


def test_stages_epochs_and_crosshair_are_marked() -> None:
    x = np.arange(0.0, 101.0)
    chart = Chart([Trace(x, 2 + 0 * x, "train")], marks=[(50.0, "stage 2")], ticks=[25, 75], cross=10.0)
    rows = text_of(draw_chart(chart, 60, 10))
    assert "┊stage 2" in rows[0]
    assert rows[-1].count("┴") == 2
    assert all("│" in row[GUTTER:] for row in rows[:2])


def test_the_name_of_a_stage_stands_beside_curves_and_other_names() -> None:
    x = np.arange(0.0, 101.0)
    y = np.where(x > 45, 2.0, 1.0)  # high where the names would be
    marks = [(50.0, "diff_residual"), (70.0, "consistency")]
    rows = text_of(draw_chart(Chart([Trace(x, y, "train")], marks=marks), 70, 10))
    assert [row for row in rows if "┊diff_resid…┊consistency" in row]
    assert "diff" not in rows[0]


def test_nothing_to_draw_is_no_chart() -> None:
    assert draw_chart(Chart([]), 60, 12) is None
    assert draw_chart(Chart([Trace(np.array([1.0]), np.array([1.0]), "train")]), 8, 2) is None


def test_a_single_point_is_a_chart() -> None:
    rows = text_of(draw_chart(Chart([Trace(np.array([10.0]), np.array([0.5]), "train")]), 40, 8))
    assert "┬10" in rows[-1] or "┬0" in rows[-1]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([5.0, 50.0]), st.booleans()), min_size=2),
    st.integers(0, 2**32 - 1),
)
def test_a_chart_that_grows_is_drawn_as_if_it_were_new(
    steps: list[tuple[int, float, bool]], seed: int
) -> None:
    """Each step adds points, moves the end of the axis, and puts the crosshair in or takes it out."""
    noise, drawn, count = np.random.default_rng(seed), Drawn(), 2
    values = noise.lognormal(size=2 + 40 * len(steps))
    for more, end, crossed in steps:
        count += more
        x = np.linspace(0.0, 4.0, count)
        chart = Chart([Trace(x, values[:count], "train")], x_range=(0.0, end), cross=1.0 if crossed else None)
        assert draw_chart(chart, 40, 8, drawn) == draw_chart(chart, 40, 8)


def test_rows_that_would_be_the_same_are_not_drawn_again() -> None:
    drawn, x = Drawn(), np.linspace(0.0, 1.0, 1000)
    before = draw_chart(Chart([Trace(x, 1 + x, "train")], x_range=(0.0, 2.0)), 40, 8, drawn)
    x = np.append(x, 1.0)
    after = draw_chart(Chart([Trace(x, 1 + x, "train")], x_range=(0.0, 2.0)), 40, 8, drawn)
    assert after is before
