"""What the keys of the Live screen do with its charts: zoom, axis, other runs, the machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from console.tui.drawing.axes import XAxis
from console.tui.live_run import LiveRun
from console.tui.messages import OtherRunsRead
from console.tui.other_runs import Beside, bill_of, candidates, read_others
from console.tui.placing import Bill
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.charts import Charts
from console.tui.widgets.machine import Machine

if TYPE_CHECKING:
    from console.operations import Operations, RunRow

CHART_KEYS: list[BindingType] = [
    Binding("plus,equals_sign", "charts('magnify')", "Zoom x", key_display="+", id="live.magnify"),
    Binding("minus", "charts('shrink')", "Show more of x", show=False, id="live.shrink"),
    Binding("0", "charts('all')", "Show all of x", show=False, id="live.all"),
    Binding("less_than_sign,shift+left", "charts('left')", "Earlier part of x", show=False, id="live.left"),
    Binding(
        "greater_than_sign,shift+right", "charts('right')", "Later part of x", show=False, id="live.right"
    ),
    Binding("a", "axis", "X axis", id="live.axis"),
    Binding("l", "charts('log_y')", "Log-y", id="live.log_y"),
    Binding("s", "charts('smooth')", "Smooth", id="live.smooth"),
    Binding("o", "overlay", "Overlay", id="live.overlay"),
    Binding("c", "beside", "Other runs", id="live.beside"),
    Binding("m", "machine", "Machine", id="live.machine"),
]


class ScreenWithCharts(ConsoleScreen):
    """A screen with `Charts` and a `Machine` of one run."""

    def __init__(self) -> None:
        super().__init__()
        self.charts = Charts(id="curves")
        self.live: LiveRun | None = None
        self.runs: Sequence[RunRow] = ()
        self.bills: dict[str, Bill] = {}
        """run → what its instances cost, where the fleet has any."""
        self.beside = Beside.NONE
        self.zoomed = ""
        """Id of the pane that fills the screen."""
        self.shows_machine = False
        """In place of rollout and log."""

    def _show_panes(self, *, empty: bool = False) -> None:
        """Show the panes that have their place now."""
        raise NotImplementedError

    def action_charts(self, what: str) -> None:
        """Do something with the charts, wherever the focus is."""
        getattr(self.charts, f"action_{what}")()
        self._repaint_machine()

    def action_overlay(self) -> None:
        """Lay the validation curves of all tasks over one another, or show them apart."""
        self.zoomed = ""
        self.charts.action_overlay()
        self._show_panes()

    @on(Charts.NoneMatched)
    def _none_matched(self, message: Charts.NoneMatched) -> None:
        self.ups.notice(f"no chart is called /{message.text}", "all are shown")

    # --- the axis ----------------------------------------------------------------------------

    def action_axis(self) -> None:
        """Count steps, epochs, time or dollars on the x axis."""
        charts = self.charts
        axis, bill = charts.view.axis.following, self._bill()
        if axis is XAxis.DOLLARS and bill.is_free:
            self.ups.notice("no dollars to count", "the run's machine costs nothing, as far as is known")
            axis = axis.following
        charts.use_axis(axis, bill)
        self._repaint_machine()

    def _price_changed(self) -> None:
        """The fleet was read: another price moves the points along an axis of dollars."""
        charts = self.charts
        if charts.view.axis is XAxis.DOLLARS and charts.curves is not None:
            bill = self._bill()
            if bill != charts.curves.bill:
                charts.use_axis(XAxis.DOLLARS, bill)

    def _bill(self) -> Bill:
        """What the run that is shown costs."""
        run = self.live.run if self.live is not None else ""
        row = next((row for row in self.runs if row.run == run), None)
        return self.bills.get(run) or (bill_of(row) if row is not None else Bill())

    # --- the machine -------------------------------------------------------------------------

    def action_machine(self) -> None:
        """Show what the machine does in place of rollout and log, or these again."""
        self.shows_machine = not self.shows_machine
        self.zoomed = ""
        self._show_machine()
        self._show_panes()

    def _show_machine(self) -> None:
        if self.live is not None and self.shows_machine:
            with self.live.lock:
                self.query_one(Machine).show(self.live.view.machine, self.live.view.first_t or 0.0)

    def _repaint_machine(self) -> None:
        if self.shows_machine:
            self.query_one(Machine).repaint()

    # --- other runs --------------------------------------------------------------------------

    def action_beside(self) -> None:
        """Lay the last, the best or both runs of the same config over this one."""
        found = candidates(self.runs, self.live.run) if self.live is not None else {}
        if not found:
            self.beside = Beside.NONE
            self.ups.notice("no other run of this config with the same tasks", "5 lists all")
            return
        self.beside = self.beside.following_of(found)
        if "best" not in found and self.beside is Beside.NONE:
            self.ups.notice("no other run of this config was evaluated: none is best")
        self._read_beside()

    def _read_beside(self) -> None:
        """Read the runs that shall lie over the one that is shown; without one none does."""
        live = self.live
        found = candidates(self.runs, live.run) if live is not None else {}
        rows = {role: found[role] for role in self.beside.roles if role in found}
        self.workers.cancel_group(self, "beside")
        if live is None or not rows:
            self.charts.lay(())
            return
        bills = {row.run: self.bills.get(row.run) or bill_of(row) for row in rows.values()}

        def read(operations: "Operations") -> OtherRunsRead:
            worker = get_current_worker()
            runs = {role: row.run for role, row in rows.items()}
            return OtherRunsRead(
                live.run, read_others(runs, bills, operations.run_directories, lambda: worker.is_cancelled)
            )

        names = ", ".join(dict.fromkeys(row.run for row in rows.values()))
        self.operate(f"reading {names}", read, lambda message: message, group="beside")

    @on(OtherRunsRead)
    def _show_others(self, message: OtherRunsRead) -> None:
        if self.live is not None and message.run == self.live.run and self.beside is not Beside.NONE:
            self.charts.lay(message.others)
