"""A table that sorts by any column, filters by typing and marks rows; hundreds of rows cost nothing a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from console.tui.drawing.text import Row, fit
from console.tui.widgets.table import Column, Table, TableRow

SortKey = float | str | None
"""None stands last, whichever way one sorts."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row, by what each of its columns sorts, and the text that a filter looks through."""

    row: TableRow
    keys: Sequence[SortKey]
    text: str


class SortedTable(Table):
    """Shows the records that match, in the order of one column."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort(1)", "Sort", id="sorted.next"),
        Binding("S", "reverse", "Reverse", show=False, id="sorted.reverse"),
        Binding("slash", "filter", "Filter", id="sorted.filter"),
        Binding("escape", "clear", "No filter, no mark", show=False, id="sorted.clear"),
        Binding("space", "mark", "Mark", id="sorted.mark"),
    ]

    class Filtered(Message):
        """Other records match than before."""

        def __init__(self, table: "SortedTable") -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> "SortedTable":
            return self.table

    def __init__(self, columns: Sequence[Column], *, title: str = "", empty: str = "",
                 id: str | None = None) -> None:  # fmt: skip
        super().__init__(columns, title=title, empty=empty, id=id)
        self.records: Sequence[Record] = ()
        self.sorted_by = 0
        self.descending = True
        self.wanted = ""
        """What is filtered for; empty: all are shown."""
        self.marked: dict[str, None] = {}
        """Keys in the order in which they were marked."""
        self._typing = False
        self._widest_cells: dict[int, int] = {}
        self._spans: list[tuple[int, int, int]] = []
        """(column, first cell, cell behind the last) of the header, as it was drawn."""

    # --- content ---------------------------------------------------------------------------

    def show(self, columns: Sequence[Column], records: Sequence[Record]) -> None:
        """Show other records; cursor, order, filter and marks stay where they still mean something."""
        title = self.columns[self.sorted_by].title if self.columns else ""
        titles = [column.title for column in columns]
        self.sorted_by = titles.index(title) if title in titles else 0
        self.columns, self.records = columns, records
        known = {record.row.key for record in records}
        self.marked = {key: None for key in self.marked if key in known}
        self._arrange()

    @property
    def matching(self) -> list[Record]:
        """Those with every word that is filtered for."""
        words = self.wanted.lower().split()
        return [record for record in self.records if all(word in record.text for word in words)]

    def _arrange(self) -> None:
        matching = self.matching
        with_key = [record for record in matching if record.keys[self.sorted_by] is not None]
        without = [record for record in matching if record.keys[self.sorted_by] is None]
        with_key.sort(key=self._order, reverse=self.descending)
        self._widest_cells.clear()
        self.set_rows(record.row for record in (*with_key, *without))
        self.repaint()

    def _order(self, record: Record) -> tuple[bool, float, str]:
        key = record.keys[self.sorted_by]
        return (True, 0.0, key.lower()) if isinstance(key, str) else (False, key or 0.0, "")

    def _widest(self, index: int, column: Column) -> int:
        if index not in self._widest_cells:
            # Two more where the mark of the order may stand.
            room = 2 if index == self.sorted_by else 0
            self._widest_cells[index] = max(super()._widest(index, column), len(column.title) + room)
        return self._widest_cells[index]

    def possible(self, action: str) -> bool:
        """Nothing is sorted, filtered or marked where there is nothing."""
        return bool(self.records) or action not in ("sort", "reverse", "filter", "mark")

    # --- keys and mouse ----------------------------------------------------------------------

    def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        self.sort_by((self.sorted_by + by) % max(1, len(self.columns)))

    def sort_by(self, column: int) -> None:
        """Sort by a column; by the one it is sorted by already: the other way round."""
        if column == self.sorted_by:
            self.descending = not self.descending
        else:
            # Errors and names begin with the least, times and costs with the greatest.
            self.sorted_by, self.descending = column, column == 0
        self._arrange()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.descending = not self.descending
        self._arrange()

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away; the cursor goes on."""
        key = self.cursor_key
        if key is None:
            return
        if key in self.marked:
            del self.marked[key]
        else:
            self.marked[key] = None
        self.action_move(1)

    def action_filter(self) -> None:
        """Type what the rows must have."""
        self._typing = True
        self.repaint()

    @property
    def is_typing(self) -> bool:
        """Whether keys go into the filter."""
        return self._typing

    def action_clear(self) -> None:
        """All rows, none marked."""
        self.marked.clear()
        self._filter("")

    def _filter(self, wanted: str) -> None:
        if wanted != self.wanted:
            self.wanted = wanted
            self._arrange()
            self.post_message(self.Filtered(self))
        self.repaint()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._typing

    def on_key(self, event: events.Key) -> None:
        if not self._typing:
            return
        if event.key == "enter":
            self._typing = False
        elif event.key == "escape":
            self._typing = False
            self._filter("")
        elif event.key == "backspace":
            self._filter(self.wanted[:-1])
        elif event.is_printable and event.character:
            self._filter(self.wanted + event.character)
        else:
            return
        event.stop()
        event.prevent_default()
        self.repaint()

    def on_blur(self) -> None:
        self._typing = False

    def on_click(self, event: events.Click) -> None:
        if event.y == int(self.FRAMED):
            column = next((n for n, first, end in self._spans if first <= event.x - 1 < end), None)
            if column is not None:
                self.sort_by(column)

    # --- drawing -----------------------------------------------------------------------------

    def footnote(self) -> Row:
        row: Row = []
        if self._typing or self.wanted:
            row += [("/", "key"), (self.wanted, "text"), ("▏" if self._typing else "", "accent"),
                    (f" {len(self.items)} of {len(self.records)}  ", "muted")]  # fmt: skip
        else:
            row += super().footnote()
        if self.marked:
            row.append((f"  {len(self.marked)} marked", "accent"))
        return row

    def draw(self, width: int, height: int) -> list[Row]:
        if not self.items and self.records:
            return [[(" no run matches: esc shows all", "muted")]]
        return super().draw(width, height)

    def _header_row(self, widths: dict[int, int]) -> Row:
        row: Row = [("  ", "muted")]
        self._spans, at = [], 2
        for index, width in widths.items():
            column, chosen = self.columns[index], index == self.sorted_by
            title = f"{column.title} {'▼' if self.descending else '▲'}" if chosen else column.title
            row += [(fit(title, width, column.align), "accent" if chosen else "muted"), ("  ", "muted")]
            self._spans.append((index, at, at + width + 2))
            at += width + 2
        return row

    def _row(self, index: int, row: TableRow, widths: dict[int, int]) -> Row:
        drawn = super()._row(index, row, widths)
        if row.key in self.marked:
            under = " cursor" if index == self.cursor else ""
            drawn[0] = (("▸" if index == self.cursor else " ") + "●", "accent" + under)
        return drawn
