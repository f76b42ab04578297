"""`compare`: runs side by side, once or as they go on; and the table that a sweep shows of itself."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from console.cli.app import Session, command
from console.cli.render import duration, money, number, table
from console.operations import ComparedRun, Comparison, TaskStanding
from console.sweep_api import written

_MOST_COLUMNS = 4
"""More keys that differ stand below the table, a line each."""


def register(cli: click.Group) -> None:
    """Add the commands of this module."""

    @command(cli, "compare")
    @click.argument("runs", nargs=-1)
    @click.option("-f", "--follow", is_flag=True, help="Show them anew whenever something has changed.")
    def compare(session: Session, runs: tuple[str, ...], follow: bool) -> None:
        """RUNs side by side: validation of each task, keys that differ, state, cost.

        A sweep's id stands for all of its runs; without any the newest sweep is shown. It ends no run.
        """
        if not follow:
            comparison = session.operations.compare(runs)
            session.answer(asdict(comparison), comparison_text(comparison))
            return
        screen = Redrawn()
        for comparison in session.operations.follow_comparison(runs):
            if session.as_json:
                session.line({"type": "compare", **asdict(comparison)})
            else:
                screen.show(comparison_text(comparison))


class Redrawn:
    """A text that is shown in its own place again, or below the last one where there is no terminal."""

    def __init__(self) -> None:
        self.is_live = sys.stdout.isatty()
        """It is drawn again in its own place."""
        self._lines = 0

    def show(self, text: str) -> None:
        """Show the text; what does not fit is cut, so that its place stays known."""
        if not self.is_live:
            click.echo(text + "\n")
            return
        self.clear()
        columns, rows = shutil.get_terminal_size()
        lines = [line[: columns - 1] for line in text.splitlines()[: rows - 1]]
        click.echo("\n".join(lines))
        self._lines = len(lines)

    def clear(self) -> None:
        """Take it away: what is printed next stands in its place."""
        if self.is_live and self._lines:
            click.echo(f"\x1b[{self._lines}A\x1b[J", nl=False)
        self._lines = 0


def comparison_text(comparison: Comparison) -> str:
    """The runs as a table, the keys in which they differ, and what went wrong."""
    shown = comparison.keys if len(comparison.keys) <= _MOST_COLUMNS else ()
    tested = any(standing.test is not None for run in comparison.runs for standing in run.tasks.values())
    figures = "val/best/test" if tested else "val/best"
    header = ["run", "config", *short_keys(shown), "state", "stage", "epoch", "done", "left",
              *(f"{task} {figures}" for task in comparison.tasks), "time", "$"]  # fmt: skip
    rows = [_row(run, comparison.tasks, shown, tested=tested) for run in comparison.runs]
    right = tuple(
        column for column, name in enumerate(header) if name in ("epoch", "done", "left", "time", "$")
    )
    parts = [table(header, rows, right=right)]
    if comparison.sweep:
        parts.insert(0, f"sweep {comparison.sweep}")
    if len(comparison.keys) > _MOST_COLUMNS:
        parts.append("\n" + _keys_text(comparison))
    parts += [f"! {run.run or run.config}: {run.problem}" for run in comparison.runs if run.problem]
    return "\n".join(parts)


def short_keys(keys: Sequence[str]) -> list[str]:
    """The keys by their last parts, as many as tell them apart."""
    found = []
    for key in keys:
        parts, count = key.split("."), 1
        while any(other != key and other.split(".")[-count:] == parts[-count:] for other in keys):
            count += 1
        found.append(".".join(parts[-count:]))
    return found


def values_of(differs: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The values of these keys, a dash where there is none."""
    return [written(differs[key]) if key in differs else "–" for key in keys]


def _row(run: ComparedRun, tasks: Sequence[str], keys: Sequence[str], *, tested: bool) -> list[str]:
    return [
        run.run or "–",
        run.config,
        *values_of(run.differs, keys),
        run.state,
        run.stage or "–",
        "–" if run.epoch is None else str(run.epoch),
        "–" if run.progress is None else f"{run.progress:.0%}",
        duration(run.eta_seconds),
        *(_figures(run.tasks.get(task), tested=tested) for task in tasks),
        duration(run.seconds),
        money(run.usd),
    ]


def _figures(standing: TaskStanding | None, *, tested: bool) -> str:
    if standing is None:
        return "–"
    values = [standing.latest, standing.best, *([standing.test] if tested else [])]
    return " / ".join(number(value) for value in values) if any(values) else "–"


def _keys_text(comparison: Comparison) -> str:
    """A line for each key in which they differ."""
    names = [run.run or f"{place}" for place, run in enumerate(comparison.runs, start=1)]
    columns = [values_of(run.differs, comparison.keys) for run in comparison.runs]
    rows = [[key, *cells] for key, *cells in zip(comparison.keys, *columns, strict=True)]
    return table(["differs", *names], rows)
