"""One task's curves: training and validation together, with what copying the last frame would score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from console.tui.drawing.text import Row, clip, count, number
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from console.tui.drawing.curves import Chart
    from console.tui.series import Series


class Curves:
    """What a chart shows: one training and one validation series, marks and a level."""

    def __init__(self, name: str, *, quantity: str = "loss", val_quantity: str = "nRMSE") -> None:
        self.name = name
        self.quantity, self.val_quantity = quantity, val_quantity
        self.train: Series | None = None
        self.val: Series | None = None
        self.level: float | None = None
        """Validation error of persistence."""
        self.stages: list[tuple[float, str]] = []
        """(step, name) at which each stage but the first begins."""
        self.others: list[tuple[str, Series]] = []
        """(task, series) of further lines laid over this chart."""


class CurvePanel(Panel, can_focus=True):
    """A chart of `Curves`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cross(-1)", "Earlier point", show=False, id="curve.left"),
        Binding("right", "cross(1)", "Later point", show=False, id="curve.right"),
        Binding("escape", "uncross", "No crosshair", show=False, id="curve.escape"),
    ]

    class Zoom(Message):
        """The chart was clicked twice: show it alone, or all again."""

        def __init__(self, panel: "CurvePanel") -> None:
            super().__init__()
            self.panel = panel

        @property
        def control(self) -> "CurvePanel":
            return self.panel

    def __init__(self, curves: Curves, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.curves = curves
        self.log_y = True
        self.smooth = True
        self.cross: float | None = None
        self.waiting = "waiting for the first training steps"

    # --- keys -------------------------------------------------------------------------------

    def action_cross(self, by: int) -> None:
        """Move the crosshair by one column of the chart."""
        from console.tui.drawing.curves import GUTTER

        series = self._main
        if series is None or not len(series):
            return
        x = series.x
        width = max(1, self.inner_size.width - GUTTER)
        stride = max(1, len(x) // width)
        here = series.nearest(self.cross) if self.cross is not None else len(x) - 1 - by * stride
        index = max(0, min(len(x) - 1, (here or 0) + by * stride))
        self.cross = float(x[index])
        self.repaint()

    def action_uncross(self) -> None:
        self.cross = None
        self.repaint()

    def on_click(self, event: "object") -> None:
        if getattr(event, "chain", 1) == 2:
            self.post_message(self.Zoom(self))

    # --- drawing -----------------------------------------------------------------------------

    @property
    def _main(self) -> "Series | None":
        candidates = [self.curves.train, self.curves.val, *(series for _, series in self.curves.others)]
        return next((series for series in candidates if series is not None and len(series)), None)

    def title(self) -> Row:
        name: Row = [("● ", f"task:{self.curves.name}"), (self.curves.name, "title")]
        return [*name, ("  log" if self.log_y else "  linear", "muted")]

    def summary(self) -> Row:
        train, val = self.curves.train, self.curves.val
        if self.cross is not None:
            return self._read_out(self.cross)
        row: Row = []
        if train is not None and len(train):
            row.append((f"train {number(self._shown(train))}", f"task:{self.curves.name}"))
        if val is not None and len(val):
            skill = self.curves.level is None or (val.last or 0) < self.curves.level
            row.append((f"  val {number(val.last)}", "text" if skill else "warn"))
        return row

    def _shown(self, train: "Series") -> float | None:
        return float(train.smooth[-1]) if self.smooth else train.last

    def _read_out(self, cross: float) -> Row:
        row: Row = [(f"step {count(cross)}", "accent")]
        for label, series in (("train", self.curves.train), ("val", self.curves.val)):
            index = series.nearest(cross) if series is not None else None
            if series is not None and index is not None:
                row.append((f"  {label} {number(float(series.y[index]))}", "text"))
        return row

    def footnote(self) -> Row:
        row: Row = []
        if self.curves.train is not None and len(self.curves.train):
            row += [("━ ", f"task:{self.curves.name}"), (f"train {self.curves.quantity}", "muted")]
        if self.curves.val is not None and len(self.curves.val):
            row += [("  ╍ ", "val"), (f"val {self.curves.val_quantity}", "muted")]
        for task, series in self.curves.others:
            row += [("  ╍ ", f"task:{task}"), (f"{task} {number(series.last)}", "muted")]
        if self.curves.level is not None:
            row += [("  ╌ ", "level"), (f"copy {number(self.curves.level)}", "muted")]
        return row

    def draw(self, width: int, height: int) -> list[Row]:
        from console.tui.drawing.curves import draw_chart

        rows = draw_chart(self._chart(), width, height) if self._main is not None else None
        return rows or [[(" " + clip(self.waiting, width - 1), "muted")]]

    def _chart(self) -> "Chart":
        from console.tui.drawing.curves import Chart, Trace

        curves, ink = self.curves, f"task:{self.curves.name}"
        traces: list[Trace] = []
        train, val = curves.train, curves.val
        if train is not None and len(train):
            spread = train.low, train.high
            if self.smooth and len(train) > 30:
                traces.append(Trace(train.x, train.y, "raw", memo=train.memo, spread=spread))
                traces.append(Trace(train.x, train.smooth, ink, memo=train.smooth_memo))
            else:
                traces.append(Trace(train.x, train.y, ink, memo=train.memo, spread=spread))
        traces += [Trace(series.x, series.y, f"task:{task}", dash=3) for task, series in curves.others]
        ends: Sequence[float] = ()
        if val is not None and len(val):
            traces.append(Trace(val.x, val.y, "val", dash=3))
            ends = val.x.tolist()
        return Chart(traces, self.log_y, curves.level, curves.stages, ends, self.cross)
