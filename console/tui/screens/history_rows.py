"""What History shows of a run: its line in the table, its report, and why it stands as it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.api import RunRow
from console.tui.drawing.text import Row, clock, day, duration, fit, number
from console.tui.widgets.run_header import status_ink
from console.tui.widgets.sorted_table import Record, SortKey
from console.tui.widgets.table import Cell, Column, TableRow
from ups.tasks import TASK_SPECS

_CELLS_BESIDE_TASKS = 84
"""What the other columns need where there is room for all of them."""
_CELLS_OF_A_TASK = 12
_FEWEST_TASKS = 2


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run's cells and what they sort by; made once, whichever tasks are shown then."""

    run: RunRow
    before: tuple[tuple[Cell, SortKey], ...]
    figures: Mapping[str, tuple[Cell, SortKey]]
    after: tuple[tuple[Cell, SortKey], ...]
    text: str
    """In which a filter looks."""


def lines_of(runs: Sequence[RunRow], now: float) -> list[RunLine]:
    """The lines of runs; `now` in Unix seconds."""
    return [_line(run, now) for run in runs]


def _line(run: RunRow, now: float) -> RunLine:
    attempts = f" ×{run.attempts}" if run.attempts > 1 else ""
    mean = mean_of(run)
    gate = _gate(run)
    when = f"{day(run.created, now)} {clock(run.created)[:5]}"
    words = (run.run, run.config, str(run.status), *run.tasks, when, gate[0], run.note, run.sweep,
             "no skill" if not all(run.skill.values()) else "")  # fmt: skip
    return RunLine(
        run,
        before=(((when, "muted"), run.created), (run.run, run.run), (run.config, run.config)),
        figures={task: _figure(run, task) for task in run.one_step},
        after=(
            (number(mean), mean),
            (duration(run.seconds), run.seconds),
            ("0" if not run.usd else f"{run.usd:.2f}", run.usd),
            (gate, run.verdict or None),
            ((f"{run.status}{attempts}", status_ink(str(run.status))), str(run.status)),
        ),
        text=" ".join(words).lower(),
    )


def mean_of(run: RunRow) -> float | None:
    """Mean test error of its tasks; None where one has no skill: such a mean says nothing."""
    values = [value for value in run.one_step.values() if value is not None]
    return sum(values) / len(values) if values and all(run.skill.values()) else None


def _figure(run: RunRow, task: str) -> tuple[Cell, SortKey]:
    if run.skill.get(task) is False:
        return ("no skill", "warn"), None
    return (number(run.one_step[task]), f"task:{task}"), run.one_step[task]


def columns_of(tasks: Sequence[str]) -> list[Column]:
    """The columns, with one for each of these tasks."""
    return [
        Column("when", most=16), Column("run", most=20), Column("config", flex=True, optional=84),
        *(Column(short_name(task), align="right", most=10) for task in tasks),
        Column("mean", align="right", optional=70), Column("time", align="right"),
        Column("$", align="right"), Column("gate", most=30, optional=100), Column("status"),
    ]  # fmt: skip


def records_of(lines: Sequence[RunLine], tasks: Sequence[str]) -> list[Record]:
    """The rows of lines, as `columns_of` the same tasks."""
    nothing: tuple[Cell, SortKey] = (("–", "muted"), None)
    found = []
    for line in lines:
        cells = (*line.before, *(line.figures.get(task, nothing) for task in tasks), *line.after)
        row = TableRow(line.run.run, [cell for cell, _ in cells])
        found.append(Record(row, [key for _, key in cells], line.text))
    return found


def tasks_of(runs: Sequence[RunRow], width: int) -> list[str]:
    """The tasks of these runs, the most frequent first, as many as a table of `width` cells has room for."""
    counts: dict[str, int] = {}
    for run in runs:
        for task in run.one_step or run.tasks:
            counts[task] = counts.get(task, 0) + 1
    most = max(_FEWEST_TASKS, (width - _CELLS_BESIDE_TASKS) // _CELLS_OF_A_TASK)
    return sorted(counts, key=lambda task: -counts[task])[:most]


def short_name(task: str) -> str:
    """A task's name where there is little room."""
    return TASK_SPECS[task].short if task in TASK_SPECS else task


_GATE_INK = {"proceed": "good", "stop": "bad"}


def _gate(run: RunRow) -> tuple[str, str]:
    """The verdict on a run and what it says comes next; without one, what is wrong with its figures."""
    idle = ", ".join(short_name(task) for task, skill in run.skill.items() if skill is False)
    if not run.verdict:
        return (f"{idle}: worse than copying", "warn") if idle else ("–", "muted")
    following = run.next_config.removeprefix("train_").removeprefix("pdebench_")
    if run.next_config == f"{run.config}-{run.verdict}":
        following = "same, changed"
    text = f"{run.verdict} → {following}" if following else run.verdict
    if idle and not following:
        text = f"{run.verdict}, {idle}: no skill"
    return (text, _GATE_INK.get(run.verdict, "warn"))


def why_rows(run: RunRow, report: Mapping[str, Any] | None) -> list[Row]:
    """Why a run stands as it does: its end, the tasks it has not learned, its gates."""
    rows: list[Row] = [[(run.config, "title"), (f"  {run.run}  ", "muted"),
                        (str(run.status), status_ink(str(run.status)))]]  # fmt: skip
    if run.note:
        rows.append([(run.note, "accent")])
    rows.append([])
    tests = ((report or {}).get("splits") or {}).get("test") or {}
    for task, values in (tests.get("tasks") or {}).items():
        reached, copied = values.get("one_step"), values.get("persistence_one_step")
        if values.get("skill") is False:
            rows.append([(f"{task}: ", f"task:{task}"), ("no skill. ", "warn"),
                         (f"One step is off by {number(reached)}; copying the last state is by "
                          f"{number(copied)}. ", "text"),
                         ("It has not learned this task: its mean says nothing.", "muted")])  # fmt: skip
        elif isinstance(reached, (int, float)) and isinstance(copied, (int, float)) and reached:
            better = f"{number(reached)}, {copied / reached:.1f} times better than copying"
            rows.append([(f"{task}: ", f"task:{task}"), (better, "text")])
    gates = (report or {}).get("gates")
    if isinstance(gates, Mapping) and gates.get("verdict"):
        rows += [[], *_gate_rows(gates)]
    if report is None:
        rows += without_report(run)
    return rows


def without_report(row: RunRow) -> list[Row]:
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
        rows.append([("enter", "key"), (" shows its log and curves, ", "text"), ("C", "key"),
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
