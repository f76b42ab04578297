"""The runs beside the one that is shown: which they are, how they stand, how well each has learned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.message import Message

from console.tui.drawing.text import Row, clip, number
from console.tui.widgets.panel import Panel
from console.tui.widgets.run_header import status_ink

if TYPE_CHECKING:
    from console.operations import ComparedRun, Comparison, RunRow

_ROWS = 3
"""Of each run, the empty one below it among them."""


class RunStrip(Panel):
    """Runs one below the other; the one that is shown is marked, a click shows another."""

    DEFAULT_CSS = """
    RunStrip { width: 26; }
    """

    class Chosen(Message):
        """A run was clicked on."""

        def __init__(self, run: str) -> None:
            super().__init__()
            self.run = run

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.comparison: Comparison | None = None
        self.shown: str | None = None
        self._top = 0

    def show(self, comparison: "Comparison | None", shown: str | None) -> None:
        """Show other runs, or mark another."""
        if (comparison, shown) != (self.comparison, self.shown):
            self.comparison, self.shown = comparison, shown
            self.changed()

    def title(self) -> Row:
        sweep = self.comparison.sweep if self.comparison is not None else ""
        return [(f"sweep {sweep}" if sweep else "runs", "title")]

    def footnote(self) -> Row:
        return [("[ ]", "key"), (" another run", "muted")]

    def draw(self, width: int, height: int) -> list[Row]:
        runs = self.comparison.runs if self.comparison is not None else ()
        rows: list[Row] = []
        place = next((index for index, run in enumerate(runs) if run.run == self.shown), 0)
        self._top = max(0, (place + 1) * _ROWS - height)
        for run in runs:
            rows += [*self._lines(run, width), []]
        return rows[self._top : self._top + height]

    def _lines(self, run: "ComparedRun", width: int) -> list[Row]:
        from console.sweep_api import written

        here = run.run == self.shown
        head: Row = [("▸ " if here else "  ", "accent"), (run.run or "–", "title" if here else "text"),
                     (f" {run.state}", status_ink(run.state))]  # fmt: skip
        if run.progress is not None and run.state == "running":
            head.append((f" {run.progress:.0%}", "muted"))
        best = [task.best for task in run.tasks.values() if task.best is not None]
        mean = number(sum(best) / len(best)) if best else "–"
        keys = ", ".join(f"{key.rpartition('.')[2]} {written(value)}" for key, value in run.differs.items())
        return [head, [("  ", "text"), (mean, "text"), (clip(f"  {keys or run.config}", width - 8), "muted")]]

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        runs = self.comparison.runs if self.comparison is not None else ()
        index = (offset.y - 1 + self._top) // _ROWS if offset is not None else -1
        if 0 <= index < len(runs) and (run := runs[index].run) is not None:
            self.post_message(self.Chosen(run))


def neighbours(rows: "Sequence[RunRow]", run: str | None) -> list[str]:
    """The sweep of a run, and all runs that go on; empty where the run is alone."""
    shown = next((row for row in rows if row.run == run), None)
    if shown is None:
        return []
    others = [row.run for row in rows if row.run != shown.run and not row.status.ended]
    if shown.sweep:
        return [shown.sweep, *others]
    return [shown.run, *others] if others else []
