"""History: what did I learn, and what did it cost?"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.api import RunRow
from console.tui.drawing.text import Row, clock, day, duration, fit, number, usd
from console.tui.messages import NextWritten, ReportRead, RunsRead
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.run_header import status_ink
from console.tui.widgets.table import Cell, Column, Table, TableRow
from console.tui.widgets.text import TextPanel
from ups.errors import NotFoundError
from ups.tasks import TASK_SPECS

if TYPE_CHECKING:
    from console.operations import Operations


class HistoryScreen(ConsoleScreen):
    """All runs, with what they reached on the test split."""

    NAME = "History"
    CSS_PATH = "history.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open on Live", id="history.open"),
        Binding("c", "resume", "Continue", id="history.resume"),
        # Before the table's own g, which goes to the first row as Home does.
        Binding("g", "write_next", "Next config", priority=True, id="history.next"),
        Binding("r", "reread", "Read again", show=False, id="history.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, RunRow] = {}

    def body(self) -> Iterable[Widget]:
        yield Table([Column("run", flex=True)], title="runs", empty="reading the runs", id="runs")
        yield TextPanel(heading="report", wrap=False, id="details")

    def on_mount(self) -> None:
        self.query_one(Table).focus()

    def refresh_data(self) -> None:
        self.operate("reading the runs", lambda ops: ops.runs(), RunsRead, group="runs")

    # --- what was read -----------------------------------------------------------------------

    @on(RunsRead)
    def _show_runs(self, message: RunsRead) -> None:
        self.runs = {row.run: row for row in message.runs}
        tasks = _tasks_of(message.runs)
        table = self.query_one(Table)
        table.empty = "no run yet: 1 launches one"
        table.columns = [
            Column("day"), Column("at", optional=100), Column("run", most=20),
            Column("config", flex=True, optional=84),
            *(Column(_short(task), align="right", most=10) for task in tasks),
            Column("mean", align="right", optional=70), Column("gate", most=30, optional=100),
            Column("time", align="right"),
            Column("$", align="right"), Column("status"),
        ]  # fmt: skip
        now = time.time()
        table.set_rows(run_cells(row, tasks, now) for row in message.runs)
        spent = sum(row.usd for row in message.runs)
        table.note = [
            (f"{len(message.runs)} run{'s' * (len(message.runs) != 1)}, {usd(spent)} in all", "muted")
        ]
        self._read_report()

    @on(Table.Moved)
    def _read_report(self) -> None:
        run = self.query_one(Table).cursor_key
        if run is not None:
            self.operate(
                "reading the report",
                lambda ops: _report(ops, run),
                lambda report: ReportRead(run, report),
                group="report",
            )

    @on(ReportRead)
    def _show_report(self, message: ReportRead) -> None:
        row = self.runs.get(message.run)
        if row is None or message.run != self.query_one(Table).cursor_key:
            return
        heading: Row = [("report of ", "muted"), (row.run, "title")]
        rows = report_rows(message.report) if message.report else _without_report(row)
        if row.note:
            rows = [[(row.note, "accent")], *rows]
        self.query_one("#details", TextPanel).show(rows, heading)

    # --- keys --------------------------------------------------------------------------------

    def possible(self, action: str) -> bool:
        """Only an ended run is continued, and only a gate that named a config writes it."""
        row = self.runs.get(self.query_one(Table).cursor_key or "")
        if action == "reread":
            return True
        if row is None:
            return False
        return {"resume": row.status.ended, "write_next": bool(row.next_config)}.get(action, True)

    @on(Table.Selected)
    async def action_open(self) -> None:
        """Show the run under the cursor on Live."""
        run = self.query_one(Table).cursor_key
        if run is not None:
            self.ups.selected_run = run
            await self.ups.action_show("live")

    def action_resume(self) -> None:
        """Go on with the run under the cursor from its last checkpoint."""
        run = self.query_one(Table).cursor_key
        if run is None:
            return
        from console.tui.messages import RunLaunched

        self.ups.notice(f"going on with {run}", ink="muted")
        self.operate("resuming", lambda ops: ops.resume(run), RunLaunched, group="launch", exclusive=False)

    def action_write_next(self) -> None:
        """Write the config that the gates of the run under the cursor say comes next."""
        run = self.query_one(Table).cursor_key
        if run is not None:
            self.operate(
                "writing the next config", lambda ops: ops.write_next(run), NextWritten, group="next"
            )

    @on(NextWritten)
    def _say_where(self, message: NextWritten) -> None:
        self.ups.notice("the next config is written, 1 launches it", str(message.path), ink="good")

    def action_reread(self) -> None:
        """Read the runs again."""
        self.refresh_data()


def _report(operations: "Operations", run: str) -> dict[str, Any] | None:
    try:
        return operations.report(run)
    except NotFoundError:
        return None


def _tasks_of(runs: Sequence[RunRow]) -> list[str]:
    """The tasks that any run judged, at most five, the most frequent first."""
    counts: dict[str, int] = {}
    for row in runs:
        for task in row.one_step or row.tasks:
            counts[task] = counts.get(task, 0) + 1
    return sorted(counts, key=lambda task: -counts[task])[:5]


def _short(task: str) -> str:
    return TASK_SPECS[task].short if task in TASK_SPECS else task


def run_cells(row: RunRow, tasks: Sequence[str], now: float) -> TableRow:
    """The table row of a run."""
    figures: list[Cell] = []
    for task in tasks:
        if task not in row.one_step:
            figures.append(("–", "muted"))
        elif row.skill.get(task) is False:
            figures.append(("no skill", "warn"))
        else:
            figures.append((number(row.one_step[task]), f"task:{task}"))
    values = [value for value in row.one_step.values() if value is not None]
    mean = number(sum(values) / len(values)) if values and all(row.skill.values()) else "–"
    attempts = f" ×{row.attempts}" if row.attempts > 1 else ""
    cells: list[Cell] = [
        (day(row.created, now), "muted"),
        (clock(row.created)[:5], "muted"),
        row.run,
        row.config,
        *figures,
        mean,
        _gate(row),
        duration(row.seconds),
        "0" if not row.usd else f"{row.usd:.2f}",
        (f"{row.status}{attempts}", status_ink(str(row.status))),
    ]
    return TableRow(row.run, cells)


_GATE_INK = {"proceed": "good", "stop": "bad"}


def _gate(row: RunRow) -> Cell:
    """The verdict on a run, and what it says comes next."""
    if not row.verdict:
        return ("–", "muted")
    following = row.next_config.removeprefix("train_").removeprefix("pdebench_")
    if row.next_config == f"{row.config}-{row.verdict}":
        following = "same, changed"
    text = f"{row.verdict} → {following}" if following else row.verdict
    return (text, _GATE_INK.get(row.verdict, "warn"))


def _without_report(row: RunRow) -> list[Row]:
    if not row.status.ended:
        return [
            [
                ("runs: its report comes with the evaluation.  ", "muted"),
                ("enter", "key"),
                (" shows it live", "text"),
            ]
        ]
    rows: list[Row] = [[(f"{row.status}, without an evaluation", status_ink(str(row.status)))]]
    if row.status != "succeeded":
        rows.append([("enter", "key"), (" shows its log and curves, ", "text"), ("c", "key"),
                     (" goes on from its last checkpoint", "text")])  # fmt: skip
    return rows


_REPORT_COLUMNS = (
    ("one step", "one_step"), ("rollout", "rollout"),
    ("copy", "persistence_one_step"), ("copy roll.", "persistence_rollout"),
)  # fmt: skip


def report_rows(report: Mapping[str, Any]) -> list[Row]:
    """A report as a table: what was reached, beside what copying the last frame scores."""
    rows: list[Row] = []
    for split, content in (report.get("splits") or {}).items():
        head = f"{'nRMSE, ' + split:<22}" + "".join(f"{title:>12}" for title, _ in _REPORT_COLUMNS)
        rows.append([(head, "muted")])
        for task, values in (content.get("tasks") or {}).items():
            row: Row = [(fit(task, 22), f"task:{task}")]
            for _, key in _REPORT_COLUMNS:
                value = values.get(key)
                shown = number(value) if isinstance(value, (int, float)) else "–"
                row.append((f"{shown:>12}", "muted" if key.startswith("persistence") else "text"))
            if values.get("skill") is False:
                row.append(("  no skill", "warn"))
            rows.append(row)
        rows.append([])
    gates = report.get("gates")
    if isinstance(gates, Mapping) and gates.get("verdict"):
        rows += _gate_rows(gates)
    return rows


def _gate_rows(gates: Mapping[str, Any]) -> list[Row]:
    verdict = str(gates["verdict"])
    rows: list[Row] = [[("gate: ", "muted"), (verdict, _GATE_INK.get(verdict, "warn"))]]
    rows += [[(f"  {reason}", "text")] for reason in gates.get("reasons") or ()]
    following = gates.get("next")
    if isinstance(following, Mapping):
        rows.append([("next: ", "muted"), (str(following.get("config") or "the same config"), "title"),
                     (f"  {following.get('why') or ''}", "muted")])  # fmt: skip
        rows += [[(f"  {key}: {value}", "text")] for key, value in (following.get("patch") or {}).items()]
    return rows
