"""The curves of several runs over one another, for one task at a time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from console.tui.drawing.text import Ink, Row, clip, number
from console.tui.widgets.panel import Panel
from ups.tasks import TASK_SPECS

if TYPE_CHECKING:
    from console.tui.series import Series
    from console.tui.widgets.curve import Curves

_DASHES = (0, 4, 2)
"""Runs differ by more than their colour."""


def run_ink(place: int) -> Ink:
    """The ink of the run at some place: the colours of the tasks, in their order."""
    names = list(TASK_SPECS)
    return f"task:{names[place % len(names)]}"


class ComparedChart(Panel, can_focus=True):
    """Validation or training curves of one task, one line a run."""

    def __init__(self, runs: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.runs = runs
        self.curves: dict[str, Mapping[str, Curves]] = {}
        """run → task → its curves, as far as they were read."""
        self.shown = ""
        """The task whose curves are drawn."""
        self.log_y = True
        self.smooth = True
        self.training = False
        """Training instead of validation."""

    @property
    def tasks(self) -> list[str]:
        """Of all runs, in the order of the first."""
        found = [task for run in self.runs for task in self.curves.get(run, {})]
        return list(dict.fromkeys(found))

    def show(self, run: str, curves: "Mapping[str, Curves]") -> None:
        """The curves of one more run."""
        self.curves[run] = curves
        if self.shown not in self.tasks and self.tasks:
            self.shown = self.tasks[0]
        self.changed()

    def turn(self, by: int) -> None:
        """Show another task."""
        tasks = self.tasks
        if tasks:
            here = tasks.index(self.shown) if self.shown in tasks else 0
            self.shown = tasks[(here + by) % len(tasks)]
            self.repaint()

    def _series(self, run: str) -> "Series | None":
        curves = self.curves.get(run, {}).get(self.shown)
        if curves is None:
            return None
        series = curves.train if self.training else curves.val
        return series if series is not None and len(series) else None

    def title(self) -> Row:
        tasks = self.tasks
        place = f"  {tasks.index(self.shown) + 1} of {len(tasks)}" if self.shown in tasks else ""
        quantity = "training" if self.training else "validation"
        axis = "log" if self.log_y else "linear"
        return [("● ", f"task:{self.shown}"), (self.shown, "title"), (f"  {quantity} · {axis}", "muted"),
                (place, "muted"), ("  ←→ others" if len(tasks) > 1 else "", "muted")]  # fmt: skip

    def footnote(self) -> Row:
        row: Row = []
        for place, run in enumerate(self.runs):
            series = self._series(run)
            mark = "━" if not _DASHES[place % 3] else "╍"
            last = number(series.last) if series is not None else "–"
            row += [(f"{mark} ", run_ink(place)), (f"{run} ", "text"), (f"{last}   ", "muted")]
        return row

    def draw(self, width: int, height: int) -> list[Row]:
        from console.tui.drawing.curves import Chart, Trace, draw_chart

        traces = []
        for place, run in enumerate(self.runs):
            series = self._series(run)
            if series is not None:
                smooth = self.training and self.smooth and len(series) > 30
                values, memo = (series.smooth, series.smooth_memo) if smooth else (series.y, series.memo)
                traces.append(Trace(series.x, values, run_ink(place), dash=_DASHES[place % 3], memo=memo))
        rows = draw_chart(Chart(traces, self.log_y), width, height) if traces else None
        waiting = (
            "reading the curves" if len(self.curves) < len(self.runs) else "no point: v shows the others"
        )
        return rows or [[(" " + clip(waiting, width - 1), "muted")]]
