"""A chart of one task's curves as rows: axes, traces, marks, a persistence line and a crosshair."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from console.tui.drawing.braille import Raster, column_range
from console.tui.drawing.text import Ink, Row, clip, count

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

GUTTER = 6
"""Cells left of the plot: five for a label, one for the axis."""


@dataclass(frozen=True, slots=True)
class Trace:
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


@dataclass(frozen=True, slots=True)
class Chart:
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


@dataclass(frozen=True, slots=True)
class Scale:
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


def draw_chart(chart: Chart, width: int, height: int) -> list[Row] | None:
    """The chart in `width` × `height` cells, or None where there is no point to draw."""
    x_range = _x_range(chart.traces)
    plot_width, plot_height = width - GUTTER, height - 1
    if x_range is None or plot_width < 4 or plot_height < 2:
        return None
    ranges = [_ranges(trace, x_range, 2 * plot_width) for trace in chart.traces]
    scale = _scale(chart, ranges, plot_height * 4)
    if scale is None:
        return None
    raster = Raster(plot_width, plot_height)
    for trace, (low, high) in zip(chart.traces, ranges, strict=True):
        raster.spans(scale.line(high), scale.line(low), trace.ink, dash=trace.dash)
    _draw_level(raster, chart.level, scale)
    for position, label in chart.marks:
        _draw_mark(raster, _column(position, x_range, plot_width), label)
    if chart.cross is not None:
        column = _column(chart.cross, x_range, plot_width)
        for line in range(plot_height):
            raster.put(column, line, "│", "cross")
    gutter = _y_labels(scale, plot_height)
    rows: list[Row] = [[*gutter[line], *row] for line, row in enumerate(raster.rows())]
    return [*rows, _x_axis(x_range, chart.ticks, plot_width)]


def _x_range(traces: Sequence[Trace]) -> tuple[float, float] | None:
    ends = [(float(trace.x[0]), float(trace.x[-1])) for trace in traces if len(trace.x)]
    if not ends:
        return None
    low, high = min(first for first, _ in ends), max(last for _, last in ends)
    # A curve starts at the left edge of its first decade of steps, not somewhere in the middle.
    low = 0.0 if 0 < low < 0.2 * high or 0 < low == high else low
    return (low, high) if high > low else (low, low + 1.0)


def _scale(chart: Chart, ranges: "Sequence[tuple[Array, Array]]", lines: int) -> Scale | None:
    import numpy as np

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
    if level is not None and (level > 0 if chart.log_y else bottom <= level <= 2 * top):
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


def _column(position: float, x_range: tuple[float, float], width: int) -> int:
    return round((position - x_range[0]) / (x_range[1] - x_range[0]) * (width - 1))


def _draw_level(raster: Raster, level: float | None, scale: Scale) -> None:
    line = scale.cell(level) if level is not None else None
    if line is not None:
        for column in range(raster.width):
            raster.put(column, line, "╌", "level")


def _draw_mark(raster: Raster, column: int, label: str) -> None:
    for line in range(raster.height):
        raster.put(column, line, "┊", "mark")
    room = raster.width - column - 1
    for offset, char in enumerate(clip(label, room) if room > 3 else ""):
        raster.put(column + 1 + offset, 0, char, "mark")


def _y_labels(scale: Scale, height: int) -> list[Row]:
    """The gutter: a label where a round value has its row, the axis beside it."""
    labels: dict[int, str] = {}
    for value in _round_values(scale, max(2, height // 2)):
        line = scale.cell(value)
        if line is not None and not {line - 1, line, line + 1} & labels.keys():
            labels[line] = _axis_number(value)
    return [
        [(labels[line].rjust(GUTTER - 1), "axis"), ("┤", "axis")]
        if line in labels
        else [(" " * (GUTTER - 1), "axis"), ("│", "axis")]
        for line in range(height)
    ]


def _axis_number(value: float) -> str:
    text = f"{value:.4g}"
    if len(text) >= GUTTER or "e" in text:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return text


def _round_values(scale: Scale, wanted: int) -> list[float]:
    """Round values inside a scale, the roundest first."""
    if not scale.log:
        step = _nice_step((scale.high - scale.low) / wanted)
        first = math.ceil(scale.low / step)
        return [round(n * step, 12) for n in range(first, math.floor(scale.high / step) + 1)]
    decades = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    every = max(1, math.ceil((len(decades) - 2) / wanted))
    values = [10.0**decade for decade in decades if decade % every == 0]
    if scale.high - scale.low < 2.5:
        values += [factor * 10.0**decade for factor in (3, 2, 5) for decade in decades]
    if scale.high - scale.low < 0.3:
        low, high = 10**scale.low, 10**scale.high
        step = _nice_step((high - low) / wanted)
        values += [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return values


def _nice_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(f * magnitude for f in (1, 2, 5, 10) if f * magnitude >= rough * 0.999)


def _x_axis(x_range: tuple[float, float], ticks: Sequence[float], width: int) -> Row:
    """One line: the axis with labels at round steps, `┴` at the ends of epochs."""
    low, high = x_range
    cells = ["─"] * width
    if len(ticks) <= width // 4:
        for tick in ticks:
            column = _column(tick, x_range, width)
            if 0 <= column < width:
                cells[column] = "┴"
    step = _nice_step((high - low) / max(1, width // 12))
    taken = 0
    for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        column = _column(n * step, x_range, width)
        label = "┬" + count(round(n * step, 9))
        if column >= taken and column + len(label) <= width:
            cells[column : column + len(label)] = list(label)
            taken = column + len(label) + 1
    return [(" " * (GUTTER - 1) + "└", "axis"), ("".join(cells), "axis")]
