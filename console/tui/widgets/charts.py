"""The charts of a run with the line above them: what is shown of them, and how."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from console.tui.chart_view import ChartView
from console.tui.curves import reach_of
from console.tui.drawing.axes import XAxis
from console.tui.drawing.curves import rounded_reach
from console.tui.drawing.text import Row
from console.tui.other_runs import OtherRun, lay_over
from console.tui.placing import Bill
from console.tui.run_curves import RunCurves, overlay
from console.tui.widgets.charts_line import ChartsLine, alert_row, count_row, joined, window_row
from console.tui.widgets.curve import CurvePanel
from console.tui.widgets.grid import CurveGrid

_FEW = 4
"""So many charts are seen at once; of more the worst come first."""
_ZOOM, _PAN = 0.5, 0.25


class Charts(Vertical):
    """One chart a task, or one of all tasks; other runs laid over them."""

    DEFAULT_CSS = """
    Charts { height: 1fr; min-height: 5; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, as what is typed next must find the filter open.
        Binding("slash", "filter", "Filter charts", show=False, priority=True, id="charts.filter"),
        Binding("n,pagedown", "turn(1)", "Next page of charts", show=False, id="charts.next"),
        Binding("N,pageup", "turn(-1)", "Page before", show=False, id="charts.previous"),
    ]

    class NoneMatched(Message):
        """No chart has a name like what was typed: all are shown."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = ChartView()
        self.curves: RunCurves | None = None
        self.others: Sequence[OtherRun] = ()
        self.overlaid = False
        self.awaited: Row = []
        """What stands where there is no chart yet."""
        self.notice: Row = []
        """What else is to be known of the run."""
        self.grid = CurveGrid(self.view)
        self.line = ChartsLine()

    def compose(self) -> ComposeResult:
        yield self.line
        yield self.grid

    # --- what is shown -----------------------------------------------------------------------

    def show(self, curves: RunCurves | None) -> None:
        """Show another run, all of it."""
        self.curves, self.others = curves, ()
        self.view.cross = None
        self.view.window.cover(None, more_come=False)
        self.view.window.reset()
        if curves is not None:
            curves.use(self.view.axis, curves.bill)
        self.grid.zoom(None)
        self.deal()

    def sync(self) -> None:
        """Take over what is new of the run."""
        if self.curves is None:
            return
        before = list(self.curves.charts)
        changed = self.curves.sync()
        if list(self.curves.charts) != before or self.overlaid or not self.grid.panels:
            self.deal()
        else:
            if changed:
                self._order()
            self._measure()  # also when nothing came but the run's end
        self.grid.changed(None if self.overlaid else changed)

    def deal(self) -> None:
        """Give each task its chart, or all one."""
        charts = list(self.curves.charts.values()) if self.curves is not None else []
        lay_over(charts, self.others)
        self.grid.set_curves([overlay(charts)] if self.overlaid else charts)
        self._order()
        self._measure()

    def tell(self, awaited: Row, notice: Row) -> None:
        """Say why there is no chart yet, and what else is to be known of the run."""
        if (awaited, notice) != (self.awaited, self.notice):
            self.awaited, self.notice = awaited, notice
            self._tell()

    def lay(self, others: Sequence[OtherRun]) -> None:
        """Lay other runs over this one."""
        self.others = others
        for other in others:
            other.curves.use(self.view.axis, other.curves.bill)
        self.deal()
        self.grid.repaint()

    def _order(self) -> None:
        """With many tasks the worst come first."""
        if self.curves is not None and not self.overlaid and len(self.curves.charts) > _FEW:
            charts = self.curves.charts
            self.grid.order(sorted(charts, key=lambda name: charts[name].badness, reverse=True))

    def _measure(self) -> None:
        """How far the axis reaches, the same for all charts; then say what is shown of it."""
        reach = reach_of(list(self.curves.charts.values())) if self.curves is not None else None
        whole = rounded_reach(*reach) if reach is not None else None
        more_come = self.curves is not None and not self.curves.live.view.done
        if self.view.window.cover(whole, more_come=more_come):
            self.grid.changed()
        self._tell()

    def _tell(self) -> None:
        page, pages = self.grid.place
        shown, alerts = len(self.grid.matching), []
        if self.curves is not None:
            alerts = [chart.alert for chart in self.curves.charts.values()]
        counted = count_row(shown, self.grid.total, page, pages, zoomed=self.grid.zoomed is not None)
        said = [window_row(self.view), counted, alert_row(alerts), self._beside(), self.notice]
        self.line.show(joined(said if self.grid.total else [self.awaited, self.notice]))

    def _beside(self) -> Row:
        return (
            [(f"over {' and '.join(f'{o.role} {o.run}' for o in self.others)}", "muted")]
            if self.others
            else []
        )

    def on_resize(self) -> None:
        self.call_after_refresh(self._tell)

    # --- keys --------------------------------------------------------------------------------

    def action_log_y(self) -> None:
        """Switch between a logarithmic and a linear axis."""
        self.view.log_y = not self.view.log_y
        self.grid.repaint()

    def action_smooth(self) -> None:
        """Switch the smoothing of training curves on or off."""
        self.view.smooth = not self.view.smooth
        self.grid.repaint()

    def action_overlay(self) -> None:
        """Lay the validation curves of all tasks over one another, or show them apart."""
        self.overlaid = not self.overlaid
        self.grid.zoom(None)
        self.deal()

    def action_magnify(self) -> None:
        """Show half of what is in sight."""
        self._zoom_x(_ZOOM, self.view.cross)

    def action_shrink(self) -> None:
        """Show twice as much."""
        self._zoom_x(1 / _ZOOM, self.view.cross)

    def action_all(self) -> None:
        """Show the whole axis."""
        self.view.window.reset()
        self._moved()

    def action_left(self) -> None:
        """Move to earlier points."""
        self._pan(-_PAN)

    def action_right(self) -> None:
        """Move to later points; at the newest one it follows again."""
        self._pan(_PAN)

    def _zoom_x(self, factor: float, around: float | None) -> None:
        self.view.window.zoom(factor, around)
        self._moved()

    def _pan(self, share: float) -> None:
        self.view.window.pan(share)
        self._moved()

    def _moved(self) -> None:
        self.grid.repaint()
        self._tell()

    @on(CurvePanel.Wheeled)
    def _wheeled(self, message: CurvePanel.Wheeled) -> None:
        message.stop()
        if message.share:
            self._pan(message.share)
        else:
            self._zoom_x(message.factor, message.around)

    def use_axis(self, axis: XAxis, bill: Bill) -> None:
        """Count something else on the x axis; what is in sight stays there."""
        self.view.axis = axis
        if self.curves is None:
            return
        moved = self.curves.use(axis, bill)
        window, shown = self.view.window, self.view.window.shown
        if self.view.cross is not None:
            self.view.cross = moved(self.view.cross)
        for other in self.others:
            other.curves.use(axis, other.curves.bill)
        if window.width is not None and shown is not None:
            low, high = moved(shown[0]), moved(shown[1])
            window.width = max(high - low, 1e-9)
            window.end = None if window.end is None else high
        self._measure()
        self.grid.repaint()

    # --- which charts ------------------------------------------------------------------------

    def action_turn(self, by: int) -> None:
        if self.grid.turn(by):
            self._tell()

    def action_filter(self) -> None:
        if self.line.typing:
            self.line.add("/")
        else:
            self.line.ask()

    @on(ChartsLine.Filtered)
    def _filtered(self, message: ChartsLine.Filtered) -> None:
        self.grid.filter(message.pattern)
        self._tell()

    @on(ChartsLine.Typed)
    def _typed(self) -> None:
        if self.line.text and not self.grid.matching:
            # With no chart in sight there would be none to have the focus, and no key to filter again.
            self.post_message(self.NoneMatched(self.line.text))
            self.line.drop()
            self.grid.filter(None)
        panel = next(iter(self.grid.panels.values()), None)
        if panel is not None:
            panel.focus()
        self._tell()

    def toggle_zoom(self) -> None:
        """Show the focused chart alone, or all again."""
        self.grid.toggle_zoom()
        self._tell()

    def zoom_out(self) -> None:
        """Show all charts."""
        self.grid.zoom(None)
        self._tell()
