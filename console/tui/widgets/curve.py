"""One task's curves: training and validation together, with what copying the last frame would score."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from console.tui.chart_view import ChartView
from console.tui.curves import Curves
from console.tui.drawing.text import Ink, Row, clip, number, row_width, visible
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    import numpy as np

    from console.tui.drawing.curves import Chart, Drawn, Trace
    from console.tui.series import Series

    Array = np.ndarray[Any, Any]

_NARROW = 50
"""Cells below which a chart's frame says less."""
_SMOOTHED_FROM = 30
"""Below so many points an average says nothing."""


class CurvePanel(Panel, can_focus=True):
    """A chart of `Curves`, drawn as a `ChartView` says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cross(-1)", "Crosshair to the left", show=False, id="curve.left"),
        Binding("right", "cross(1)", "Crosshair to the right", show=False, id="curve.right"),
        Binding("escape", "uncross", "No crosshair", show=False, id="curve.escape"),
    ]

    class Zoom(Message):
        """The chart was clicked twice: show it alone, or all again."""

        def __init__(self, panel: "CurvePanel") -> None:
            super().__init__()
            self.panel = panel

    class Crossed(Message):
        """The crosshair was moved: it is the same in all charts."""

        def __init__(self, panel: "CurvePanel") -> None:
            super().__init__()
            self.panel = panel
            """Shows it already."""

    class Wheeled(Message):
        """The wheel was turned over the chart."""

        def __init__(self, factor: float, share: float, around: float | None) -> None:
            """Args:
            factor: of what is in sight that shall be shown, 1 for all of it.
            share: of what is in sight by which to move.
            around: the position under the pointer.
            """
            super().__init__()
            self.factor, self.share, self.around = factor, share, around

    def __init__(self, curves: Curves, view: ChartView | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.curves = curves
        self.view = view or ChartView()
        self._drawn: Drawn | None = None
        self.waiting = "waiting for the first training steps"

    def show(self, curves: Curves) -> None:
        """Show another task."""
        if curves is not self.curves:
            self.curves = curves
            self.redraw()

    # --- keys and mouse ---------------------------------------------------------------------

    def action_cross(self, by: int) -> None:
        """Move the crosshair by one column of the chart."""
        from console.tui.drawing.axes import GUTTER

        series, shown = next(iter(self.curves.all_series), None), self._range
        if series is None or shown is None:
            return
        first, after = (int(i) for i in (series.x.searchsorted(shown[0]), series.x.searchsorted(shown[1])))
        stride = max(1, (after - first) // max(1, self.inner_size.width - GUTTER))
        cross = self.view.cross
        here = series.nearest(cross) if cross is not None else min(after, len(series) - 1) - by * stride
        index = max(0, min(len(series) - 1, (here or 0) + by * stride))
        self._cross_at(float(series.x[index]))

    def _cross_at(self, position: float | None) -> None:
        self.view.cross = position
        if position is not None:
            self.view.window.reveal(position)
        self.repaint()
        self.post_message(self.Crossed(self))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a crosshair escape is for whoever has a use for it."""
        return action != "uncross" or self.view.cross is not None

    def action_uncross(self) -> None:
        self._cross_at(None)

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self._cross_at(None)
            self.post_message(self.Zoom(self))
        elif event.chain == 1 and (position := self._position(event)) is not None:
            self._cross_at(position)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        self.post_message(self.Wheeled(1.0, -0.1, None))

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        self.post_message(self.Wheeled(1.0, 0.1, None))

    def _wheel(self, event: events.MouseEvent, by: int) -> None:
        event.stop()
        if event.shift:
            self.post_message(self.Wheeled(1.0, 0.1 * by, None))
        else:
            self.post_message(self.Wheeled(1.25**by, 0.0, self._position(event)))

    def _position(self, event: events.MouseEvent) -> float | None:
        """The position under the pointer; None outside the plot."""
        from console.tui.drawing.axes import GUTTER

        shown, width = self._range, self.inner_size.width - GUTTER
        column = event.x - 1 - GUTTER
        if shown is None or width < 2 or not 0 <= column < width:
            return None
        return shown[0] + column / (width - 1) * (shown[1] - shown[0])

    # --- the frame ---------------------------------------------------------------------------

    @property
    def _range(self) -> tuple[float, float] | None:
        from console.tui.drawing.curves import rounded_reach

        reach = self.curves.reach
        return self.view.window.shown or (rounded_reach(*reach) if reach is not None else None)

    @property
    def _is_narrow(self) -> bool:
        return self.size.width < _NARROW

    def title(self) -> Row:
        name, alert = visible(self.curves.name), self.curves.alert
        row: Row = [("● ", f"task:{self.curves.name}"), (name, "title")]
        if alert is not None:
            word = f" ▲ {alert}"
            name = clip(name, max(6, self.size.width - len(word) - 9))
            row = [("● ", f"task:{self.curves.name}"), (name, "title"), (word, f"{alert.ink} bold")]
        if not self._is_narrow:
            row.append(("  log" if self.view.log_y else "  linear", "muted"))
        return row

    @property
    def title_least(self) -> int:
        return 2 if self.curves.alert is None else 3

    def summary(self) -> Row:
        if self.view.cross is not None:
            return [(f"{self.view.axis} {self.view.axis.precise(self.view.cross)}", "accent")]
        train, val, row = self.curves.train, self.curves.val, Row()
        if train is not None and len(train):
            value = float(train.smooth[-1]) if self.view.smooth else train.last
            name = "" if self._is_narrow else "train "
            row.append((f"{name}{number(value)}", f"task:{self.curves.name}"))
        if val is not None and len(val):
            skill = self.curves.level is None or (val.last or math.inf) < self.curves.level
            row.append(
                (f"{'' if self._is_narrow else ' '} val {number(val.last)}", "text" if skill else "warn")
            )
        return row

    def footnote(self) -> Row:
        """The legend; with the crosshair also the values there. What does not fit is left out whole."""
        room = self.size.width - 5
        row = Row()
        for entry in self._legend():
            gap: Row = [(" " if self._is_narrow else "  ", "text")] if row else []
            if row and row_width([*row, *gap, *entry]) > room:
                break
            row += [*gap, *entry]
        return row

    def _legend(self) -> list[Row]:
        train, val, crossed = self.curves.train, self.curves.val, self.view.cross is not None
        terse = self._is_narrow and crossed
        entries: list[Row] = []
        if train is not None and len(train):
            what = self._read(train, train.y) or f" {self.curves.quantity}"
            name = what.lstrip() if terse else f"train{what}"
            entry: Row = [("━ ", f"task:{self.curves.name}"), (name, "text" if crossed else "muted")]
            if crossed:
                entry += [(" ema", "muted"), (self._read(train, train.smooth), "text")]
            entries.append(entry)
        if val is not None and len(val):
            what = self._read(val, val.y) or f" {self.curves.val_quantity}"
            name = what.lstrip() if terse else f"val{what}"
            entries.append([("╍ ", "val"), (name, "text" if crossed else "muted")])
        if self.curves.level is not None and not (terse and self.curves.others):
            entries.append([("╌ ", "level"), (f"copy {number(self.curves.level)}", "muted")])
        for line in self.curves.others:
            value = self._read(line.series, line.series.smooth if line.smooth else line.series.y)
            what = f"{visible(line.label)}{value or ' ' + number(line.newest)}"
            entries.append([("━ " if line.smooth else "╍ ", line.ink), (what, "muted")])
        return entries

    def _read(self, series: "Series", values: "Array") -> str:
        """A value at the crosshair; empty without one."""
        cross = self.view.cross
        if cross is None or not len(series):
            return ""
        first, last = float(series.x[0]), float(series.x[-1])
        slack = 0.02 * (last - first)
        index = series.nearest(cross) if first - slack <= cross <= last + slack else None
        return f" {number(float(values[index]) if index is not None else None)}"

    # --- the chart ---------------------------------------------------------------------------

    def draw(self, width: int, height: int) -> list[Row]:
        from console.tui.drawing.curves import Drawn, draw_chart

        if not self.curves.all_series:
            return [[(" " + clip(self.waiting, width - 1), "muted")]]
        self._drawn = self._drawn or Drawn()
        return draw_chart(self._chart(), width, height, self._drawn) or [
            [(" nothing in this range", "muted")]
        ]

    def _chart(self) -> "Chart":
        from console.tui.drawing.curves import Chart

        curves, view = self.curves, self.view
        traces = [*self._train(), *self._others()]
        ends: Sequence[float] = ()
        if curves.val is not None and len(curves.val):
            traces.append(_trace(curves.val, "val", dash=3))
            ends = curves.val.x.tolist() if len(curves.val) < 200 else ()
        return Chart(
            traces,
            view.log_y,
            curves.level,
            curves.stages,
            ends,
            view.cross,
            view.window.shown,
            view.axis,
            to_level=view.window.width is None,
        )

    def _train(self) -> "list[Trace]":
        train, ink = self.curves.train, f"task:{self.curves.name}"
        if train is None or not len(train):
            return []
        if not self.view.smooth or len(train) <= _SMOOTHED_FROM:
            return [_trace(train, ink)]
        return [_trace(train, "raw"), _average(train, ink)]

    def _others(self) -> "list[Trace]":
        return [
            _average(line.series, line.ink) if line.smooth else _trace(line.series, line.ink, dash=3)
            for line in self.curves.others
            if len(line.series)
        ]


def _trace(series: "Series", ink: Ink, dash: int = 0) -> "Trace":
    from console.tui.drawing.curves import Trace

    return Trace(series.x, series.y, ink, dash, series.memo, (series.low, series.high))


def _average(series: "Series", ink: Ink) -> "Trace":
    from console.tui.drawing.curves import Trace

    return Trace(series.x, series.smooth, ink, memo=series.smooth_memo)
