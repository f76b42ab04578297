"""A column a run: as many as there is room for, the oldest always among them, the others in turn."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from console.sweep_api import written
from console.tui.drawing.text import Row, Span, clip, duration, fit, number, usd
from console.tui.widgets.compared_chart import run_ink
from console.tui.widgets.run_header import status_ink
from console.tui.widgets.text import TextPanel

if TYPE_CHECKING:
    from console.operations import Comparison
    from console.sweep_api import TaskStanding

Shown = Callable[[float | None], str]
_KEY_WIDTH, _NAME_WIDTH = 30, 16
"""Of the first column, at most."""
_VALUE_WIDTH, _FIGURE_WIDTH = 18, 12
"""Of a run's column, at most."""


class ComparedRuns(TextPanel):
    """Rows with a column for each run; `first` says which one follows the oldest."""

    def __init__(self, heading: str, *, id: str | None = None) -> None:
        super().__init__(heading=heading, wrap=False, id=id)
        self.comparison: Comparison | None = None
        self.first = 1

    def compare(self, comparison: "Comparison") -> None:
        """Show these runs."""
        self.comparison = comparison
        self.changed()

    def turn(self, by: int) -> None:
        """Show the runs further on, or back."""
        room, count = self._room(self.inner_size.width - 1), self._count
        self.first = max(1, min(self.first + by, count - room + 1)) if room < count else 1
        self.repaint()

    @property
    def _count(self) -> int:
        return len(self.comparison.runs) if self.comparison is not None else 0

    @property
    def hidden(self) -> int:
        """Runs without a column, for want of room."""
        return max(0, self._count - self._room(self.inner_size.width - 1))

    def summary(self) -> Row:
        hidden = self.hidden
        return [("< >", "key"), (f" {hidden} more run{'s' * (hidden != 1)}", "muted")] if hidden else []

    def draw(self, width: int, height: int) -> list[Row]:
        if self.comparison is not None:
            room, count = self._room(width - 1), self._count
            self.first = max(1, min(self.first, count - room + 1)) if room < count else 1
            places = [0, *range(self.first, min(count, self.first + room - 1))] if count else []
            self.rows = self.rows_of(self.comparison, places)
        return super().draw(width, height)

    def _room(self, width: int) -> int:
        """Runs that fit; at least two can be compared."""
        if self.comparison is None:
            return 2
        name, column = self.widths(self.comparison)
        return max(2, (width - name) // column)

    def widths(self, comparison: "Comparison") -> tuple[int, int]:
        """(cells of the first column, cells of a run's)."""
        raise NotImplementedError

    def rows_of(self, comparison: "Comparison", places: Sequence[int]) -> list[Row]:
        """The rows, with a column for each of these runs."""
        raise NotImplementedError


class Differences(ComparedRuns):
    """A line for each config key in which the runs differ: the oldest's value → the next one's."""

    def widths(self, comparison: "Comparison") -> tuple[int, int]:
        names = [run.run or "–" for run in comparison.runs]
        values = [_value(comparison, place, key) for key in comparison.keys for place in range(len(names))]
        key = max(map(cell_len, comparison.keys), default=0)
        return min(_KEY_WIDTH, key), 3 + min(_VALUE_WIDTH, max(map(cell_len, [*names, *values]), default=1))

    def rows_of(self, comparison: "Comparison", places: Sequence[int]) -> list[Row]:
        first, column = self.widths(comparison)
        head: Row = [(fit("", first), "muted")]
        for place in places:
            head += [
                _arrow(place, places),
                (fit(comparison.runs[place].run or "–", column - 3), run_ink(place)),
            ]
        rows = [head]
        for key in comparison.keys:
            row: Row = [(fit(clip(key, first), first), "text")]
            before: str | None = None
            for place in places:
                value = _value(comparison, place, key)
                ink = "text" if value != before else "muted"
                row += [_arrow(place, places), (fit(value, column - 3), ink)]
                before = value
            rows.append(row)
        if not comparison.keys:
            rows.append([("the same config", "muted")])
        return rows


class Results(ComparedRuns):
    """What each run has reached of each task, the best one marked; then cost, time and state."""

    def widths(self, comparison: "Comparison") -> tuple[int, int]:
        names = [run.run or "–" for run in comparison.runs]
        first = min(_NAME_WIDTH, max(map(cell_len, [*comparison.tasks, "state"])))
        return first, 1 + min(_FIGURE_WIDTH, max(10, *map(cell_len, names)))

    def rows_of(self, comparison: "Comparison", places: Sequence[int]) -> list[Row]:
        runs = comparison.runs
        first, column = self.widths(comparison)

        def line(name: str, ink: str, cells: Sequence[Span]) -> Row:
            row: Row = [(fit(name, first), ink)]
            row += [(fit(cells[place][0], column, "right"), cells[place][1]) for place in places]
            return row

        rows = [line("", "muted", [(run.run or "–", run_ink(place)) for place, run in enumerate(runs)])]
        for task in comparison.tasks:
            figures = [_figure(run.tasks.get(task)) for run in runs]
            rows.append(line(task, f"task:{task}", _marked(figures, number)))
        means = [_mean([_figure(run.tasks.get(task)) for task in comparison.tasks]) for run in runs]
        rows.append(line("mean", "title", _marked(means, number)))
        rows.append([])
        rows.append(line("time", "text", _marked([run.seconds for run in runs], duration)))
        rows.append(line("cost", "text", _marked([run.usd for run in runs], usd)))
        rows.append(line("state", "text", [(run.state, status_ink(run.state)) for run in runs]))
        return rows + [[(f"! {run.run}: {run.problem}", "warn")] for run in runs if run.problem]


def _value(comparison: "Comparison", place: int, key: str) -> str:
    differs = comparison.runs[place].differs
    return written(differs[key]) if key in differs else "–"


def _arrow(place: int, places: Sequence[int]) -> tuple[str, str]:
    return ("   " if place == places[0] else " → ", "muted")


def _figure(standing: "TaskStanding | None") -> float | None:
    """On the test split; before the evaluation the best on the validation split."""
    if standing is None:
        return None
    return standing.test if standing.test is not None else standing.best


def _mean(figures: Sequence[float | None]) -> float | None:
    """Of all tasks; None where one is missing: such means cannot be compared."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known and len(known) == len(figures) else None


def _marked(figures: "Sequence[float | None]", shown: Shown) -> list[Span]:
    """Figures with their inks; the least is marked where they differ."""
    known = [figure for figure in figures if figure is not None]
    best = min(known) if len(known) > 1 and min(known) < max(known) else None
    cells: list[Span] = []
    for figure in figures:
        is_best = best is not None and figure == best
        text = f"{'★ ' if is_best else ''}{shown(figure)}"
        cells.append((text, "good" if is_best else "text" if figure is not None else "muted"))
    return cells
