"""What is done with a log that is open: follow it, show only some lines, look for some."""

from collections.abc import Callable, Sequence
from pathlib import Path

from console.tui.drawing.text import Row
from console.tui.log.file import Change, Log
from console.tui.log.lines import Lines, NotCountedError, Place
from console.tui.log.matching import ERRORS, LEVELS, Criterion, MatchingLines, criterion
from console.tui.log.window import Window


class LogReader:
    """A log, the window on it, a filter and a search.

    What it says of the lines grows truer while somebody counts `sets`; `resume` then goes on with a search
    that had to wait.

    Args:
        rows_of: draws the line at a place: at least one row.
    """

    def __init__(self, rows_of: Callable[[Place], list[Row]]) -> None:
        self._rows_of = rows_of
        self.window = Window(Lines(Log()), rows_of)
        self.open(tuple)

    def open(self, find: Callable[[], Sequence[Path]]) -> None:
        """Show the log that is in these files, one after another, from its end."""
        self.level, self.filter, self.searched = 0, "", ""
        self.goals: tuple[Criterion, ...] = ()
        """What the lines hold that are looked for."""
        self._show(Log(find))

    def _show(self, log: Log) -> None:
        self.log = log
        self.lines = Lines(log)
        self.window = Window(self.lines, self._rows_of, self.window.height)
        self.goal: MatchingLines | None = None
        """The lines that are looked for."""
        self.match: Place | None = None
        """The one of them that was found last."""
        self.awaited = 0
        """1 or −1 while a match is awaited in that direction."""
        self.counts_anew = True
        """What is to be counted, or where that should begin, has changed."""

    def look(self) -> Change:
        """Take in what the files have now."""
        change = self.log.refresh()
        if change is Change.REPLACED:
            self._show(self.log)
            self._refilter()
        elif change is Change.GREW:
            for lines in self.sets():
                lines.grown()
        return change

    # --- counting ---------------------------------------------------------------------------

    def sets(self) -> list[Lines]:
        """Lines that are to be counted: all, those of the filter, those that are looked for."""
        sets: list[Lines] = [self.lines]
        if self.window.lines is not self.lines:
            sets.append(self.window.lines)
        return sets if self.goal is None else [*sets, self.goal]

    def count_a_little(self) -> bool:
        """Count where little is missing; whether something still is."""
        for lines in self.sets():
            if lines.uncounted <= lines.patience:
                for _ in lines.count_cells():
                    pass
        return any(lines.uncounted for lines in self.sets())

    def resume(self) -> None:
        """Go to the match that is awaited, if it is known now."""
        if self.awaited and self.goal is not None:
            self._go(self.goal, self.awaited)

    # --- filter and search -------------------------------------------------------------------

    def only(self, pattern: str) -> None:
        """Show only the lines that match; all with an empty pattern. Raises EndlessPatternError."""
        if pattern:
            criterion(pattern)
        self.filter = pattern
        self._refilter()

    def next_level(self) -> None:
        """Show all lines, then warnings and errors, then errors."""
        self.level = (self.level + 1) % len(LEVELS)
        self._refilter()

    def _criteria(self) -> tuple[Criterion, ...]:
        level = LEVELS[self.level][1]
        return tuple(
            wanted
            for wanted in (level, criterion(self.filter) if self.filter else None)
            if wanted is not None
        )

    def _refilter(self) -> None:
        criteria = self._criteria()
        self.window.lines = MatchingLines(self.lines, criteria) if criteria else self.lines
        self.window.keep()
        self.search(self.searched, self.goals, 0)

    def search(self, label: str, goals: tuple[Criterion, ...], direction: int) -> None:
        """Look for lines, and go to the next one in a direction, if it is not 0; none ends the search."""
        self.searched, self.goals, self.awaited, self.counts_anew = label, goals, 0, True
        self.goal = MatchingLines(self.lines, (*goals, *self._criteria())) if goals else None
        if direction or not goals:
            self.match = None
        if direction:
            self.next(direction)

    def next(self, direction: int) -> None:
        """Go to the next line that is looked for; the first time the window's edge counts."""
        if self.goal is not None:
            self._go(self.goal, direction)

    @property
    def seeks_errors(self) -> bool:
        """It is the errors that are looked for."""
        return self.goals == (ERRORS,)

    def next_error(self, direction: int) -> None:
        """Go to the next error in a direction; while following to the last one."""
        if self.seeks_errors:
            self.next(direction)
        else:
            self.search("errors", (ERRORS,), -1 if self.window.following else direction)

    def to_line(self, number: int) -> None:
        """Go to a line, the first one is 1; to the last one where there are not so many."""
        place = self.window.lines.at(max(0, number - 1)) or self._last()
        if place is not None:
            self.window.show(place)

    def clear(self) -> bool:
        """End the search, else the filter, else the level; False where there was none of them."""
        if self.searched:
            self.search("", (), 0)
        elif self.filter:
            self.only("")
        elif self.level:
            self.level = 0
            self._refilter()
        else:
            return False
        return True

    def _go(self, goal: MatchingLines, direction: int) -> None:
        here = self.match
        try:
            if here is None:
                in_sight = [place for place, _ in self.window.rows()]
                here = in_sight[-1 if direction < 0 else 0] if in_sight else self.window.top().place
                here = Place(here.part, here.offset - direction)
            found = goal.before(here) if direction < 0 else goal.after(here)
            if found is None:
                found = goal.last() if direction < 0 else goal.first()
        except NotCountedError:
            self.counts_anew |= self.awaited != direction
            self.awaited = direction
            return
        self.awaited, self.match = 0, found
        if found is not None:
            self._bring(found)

    def _bring(self, place: Place) -> None:
        """Have a line in sight, and hold on to it."""
        if place not in [seen for seen, _ in self.window.rows()]:
            self.window.show(place, above=self.window.height // 2)
        elif not self.window.following or place != self._last():
            self.window.show(self.window.top().place)

    def _last(self) -> Place | None:
        try:
            return self.window.lines.last()
        except NotCountedError:
            return None
