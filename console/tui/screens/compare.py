"""Runs beside one another: in what they differ, what each has reached, their curves, what they cost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.worker import get_current_worker

from console.tui.attempt import attempt
from console.tui.live_run import LiveRun
from console.tui.messages import ComparisonRead, CurvesRead
from console.tui.run_curves import RunCurves
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.compared_chart import ComparedChart
from console.tui.widgets.compared_runs import ComparedRuns, Differences, Results

if TYPE_CHECKING:
    from console.tui.curves import Curves


class CompareScreen(ConsoleScreen):
    """Two runs or more, the oldest first."""

    NAME = "History"
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#chart"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "task(1)", "Next task", id="compare.next"),
        Binding("left", "task(-1)", "Previous task", show=False, id="compare.previous"),
        Binding("greater_than_sign", "runs(1)", "Other runs", key_display="<>", id="compare.later"),
        Binding("less_than_sign", "runs(-1)", "Runs before", show=False, id="compare.earlier"),
        Binding("v", "quantity", "Val/train", id="compare.quantity"),
        Binding("l", "log_y", "Log-y", id="compare.log_y"),
        Binding("s", "smooth", "Smooth", id="compare.smooth"),
        Binding("escape", "close", "Back", id="compare.close"),
    ]

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__()
        self.runs = list(runs)

    def body(self) -> Iterable[Widget]:
        yield Horizontal(
            Differences("config: what differs", id="differs"),
            Results("test nRMSE, else best validation", id="results"),
            id="upper",
        )
        yield ComparedChart(self.runs, id="chart")

    def refresh_data(self) -> None:
        self.operate(
            "comparing the runs", lambda ops: ops.compare(self.runs), ComparisonRead, group="compare"
        )
        self._read_curves()

    @work(thread=True, exclusive=True, group="curves", exit_on_error=False)
    def _read_curves(self) -> None:
        worker = get_current_worker()
        for run in self.runs:

            def read(run: str = run) -> CurvesRead:
                live = LiveRun(run)
                for batch in self.ups.operations.read(run, log=False):
                    if worker.is_cancelled:
                        break
                    live.take_in(batch)
                return CurvesRead(run, _curves_of(live))

            message = attempt(f"reading {run}", read)
            if message is not None and not worker.is_cancelled:
                self.post_message(message)

    @on(CurvesRead)
    def _show_curves(self, message: CurvesRead) -> None:
        chart = self.query_one(ComparedChart)
        chart.show(message.run, message.curves)
        series = [task.val for curves in chart.curves.values() for task in curves.values()]
        if len(chart.curves) == len(self.runs) and not any(series):
            chart.training = True

    @on(ComparisonRead)
    def _show_comparison(self, message: ComparisonRead) -> None:
        for panel in self.query(ComparedRuns):
            panel.compare(message.comparison)

    # --- keys --------------------------------------------------------------------------------

    def action_task(self, by: int) -> None:
        """Show the curves of another task."""
        self.query_one(ComparedChart).turn(by)

    def possible(self, action: str) -> bool:
        """Columns move where some are hidden."""
        return action != "runs" or any(panel.hidden for panel in self.query(ComparedRuns))

    def action_runs(self, by: int) -> None:
        """Show the columns of other runs; the oldest stays."""
        for panel in self.query(ComparedRuns):
            panel.turn(by)

    def action_quantity(self) -> None:
        """Switch between validation and training."""
        chart = self.query_one(ComparedChart)
        chart.training = not chart.training
        chart.repaint()

    def action_log_y(self) -> None:
        """Switch between a logarithmic and a linear axis."""
        chart = self.query_one(ComparedChart)
        chart.log_y = not chart.log_y
        chart.repaint()

    def action_smooth(self) -> None:
        """Switch the smoothing of training curves on or off."""
        chart = self.query_one(ComparedChart)
        chart.smooth = not chart.smooth
        chart.repaint()

    def action_close(self) -> None:
        """Back to History."""
        self.app.pop_screen()


def _curves_of(live: LiveRun) -> "Mapping[str, Curves]":
    curves = RunCurves(live)
    curves.sync()
    return curves.charts
