"""Rows that somebody else has made: a headline, details of a row, a page of help."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.tui.drawing.text import Row, wrap_row
from console.tui.widgets.panel import Panel


class Line(Panel):
    """One row without a frame."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    Line { height: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: Row = []

    def show(self, row: Row) -> None:
        """Show another row."""
        if row != self.row:
            self.row = row
            self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        return [self.row]


class TextPanel(Panel, can_focus=True):
    """Rows in a frame, scrolled when there are too many, long ones wrapped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="text.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="text.down"),
        Binding("pageup", "scroll(-10)", "Page up", show=False, id="text.page_up"),
        Binding("pagedown", "scroll(10)", "Page down", show=False, id="text.page_down"),
    ]

    def __init__(self, *, heading: str = "", wrap: bool = True, id: str | None = None) -> None:
        super().__init__(id=id)
        self.heading: Row = [(heading, "title")] if heading else []
        self.rows: list[Row] = []
        self.wrap = wrap
        self._top = 0
        self._length = 0

    def show(self, rows: Sequence[Row], heading: Row | None = None) -> None:
        """Show other rows, from the top where the heading changed."""
        if heading is not None and heading != self.heading:
            self.heading, self._top = heading, 0
        self.rows = list(rows)
        self.changed()

    def action_scroll(self, by: int) -> None:
        self._top = max(0, min(self._top + by, self._length - self.inner_size.height))
        self.repaint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_scroll(2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_scroll(-2)

    def title(self) -> Row:
        return self.heading

    def footnote(self) -> Row:
        below = self._length - self._top - self.inner_size.height
        return [(f"{below} more below", "muted")] if below > 0 else []

    def draw(self, width: int, height: int) -> list[Row]:
        rows: list[Row] = []
        for row in self.rows:
            rows += wrap_row(row, width - 2) if self.wrap else [row]
        self._length = len(rows)
        self._top = max(0, min(self._top, len(rows) - height))
        return [[(" ", "text"), *row] for row in rows[self._top : self._top + height]]
