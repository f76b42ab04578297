"""A chart of one task's curves as rows: axes, traces, marks, a persistence line and a crosshair."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from console.tui.drawing.axes import GUTTER, XAxis, column_of, x_axis, y_labels
from console.tui.drawing.braille import Raster, column_range
from console.tui.drawing.text import Ink, Row, clip

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Trace(Struct, frozen=True):
    """One line of a chart."""

    x: "Array"
    y: "Array"
    ink: Ink
    dash: int = 0
    """Dot columns drawn and left out in turn; 0 for a solid line."""
    memo: "Memo | None" = None
    """Keeps what was computed of these points, so that a key need not compute it again."""
    spread: "tuple[Array, Array] | None" = None
    """[n] least and greatest of the values that each point stands for."""


class Memo:
    """The column ranges that were computed last, and of what."""

    def __init__(self) -> None:
        self.key: object = None
        self.ranges: tuple[Array, Array] | None = None

    def clear(self) -> None:
        """The points changed in place."""
        self.key = None


def _ranges(trace: Trace, x_range: tuple[float, float], columns: int) -> "tuple[Array, Array]":
    """Least and greatest value of each dot column."""
    key = (len(trace.x), x_range, columns)
    if trace.memo is None:
        return column_range(trace.x, trace.y, *x_range, columns, trace.spread)
    if trace.memo.key != key or trace.memo.ranges is None:
        trace.memo.ranges = column_range(trace.x, trace.y, *x_range, columns, trace.spread)
        trace.memo.key = key
    return trace.memo.ranges


class Chart(Struct, frozen=True):
    """Everything that is drawn, in drawing order."""

    traces: Sequence[Trace]
    log_y: bool = True
    level: float | None = None
    """A horizontal line: the error of copying the last frame."""
    marks: Sequence[tuple[float, str]] = field(default_factory=tuple)
    """(position, label): where a stage begins."""
    ticks: Sequence[float] = field(default_factory=tuple)
    """Positions marked on the axis: ends of epochs."""
    cross: float | None = None
    """Position of the crosshair."""
    x_range: tuple[float, float] | None = None
    """Positions of the left and the right end; None: as far as the traces reach."""
    axis: XAxis = XAxis.STEP
    to_level: bool = True
    """Whether a logarithmic y axis reaches as far as the level."""
    y_range: tuple[float, float] | None = None
    """Ends of a linear y axis; None: as far as the values in sight go."""


class Scale(Struct, frozen=True):
    """Maps values to dot lines, 0 at the top."""

    low: float
    high: float
    log: bool
    lines: int

    def line(self, values: "Array") -> "Array":
        """Dot line of each value, NaN where the value has no place (≤ 0 on a log axis)."""
        import numpy as np

        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(values > 0, np.log10(values), np.nan)
        share = (values - self.low) / (self.high - self.low)
        return np.rint((1 - share) * (self.lines - 1))

    def cell(self, value: float) -> int | None:
        """Cell row of a value, None outside the scale."""
        if self.log and value <= 0:
            return None
        share = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return round((1 - share) * (self.lines - 1)) // 4 if -0.001 <= share <= 1.001 else None


class Drawn:
    """The rows that were drawn last, and of what: of a curve that grows hardly a dot changes at a time."""

    def __init__(self) -> None:
        self.key: object = None
        self.rows: list[Row] = []


def draw_chart(chart: Chart, width: int, height: int, drawn: Drawn | None = None) -> list[Row] | None:
    """The chart in `width` × `height` cells, or None where there is no point to draw.

    Args:
        chart: what.
        width: cells, with the labels of the y axis.
        height: cells, with the x axis.
        drawn: what was drawn in its place before, for use where it would be the same; takes the new rows.
    """
    x_range = chart.x_range or reach(chart.traces)
    plot_width, plot_height = width - GUTTER, height - 1
    if x_range is None or plot_width < 4 or plot_height < 2:
        return None
    ranges = [_ranges(trace, x_range, 2 * plot_width) for trace in chart.traces]
    scale = _scale(chart, ranges, plot_height * 4)
    if scale is None:
        return None
    lines = [(scale.line(high), scale.line(low)) for low, high in ranges]
    drawn = drawn or Drawn()
    key = (
        plot_width, scale, x_range, chart.axis, chart.level, chart.cross,
        tuple(chart.marks), tuple(chart.ticks),
        [(trace.ink, trace.dash, top.tobytes(), bottom.tobytes())
         for trace, (top, bottom) in zip(chart.traces, lines, strict=True)],
    )  # fmt: skip
    if key != drawn.key:
        drawn.key, drawn.rows = key, _draw(chart, lines, scale, x_range, (plot_width, plot_height))
    return drawn.rows


def _draw(
    chart: Chart, lines: "Sequence[tuple[Array, Array]]", scale: Scale, x_range: tuple[float, float],
    size: tuple[int, int],
) -> list[Row]:  # fmt: skip
    """The rows of a chart.

    Args:
        chart: what.
        lines: of each trace the upper and the lower dot line of each dot column.
        scale: of the y axis.
        x_range: positions of the ends of the x axis.
        size: cells of the plot.
    """
    plot_width, plot_height = size
    raster = Raster(plot_width, plot_height)
    for trace, (top, bottom) in zip(chart.traces, lines, strict=True):
        raster.spans(top, bottom, trace.ink, dash=trace.dash)
    _draw_level(raster, chart.level, scale)
    marks = [(column_of(position, x_range, plot_width), label) for position, label in chart.marks]
    for (column, label), (end, _) in pairwise([*marks, (plot_width, "")]):
        _draw_mark(raster, column, label, end)
    if chart.cross is not None:
        column = column_of(chart.cross, x_range, plot_width)
        for line in range(plot_height):
            raster.put(column, line, "│", "cross")
    gutter = y_labels(scale, plot_height)
    rows: list[Row] = [[*gutter[line], *row] for line, row in enumerate(raster.rows())]
    return [*rows, x_axis(x_range, chart.ticks, plot_width, chart.axis)]


def reach(traces: Sequence[Trace]) -> tuple[float, float] | None:
    """The positions from which and to which traces go; None where there is no point."""
    ends = [(float(trace.x[0]), float(trace.x[-1])) for trace in traces if len(trace.x)]
    return rounded_reach(min(first for first, _ in ends), max(last for _, last in ends)) if ends else None


def rounded_reach(low: float, high: float) -> tuple[float, float]:
    """The range that an axis shows of points that lie between these positions."""
    # A curve starts at the left edge of its first decade of steps, not somewhere in the middle.
    low = 0.0 if 0 < low < 0.2 * high or 0 < low == high else low
    return (low, high) if high > low else (low, low + 1.0)


def _scale(chart: Chart, ranges: "Sequence[tuple[Array, Array]]", lines: int) -> Scale | None:
    import numpy as np

    if chart.y_range is not None:
        return Scale(*chart.y_range, log=False, lines=lines)
    extremes: list[float] = []
    for low, high in ranges:
        known = np.isfinite(high) & (high > 0 if chart.log_y else True)
        least, greatest = low[known], high[known]
        least = least[least > 0] if chart.log_y else least
        if len(least):
            extremes += [-float(_without_spikes(-least).max()), float(_without_spikes(greatest).max())]
    if not extremes:
        return None
    bottom, top = min(extremes), max(extremes)
    level = chart.level
    # On a linear axis a level far above would flatten the curves; there the legend alone tells it.
    if level is not None and (level > 0 and chart.to_level if chart.log_y else bottom <= level <= 2 * top):
        bottom, top = min(bottom, level), max(top, level)
    if chart.log_y:
        bottom, top = math.log10(bottom), math.log10(top)
    margin = 0.04 * (top - bottom) if top > bottom else max(abs(top) * 0.05, 0.05)
    return Scale(bottom - margin, top + margin, chart.log_y, lines)


def _without_spikes(values: "Array", reach: int = 3) -> "Array":
    """Column values, each no greater than its neighbours at some distance: a lone spike among many
    columns must not flatten the curve. The ends stay: a loss begins high.
    """
    import numpy as np

    calm = values.copy()
    if len(values) > 60:
        neighbours = np.maximum(values[: -2 * reach], values[2 * reach :])
        calm[reach:-reach] = np.minimum(values[reach:-reach], neighbours)
    return calm


def _draw_level(raster: Raster, level: float | None, scale: Scale) -> None:
    line = scale.cell(level) if level is not None else None
    if line is not None:
        for column in range(raster.width):
            raster.put(column, line, "╌", "level")


def _draw_mark(raster: Raster, column: int, label: str, end: int) -> None:
    """A line with its label beside it, up to the column `end`, where no curve is in the way."""
    if not 0 <= column < raster.width:
        return
    for line in range(raster.height):
        raster.put(column, line, "┊", "mark")
    room = min(end, raster.width) - column - 1
    text = clip(label, room) if room > 3 else ""
    for line in range(raster.height):
        if raster.is_free(column + 1, line, len(text)):
            for offset, char in enumerate(text, column + 1):
                raster.put(offset, line, char, "mark")
            return
