"""The runs that a run is laid over: the last and the best of the same config and tasks."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from console.tui.curves import Curves, Line
from console.tui.live_run import LiveRun
from console.tui.placing import Bill
from console.tui.run_curves import RunCurves

if TYPE_CHECKING:
    from console.api import RunRow

_CAPACITY = 4096
"""Points that are kept of each of its curves: a chart has at most about 600 columns of dots."""
_PORTION = 2000


class Beside(StrEnum):
    """Which other runs are laid over the one that is shown."""

    NONE = "none"
    LAST = "last"
    BEST = "best"
    BOTH = "both"

    def following_of(self, found: Collection[str]) -> "Beside":
        """The next one, where a key goes through all, whose roles were found."""
        every = list(Beside)
        after = [*every[every.index(self) + 1 :], Beside.NONE]
        return next(beside for beside in after if set(beside.roles) <= set(found))

    @property
    def roles(self) -> tuple[str, ...]:
        """Of `last` and `best` those that are shown."""
        return {"none": (), "both": ("last", "best")}.get(self.value, (self.value,))


class OtherRun(Struct, frozen=True):
    """A run that was read to be laid over another."""

    role: str
    """`last` or `best`, both where it is both."""
    run: str
    curves: RunCurves

    def lines(self, task: str) -> list[Line]:
        """Its training, averaged, and its validation of a task."""
        chart, ink = self.curves.charts.get(task), self.role.partition(",")[0]
        if chart is None:
            return []
        return [
            Line(label, series, ink, smooth)
            for label, series, smooth in (
                (f"{self.role} {self.run}", chart.train, True), ("val", chart.val, False),
            )
            if series is not None
        ]  # fmt: skip


def candidates(rows: "Sequence[RunRow]", shown: str) -> "dict[str, RunRow]":
    """The last run before `shown` and the best one, of the same config and tasks: role → run.

    Without an earlier run the last one is the newest; a best one is known only of runs that were evaluated.
    """
    this = next((row for row in rows if row.run == shown), None)
    if this is None:
        return {}
    alike = [
        row
        for row in rows
        if row.run != shown and (row.config, set(row.tasks)) == (this.config, set(this.tasks))
    ]
    newest_first = sorted(alike, key=lambda row: row.created, reverse=True)
    found = {}
    if newest_first:
        found["last"] = next((row for row in newest_first if row.created < this.created), newest_first[0])
    scores = [(score, row.run, row) for row in alike if (score := _score(row)) is not None]
    if scores:
        found["best"] = min(scores)[2]
    return found


def _score(row: "RunRow") -> float | None:
    errors = [row.one_step.get(task) for task in row.tasks]
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known and len(known) == len(errors) else None


def bill_of(row: "RunRow") -> Bill:
    """What a finished run cost, spread evenly over its time."""
    rate = row.usd / row.seconds * 3600 if row.seconds else 0.0
    return Bill(((row.created, rate),))


def read_run(run: str, directories: Iterable[Path], is_cancelled: Callable[[], bool]) -> LiveRun | None:
    """What the mirror holds of a run's curves; None where it was called off."""
    # Late: one decodes lines, the other reads configs.
    from console.runs.event_lines import EventLines
    from ups.rundir import RunDirectory

    live = LiveRun(run, _CAPACITY)
    for directory in directories:
        lines = EventLines(RunDirectory(directory).events_path)
        while events := lines.read():
            for start in range(0, len(events), _PORTION):
                if is_cancelled():
                    return None
                live.view.apply_all(events[start : start + _PORTION])
    return live


def read_others(
    runs: Mapping[str, str],
    bills: Mapping[str, Bill],
    directories: Callable[[str], Iterable[Path]],
    is_cancelled: Callable[[], bool],
) -> list[OtherRun]:
    """Read runs to lay them over another.

    Args:
        runs: role → run; one run may have two roles.
        bills: what each of them cost.
        directories: run → its mirrored run directories.
        is_cancelled: asked now and then.
    """
    others = []
    for run in dict.fromkeys(runs.values()):
        live = read_run(run, directories(run), is_cancelled)
        if live is not None:
            curves = RunCurves(live, bill=bills[run])
            curves.sync()
            others.append(OtherRun(", ".join(role for role in runs if runs[role] == run), run, curves))
    return others


def lay_over(charts: Iterable[Curves], others: Sequence[OtherRun]) -> None:
    """Lay other runs over the charts of one, in place of those that lay there."""
    for chart in charts:
        chart.others = [line for other in others for line in other.lines(chart.name)]
