"""The axes of a chart: what x counts, round values on both, and the rows in which they stand."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from console.tui.drawing.text import Row, count

if TYPE_CHECKING:
    from console.tui.drawing.curves import Scale

GUTTER = 6
"""Cells left of the plot: five for a label, one for the axis."""
_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
"""Round spans of seconds."""
_DAY = 86_400.0


class XAxis(StrEnum):
    """What the x axis of the charts counts."""

    STEP = "step"
    EPOCH = "epoch"
    TIME = "time"
    """Seconds since the run's first event."""
    DOLLARS = "dollars"

    @property
    def following(self) -> "XAxis":
        """The one that comes next where a key goes through all."""
        axes = list(XAxis)
        return axes[(axes.index(self) + 1) % len(axes)]

    def text(self, value: float) -> str:
        """A position as people read it."""
        match self:
            case XAxis.TIME:
                return _clock(value)
            case XAxis.DOLLARS:
                return "$0" if value == 0 else f"${value:.2f}" if value >= 0.1 else f"${value:.2g}"
            case XAxis.EPOCH:
                return count(round(value, 2))
            case XAxis.STEP:
                return count(value)

    def precise(self, value: float) -> str:
        """A position in full, for the crosshair."""
        return f"{value:,.0f}" if self is XAxis.STEP and abs(value) >= 10_000 else self.text(value)

    def round_step(self, rough: float) -> float:
        """A round distance between labels, no smaller than `rough`."""
        if self is XAxis.TIME and rough >= 1:
            return next((s for s in _CLOCK_STEPS if s >= rough), _DAY * nice_step(rough / _DAY))
        return nice_step(rough)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(whole, 60)
    if whole < 3600:
        return f"{minutes}m{rest:02d}" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{seconds / _DAY:.3g}d"
    return f"{hours}h{minutes:02d}" if minutes else f"{hours}h"


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, no smaller than `rough`, which is above zero."""
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next((f * magnitude for f in (1, 2, 5, 10) if f * magnitude >= rough * 0.999), 10 * magnitude)


def column_of(position: float, x_range: tuple[float, float], width: int) -> int:
    """The cell column of a position; outside 0 … width − 1 where it is not in the range."""
    return round((position - x_range[0]) / (x_range[1] - x_range[0]) * (width - 1))


def x_axis(x_range: tuple[float, float], ticks: Sequence[float], width: int, axis: XAxis = XAxis.STEP) -> Row:
    """One line: the axis with labels at round steps, `┴` at the ends of epochs, what it counts at its end."""
    low, high = x_range
    cells = ["─"] * width
    if len(ticks) <= width // 4:
        for tick in ticks:
            column = column_of(tick, x_range, width)
            if 0 <= column < width:
                cells[column] = "┴"
    name = f" {axis}" if width >= 24 else ""
    end = width - len(name)
    cells[end:] = list(name)
    step = axis.round_step((high - low) / max(1, width // 12))
    taken = 0
    for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        column = column_of(n * step, x_range, width)
        label = "┬" + axis.text(round(n * step, 9))
        if column >= taken and column + len(label) <= end:
            cells[column : column + len(label)] = list(label)
            taken = column + len(label) + 1
    return [(" " * (GUTTER - 1) + "└", "axis"), ("".join(cells), "axis")]


def y_labels(scale: "Scale", height: int) -> list[Row]:
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
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return text


def _round_values(scale: "Scale", wanted: int) -> list[float]:
    """Round values inside a scale, the roundest first."""
    if not scale.log:
        step = nice_step((scale.high - scale.low) / wanted)
        first = math.ceil(scale.low / step)
        return [round(n * step, 12) for n in range(first, math.floor(scale.high / step) + 1)]
    decades = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    every = max(1, math.ceil((len(decades) - 2) / wanted))
    values = [10.0**decade for decade in decades if decade % every == 0]
    if scale.high - scale.low < 2.5:
        values += [factor * 10.0**decade for factor in (3, 2, 5) for decade in decades]
    if scale.high - scale.low < 0.3:
        low, high = 10**scale.low, 10**scale.high
        step = nice_step((high - low) / wanted)
        values += [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return values
