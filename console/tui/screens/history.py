"""History: what did I learn, and what did it cost?"""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.tui.drawing.text import Row, usd
from console.tui.messages import LinesMade, NextWritten, ReplayReady, ReportRead, ReportWritten
from console.tui.screens.base import ConsoleScreen
from console.tui.screens.history_rows import (
    RunLine,
    columns_of,
    lines_of,
    records_of,
    report_rows,
    tasks_of,
    why_rows,
    without_report,
)
from console.tui.widgets.sorted_table import SortedTable
from console.tui.widgets.text import TextPanel
from ups.errors import NotFoundError

if TYPE_CHECKING:
    from console.operations import Operations

_REPLAY_SPEED = 60.0


class HistoryScreen(ConsoleScreen):
    """All runs, with what they reached on the test split."""

    NAME = "History"
    CSS_PATH = "history.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open on Live", id="history.open"),
        Binding("c", "compare", "Compare", id="history.compare"),
        Binding("P", "replay", "Replay", id="history.replay"),
        # Before the table's own g, which goes to the first row as Home does.
        Binding("g", "write_next", "Next config", priority=True, id="history.next"),
        Binding("w", "why", "Why", id="history.why"),
        Binding("C", "resume", "Continue", id="history.resume"),
        Binding("R", "write_report", "Report", id="history.report"),
        Binding("r", "reread", "Read again", show=False, id="history.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, RunLine] = {}
        self.reports: dict[str, dict[str, Any] | None] = {}
        """Of the runs that the cursor was on."""
        self._tasks: Sequence[str] = ()

    def body(self) -> Iterable[Widget]:
        yield SortedTable(columns_of(()), title="runs", empty="reading the runs", id="runs")
        yield TextPanel(heading="report", wrap=False, id="details")

    def on_mount(self) -> None:
        self.query_one(SortedTable).focus()

    def refresh_data(self) -> None:
        self.operate(
            "reading the runs",
            lambda ops: ops.runs(),
            lambda runs: LinesMade(lines_of(runs, time.time())),
            group="runs",
        )

    # --- what was read -----------------------------------------------------------------------

    @on(LinesMade)
    def _show_runs(self, message: LinesMade) -> None:
        self.lines = {line.run.run: line for line in message.lines}
        table = self.query_one(SortedTable)
        table.empty = "no run yet: 1 launches one"
        spent = sum(line.run.usd for line in message.lines)
        count = len(message.lines)
        table.note = [(f"{count} run{'s' * (count != 1)}, {usd(spent)} in all", "muted")]
        self._show_lines(self._shown())
        self._read_report()

    def _shown(self) -> list[RunLine]:
        """Those that match what is filtered for."""
        matching = {record.row.key for record in self.query_one(SortedTable).matching}
        return [line for run, line in self.lines.items() if run in matching] or list(self.lines.values())

    def _show_lines(self, shown: Sequence[RunLine]) -> None:
        """Have a column for each task of what is shown."""
        self._tasks = tasks_of([line.run for line in shown], self.size.width)
        lines = list(self.lines.values())
        self.query_one(SortedTable).show(columns_of(self._tasks), records_of(lines, self._tasks))

    @on(SortedTable.Filtered)
    def _filtered(self) -> None:
        shown = self._shown()
        if list(self._tasks) != tasks_of([line.run for line in shown], self.size.width):
            self._show_lines(shown)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        if self.lines:
            self._filtered()

    @on(SortedTable.Moved)
    def _read_report(self) -> None:
        run = self.query_one(SortedTable).cursor_key
        if run is not None:
            self.operate(
                "reading the report",
                lambda ops: _report(ops, run),
                lambda report: ReportRead(run, report),
                group="report",
            )

    @on(ReportRead)
    def _show_report(self, message: ReportRead) -> None:
        self.reports[message.run] = message.report
        line = self.lines.get(message.run)
        if line is None or message.run != self.query_one(SortedTable).cursor_key:
            return
        row = line.run
        heading: Row = [("report of ", "muted"), (row.run, "title")]
        rows = report_rows(message.report) if message.report else without_report(row)
        if row.note:
            rows = [[(row.note, "accent")], *rows]
        self.query_one("#details", TextPanel).show(rows, heading)

    # --- keys --------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is typed, letters are letters."""
        if action == "write_next" and any(table.is_typing for table in self.query(SortedTable)):
            return False
        return super().check_action(action, parameters)

    @property
    def chosen(self) -> str | None:
        """The run under the cursor."""
        return self.query_one(SortedTable).cursor_key

    def possible(self, action: str) -> bool:
        """Only an ended run is continued, and only a gate that named a config writes it."""
        if action == "reread":
            return True
        if self.chosen is None or self.chosen not in self.lines:
            return False
        row = self.lines[self.chosen].run
        return {"resume": row.status.ended, "write_next": bool(row.next_config)}.get(action, True)

    @on(SortedTable.Selected)
    async def action_open(self) -> None:
        """Show the run under the cursor on Live."""
        if self.chosen is not None:
            self.ups.selected_run = self.chosen
            await self.ups.action_show("live")

    def action_compare(self) -> None:
        """Lay the marked runs over one another, the oldest first."""
        table = self.query_one(SortedTable)
        runs = [run for run in table.marked if run in self.lines]
        if len(runs) == 1 and self.chosen not in (None, *runs):
            runs.append(str(self.chosen))
        if len(runs) < 2:
            self.ups.notice("mark two runs or more to compare them", "space marks the one under the cursor")
            return
        from console.tui.screens.compare import CompareScreen

        runs.sort(key=lambda run: self.lines[run].run.created)
        self.ups.push_screen(CompareScreen(runs))

    def action_replay(self) -> None:
        """Play the run under the cursor as if it were live once more."""
        run = self.chosen
        if run is not None:
            self.operate(
                "replaying", lambda ops: ops.replay(run, speed=_REPLAY_SPEED), ReplayReady, group="replay"
            )

    @on(ReplayReady)
    def _play(self, message: ReplayReady) -> None:
        from console.tui.screens.replay import ReplayScreen

        self.ups.push_screen(ReplayScreen(message.replay))

    def action_why(self) -> None:
        """Say why the run under the cursor stands as it does."""
        if self.chosen is not None and self.chosen in self.lines:
            rows = why_rows(self.lines[self.chosen].run, self.reports.get(self.chosen))
            self.ups.show_text(f"why {self.chosen}", rows)

    def action_resume(self) -> None:
        """Go on with the run under the cursor from its last checkpoint."""
        run = self.chosen
        if run is None:
            return
        from console.tui.messages import RunLaunched

        self.ups.notice(f"going on with {run}", ink="muted")
        self.operate("resuming", lambda ops: ops.resume(run), RunLaunched, group="launch", exclusive=False)

    def action_write_next(self) -> None:
        """Write the config that the gates of the run under the cursor say comes next."""
        run = self.chosen
        if run is not None:
            self.operate(
                "writing the next config", lambda ops: ops.write_next(run), NextWritten, group="next"
            )

    @on(NextWritten)
    def _say_where(self, message: NextWritten) -> None:
        self.ups.notice("the next config is written, 1 launches it", str(message.path), ink="good")

    def action_write_report(self) -> None:
        """Write the report of the run under the cursor as a page, into the run's directory."""
        run = self.query_one(SortedTable).cursor_key
        if run is not None:
            self.ups.notice(f"writing the report of {run}", ink="muted")
            self.operate(
                "writing the report",
                lambda ops: ops.write_report(run),
                lambda paths: ReportWritten(run, paths[0]),
                group="page",
            )

    @on(ReportWritten)
    def _say_where_the_report_is(self, message: ReportWritten) -> None:
        self.ups.notice(f"the report of {message.run} is written", str(message.path), ink="good")

    def action_reread(self) -> None:
        """Read the runs again."""
        self.refresh_data()


def _report(operations: "Operations", run: str) -> dict[str, Any] | None:
    try:
        return operations.report(run)
    except NotFoundError:
        return None
