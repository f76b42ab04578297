"""A small table: fixed header, a cursor, no sorting; and the same with boxes to tick."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from console.tui.drawing.text import Ink, Row, Span, clip, fit
from console.tui.messages import Pointed
from console.tui.widgets.panel import Panel

_BOX_END = 6
"""Cells from the left to behind the box."""
Cell = str | Span | Row
"""Text, text with an ink, or several spans."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `width` cells, or what the widest cell needs (at most `most`) where it is 0."""

    title: str
    width: int = 0
    align: str = "left"
    flex: bool = False
    """Takes the room that is left over; it is also the one that shrinks."""
    most: int = 40
    optional: int = 0
    """Left out where the table is narrower than this many cells."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: a key that stays the same while its cells change."""

    key: str
    cells: Sequence[Cell]
    ink: Ink = "text"
    """Ink of the cells that name none."""


class Table(Panel, can_focus=True):
    """Rows under a fixed header, with a cursor that stays on its row's key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("home,g", "edge(0)", "First", show=False, id="table.first"),
        Binding("end,G", "edge(-1)", "Last", show=False, id="table.last"),
    ]

    class Moved(Pointed):
        """The cursor is on another row."""

        def __init__(self, table: "Table", key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> "Table":
            return self.table

    class Selected(Moved):
        """The row under the cursor was clicked."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        title: str = "",
        empty: str = "",
        header: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.columns = columns
        self.header = header
        self.heading: Row = [(title, "title")] if title else []
        self.note: Row = []
        self.empty = empty
        self.items: list[TableRow] = []
        self.cursor = 0
        self._top = 0

    # --- content ---------------------------------------------------------------------------

    def set_rows(self, rows: Iterable[TableRow]) -> None:
        """Replace the rows; the cursor stays on its key where that is still there."""
        key = self.cursor_key
        self.items = list(rows)
        keys = [row.key for row in self.items]
        moved = key not in keys
        self.cursor = min(self.cursor, max(0, len(keys) - 1)) if moved else keys.index(key or "")
        self.changed()
        if moved and self.items:
            self.post_message(self.Moved(self, keys[self.cursor]))

    @property
    def cursor_key(self) -> str | None:
        """Key of the row under the cursor."""
        return self.items[self.cursor].key if self.items else None

    def move_to(self, key: str) -> None:
        """Put the cursor on a row."""
        for index, row in enumerate(self.items):
            if row.key == key:
                self._move(index)

    # --- keys and mouse ----------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self._move(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._move(self.cursor + by * max(1, self._page - 1))

    def action_edge(self, index: int) -> None:
        self._move(len(self.items) - 1 if index else 0)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._move(self.cursor + 2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._move(self.cursor - 2)

    def on_click(self, event: events.Click) -> None:
        index = self._top + event.y - int(self.FRAMED) - int(self.header)
        if 0 <= index < len(self.items):
            again = index == self.cursor
            self._move(index)
            self.row_clicked(event.x - int(self.FRAMED), again=again)

    def row_clicked(self, x: int, *, again: bool) -> None:
        """The row under the cursor was clicked on.

        Args:
            x: cells from the left edge of the inside.
            again: the cursor was on it before.
        """
        if again and self.cursor_key is not None:
            self.post_message(self.Selected(self, self.cursor_key))

    def _move(self, index: int) -> None:
        index = max(0, min(len(self.items) - 1, index))
        if self.items and index != self.cursor:
            self.cursor = index
            self.post_message(self.Moved(self, self.items[index].key))
        self.repaint()

    # --- drawing -----------------------------------------------------------------------------

    @property
    def _page(self) -> int:
        return max(1, self.inner_size.height - int(self.header))

    def title(self) -> Row:
        return self.heading

    def summary(self) -> Row:
        return self.note

    def footnote(self) -> Row:
        if len(self.items) <= self._page:
            return []
        return [(f"{self.cursor + 1} of {len(self.items)}", "muted")]

    def draw(self, width: int, height: int) -> list[Row]:
        if not self.items:
            return [[(" " + clip(line, width - 1), "muted")] for line in self.empty.splitlines()]
        page = max(1, height - int(self.header))
        self._top = max(min(self._top, self.cursor, len(self.items) - page), self.cursor - page + 1, 0)
        shown = self.items[self._top : self._top + page]
        widths = self._widths(width)
        rows = [self._header_row(widths)] if self.header else []
        return rows + [self._row(self._top + n, row, widths) for n, row in enumerate(shown)]

    def _header_row(self, widths: dict[int, int]) -> Row:
        row: Row = [("  ", "muted")]
        for index, width in widths.items():
            column = self.columns[index]
            row += [(fit(column.title, width, column.align), "muted"), ("  ", "muted")]
        return row

    def _row(self, index: int, row: TableRow, widths: dict[int, int]) -> Row:
        chosen = index == self.cursor
        under = " cursor" if chosen else ""
        drawn: Row = [("▸ " if chosen else "  ", "accent" + under)]
        for position, width in widths.items():
            column = self.columns[position]
            cell = row.cells[position] if position < len(row.cells) else ""
            drawn += _fit_cell(cell, width, column.align, row.ink, under)
            drawn.append(("  ", "text" + under))
        # The cursor's background goes on to the frame.
        drawn.append((" " * self.inner_size.width, "text" + under))
        return drawn

    def _widths(self, width: int) -> dict[int, int]:
        """Cells of each column that is shown."""
        shown = {n: c for n, c in enumerate(self.columns) if c.optional <= width}
        widths = {n: c.width or self._widest(n, c) for n, c in shown.items()}
        room = width - 2 - 2 * len(widths) - sum(widths.values())
        flexible = [n for n, c in shown.items() if c.flex]
        if flexible:
            share = room // len(flexible)
            for n in flexible:
                widths[n] = max(6, widths[n] + (share if room > 0 else 0))
        for n in sorted(widths, key=lambda n: not self.columns[n].flex):
            over = sum(widths.values()) + 2 + 2 * len(widths) - width
            if over > 0:
                widths[n] = max(min(widths[n], 6), widths[n] - over)
        return widths

    def _widest(self, index: int, column: Column) -> int:
        cells = [row.cells[index] for row in self.items if index < len(row.cells)]
        longest = max((_cell_width(cell) for cell in cells), default=0)
        return min(column.most, max(longest, cell_len(column.title)))


def _cell_width(cell: Cell) -> int:
    if isinstance(cell, str):
        return cell_len(cell)
    spans = [cell] if isinstance(cell, tuple) else cell
    return sum(cell_len(text) for text, _ in spans)


def _fit_cell(cell: Cell, width: int, align: str, ink: Ink, under: str) -> Row:
    """A cell in exactly `width` cells over the cursor's background, if it has one."""
    if isinstance(cell, str):
        cell = (cell, ink)
    spans = [cell] if isinstance(cell, tuple) else cell
    fitted: Row = []
    left = width
    for text, span_ink in spans:
        text = clip(text, left)
        if text:
            fitted.append((text, f"{span_ink}{under}" if isinstance(span_ink, str) else span_ink))
            left -= cell_len(text)
    padding = (" " * left, "text" + under)
    return [padding, *fitted] if align == "right" else [*fitted, padding]


class CheckList(Table):
    """A table whose rows can be ticked with space."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Tick", id="checklist.tick"),
        Binding("a", "tick_all", "Tick all or none", show=False, id="checklist.all"),
    ]

    class Ticked(Message):
        """The set of ticked rows changed."""

        def __init__(self, table: "CheckList", keys: frozenset[str]) -> None:
            super().__init__()
            self.table, self.keys = table, keys

        @property
        def control(self) -> "CheckList":
            return self.table

    def __init__(
        self, columns: Sequence[Column], *, title: str = "", empty: str = "", header: bool = True,
        id: str | None = None, classes: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(columns, title=title, empty=empty, header=header, id=id, classes=classes)
        self.ticked: set[str] = set()

    def tick(self, keys: Iterable[str]) -> None:
        """Tick exactly these rows."""
        self.ticked = set(keys)
        self.changed()

    @property
    def ticked_in_order(self) -> list[str]:
        """Ticked keys in the order of the rows."""
        return [row.key for row in self.items if row.key in self.ticked]

    def row_clicked(self, x: int, *, again: bool) -> None:
        """A click on the box ticks, and so does another one on the row: nothing begins by it."""
        if again or 0 <= x < _BOX_END:
            self.action_tick()

    def action_tick(self) -> None:
        if self.cursor_key is not None:
            self.ticked ^= {self.cursor_key}
            self._told()

    def action_tick_all(self) -> None:
        keys = {row.key for row in self.items}
        self.ticked = set() if keys <= self.ticked else keys
        self._told()

    def _told(self) -> None:
        self.post_message(self.Ticked(self, frozenset(self.ticked)))
        self.repaint()

    def _row(self, index: int, row: TableRow, widths: dict[int, int]) -> Row:
        drawn = super()._row(index, row, widths)
        under = " cursor" if index == self.cursor else ""
        box = ("[x] ", "accent" + under) if row.key in self.ticked else ("[ ] ", "muted" + under)
        return [drawn[0], box, *drawn[1:]]

    def _header_row(self, widths: dict[int, int]) -> Row:
        return [("    ", "muted"), *super()._header_row(widths)]

    def _widths(self, width: int) -> dict[int, int]:
        return super()._widths(width - 4)
