"""Which lines of a log are in sight: a window that follows the end until one scrolls up."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from console.tui.drawing.text import Row
from console.tui.log.lines import START, Lines, NotCountedError, Place


class Top(NamedTuple):
    """The first row in sight: the line's place, and which of its rows where lines are wrapped."""

    place: Place
    row: int = 0


class Window:
    """A window on the lines of a log, or on some of them.

    Args:
        lines: those that may be seen; may be exchanged, `keep` then finds the place again.
        rows_of: draws a line, wrapped or not: at least one row.
        height: rows in sight.
    """

    def __init__(self, lines: Lines, rows_of: Callable[[Place], list[Row]], height: int = 1) -> None:
        self.lines = lines
        self.following = True
        self.is_waiting = False
        """More would be in sight, but it is not counted yet what."""
        self.height = height
        self._rows_of = rows_of
        self._top = Top(START)
        self._left: Place | None = None
        """The last line when following was let go."""

    # --- moving -----------------------------------------------------------------------------

    def scroll(self, by: int) -> None:
        """Move by so many rows; at the end the window follows again."""
        top = self.top()
        if by > 0 and self.following:
            return
        try:
            for _ in range(abs(by)):
                moved = self._next(top) if by > 0 else self._previous(top)
                if moved is None:
                    break
                top = moved
        except NotCountedError:
            self.is_waiting = True
        self._put(top)

    def to_start(self) -> None:
        """Show the first line first."""
        self.show(START)

    def to_end(self) -> None:
        """Follow the end."""
        self.following, self._left = True, None

    def show(self, place: Place, above: int = 0) -> None:
        """Bring a line into sight, with so many rows above it."""
        top: Top | None = Top(place)
        if place.offset < 0:
            first = self._tried(self.lines.first)
            top = Top(first) if first is not None else None
        if top is not None:
            self._let_go()
            self.following, self._top = False, top
            if above:
                self.scroll(-above)
            else:
                self._put(top)

    def keep(self) -> None:
        """The lines are others: go on at the same place, or the next one that is among them."""
        if self.following:
            return
        place = self._top.place
        near = self._tried(lambda: self.lines.after(Place(place.part, place.offset - 1)))
        near = near or self._tried(lambda: self.lines.before(place))
        self._put(Top(near or place))

    def forget(self) -> None:
        """The log is another one."""
        self.following, self._top, self._left = True, Top(START), None

    def _put(self, top: Top) -> None:
        bottom = self._bottom()
        if bottom is not None and top >= bottom and not self.is_waiting:
            self.to_end()
            return
        self._let_go()
        self.following, self._top = False, top

    def _let_go(self) -> None:
        if self.following or self._left is None:
            self._left = self._tried(self.lines.last)

    # --- what is in sight -------------------------------------------------------------------

    def top(self) -> Top:
        """The first row in sight."""
        return (self._bottom() or Top(START)) if self.following else self._top

    def rows(self) -> list[tuple[Place, Row]]:
        """The rows in sight, at most `height`, each with the place of its line."""
        self.is_waiting = False
        top, found = self.top(), []
        try:
            for place in self._from(top.place):
                skipped = top.row if place == top.place else 0
                found += [(place, row) for row in self._rows_of(place)[skipped:]]
                if len(found) >= self.height:
                    break
        except NotCountedError:
            self.is_waiting = True
        return found[: self.height]

    @property
    def news(self) -> int:
        """Lines that came since the end was let go."""
        return self.lines.below(self._left) if self._left is not None and not self.following else 0

    def _from(self, place: Place) -> Iterator[Place]:
        following: Place | None = place if place.offset >= 0 else self.lines.first()
        while following is not None:
            yield following
            following = self.lines.after(following)

    def _bottom(self) -> Top | None:
        """The first row of the last page; None where there are no lines, or none found yet."""
        left, top = self.height, None
        try:
            place = self.lines.last()
            while place is not None and left > 0:
                rows = len(self._rows_of(place))
                top = Top(place, max(0, rows - left))
                left -= rows
                place = self.lines.before(place)
        except NotCountedError:
            self.is_waiting = True
        return top

    def _next(self, top: Top) -> Top | None:
        if top.row + 1 < len(self._rows_of(top.place)):
            return Top(top.place, top.row + 1)
        place = self.lines.after(top.place)
        return Top(place) if place is not None else None

    def _previous(self, top: Top) -> Top | None:
        if top.row:
            return Top(top.place, top.row - 1)
        place = self.lines.before(top.place)
        return Top(place, len(self._rows_of(place)) - 1) if place is not None else None

    def _tried(self, look: Callable[[], Place | None]) -> Place | None:
        try:
            return look()
        except NotCountedError:
            self.is_waiting = True
            return None
