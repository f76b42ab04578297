"""Runs beside one another: in what they differ, what each has reached, their curves, what they cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.worker import get_current_worker

from console.sweep_api import written
from console.tui.attempt import attempt
from console.tui.drawing.text import Row, clip, duration, fit, number, usd
from console.tui.live_run import LiveRun, RunCurves
from console.tui.messages import ComparisonRead, CurvesRead
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.compared_chart import ComparedChart, run_ink
from console.tui.widgets.run_header import status_ink
from console.tui.widgets.text import TextPanel

if TYPE_CHECKING:
    from console.operations import Comparison
    from console.sweep_api import TaskStanding
    from console.tui.widgets.curve import Curves

Shown = Callable[[float | None], str]
_KEY_WIDTH = 30
_VALUE_WIDTH = 18


class CompareScreen(ConsoleScreen):
    """Two runs or more, the oldest first."""

    NAME = "History"
    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#chart"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,n", "task(1)", "Next task", id="compare.next"),
        Binding("left,N", "task(-1)", "Previous task", show=False, id="compare.previous"),
        Binding("v", "quantity", "Val/train", id="compare.quantity"),
        Binding("l", "log_y", "Log-y", id="compare.log_y"),
        Binding("s", "smooth", "Smooth", id="compare.smooth"),
        Binding("escape,c", "close", "Back", id="compare.close"),
    ]

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__()
        self.runs = list(runs)

    def body(self) -> Iterable[Widget]:
        yield Horizontal(
            TextPanel(heading="config: what differs", wrap=False, id="differs"),
            TextPanel(heading="results: test nRMSE, else best validation", wrap=False, id="results"),
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
                for batch in self.ups.operations.read(run):
                    if worker.is_cancelled:
                        break
                    live.take_in(batch)
                    live.take_log()
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
        comparison = message.comparison
        self.query_one("#differs", TextPanel).show(difference_rows(comparison))
        self.query_one("#results", TextPanel).show(result_rows(comparison))

    # --- keys --------------------------------------------------------------------------------

    def action_task(self, by: int) -> None:
        """Show the curves of another task."""
        self.query_one(ComparedChart).turn(by)

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


def difference_rows(comparison: "Comparison") -> list[Row]:
    """A line for each config key in which the runs differ: the oldest's value → the next one's."""
    runs = comparison.runs
    head: Row = [(fit("", _KEY_WIDTH), "muted")]
    for place, run in enumerate(runs):
        head += [("  " if place == 0 else "→ ", "muted"), (fit(run.run or "–", _VALUE_WIDTH), run_ink(place))]
    rows = [head]
    for key in comparison.keys:
        row: Row = [(fit(clip(key, _KEY_WIDTH), _KEY_WIDTH), "text")]
        before: str | None = None
        for place, run in enumerate(runs):
            value = written(run.differs[key]) if key in run.differs else "–"
            ink = "text" if value != before else "muted"
            row += [("  " if place == 0 else "→ ", "muted"), (fit(value, _VALUE_WIDTH), ink)]
            before = value
        rows.append(row)
    if not comparison.keys:
        rows.append([("the same config", "muted")])
    return rows


def result_rows(comparison: "Comparison") -> list[Row]:
    """What each run has reached of each task, the best one marked; then cost, time and state."""
    runs = comparison.runs
    rows: list[Row] = [[(fit("", 20), "muted"), *((fit(run.run or "–", 12, "right"), run_ink(place))
                                                  for place, run in enumerate(runs))]]  # fmt: skip
    for task in comparison.tasks:
        figures = [_figure(run.tasks.get(task)) for run in runs]
        rows.append(_row(task, f"task:{task}", figures, number))
    means = [_mean([_figure(run.tasks.get(task)) for task in comparison.tasks]) for run in runs]
    rows.append(_row("mean", "title", means, number))
    rows.append([])
    rows.append(_row("time", "text", [run.seconds for run in runs], duration))
    rows.append(_row("cost", "text", [run.usd for run in runs], usd))
    rows.append([(fit("state", 20), "text"), *((fit(run.state, 12, "right"), status_ink(run.state))
                                               for run in runs)])  # fmt: skip
    rows += [[(f"! {run.run}: {run.problem}", "warn")] for run in runs if run.problem]
    return rows


def _figure(standing: "TaskStanding | None") -> float | None:
    """On the test split; before the evaluation the best on the validation split."""
    if standing is None:
        return None
    return standing.test if standing.test is not None else standing.best


def _mean(figures: Sequence[float | None]) -> float | None:
    """Of all tasks; None where one is missing: such means cannot be compared."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known and len(known) == len(figures) else None


def _row(name: str, ink: str, figures: "Sequence[float | None]", shown: Shown) -> Row:
    """One line of figures; the least is marked where they differ."""
    known = [figure for figure in figures if figure is not None]
    best = min(known) if len(known) > 1 and min(known) < max(known) else None
    row: Row = [(fit(clip(name, 20), 20), ink)]
    for figure in figures:
        is_best = best is not None and figure == best
        text = f"{'★ ' if is_best else ''}{shown(figure)}"
        row.append((fit(text, 12, "right"), "good" if is_best else "text" if figure is not None else "muted"))
    return row
