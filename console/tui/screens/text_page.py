"""A page of text over the screen that asked for it: reasons, a log, a dry run."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.tui.drawing.text import Row, wrap_row
from console.tui.widgets.text import TextPanel

_WIDTH = 110
"""As in its style sheet."""


class TextPage(ModalScreen[None]):
    """Rows to read and scroll; any of the usual keys closes it."""

    CSS_PATH = "text_page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", id="page.close"),
    ]

    def __init__(self, heading: str, rows: Sequence[Row]) -> None:
        super().__init__()
        self.heading, self.rows = heading, rows

    def compose(self) -> ComposeResult:
        yield TextPanel(heading=self.heading, id="page")

    def on_mount(self) -> None:
        panel = self.query_one(TextPanel)
        panel.show(self.rows)
        panel.focus()

    def on_resize(self, event: events.Resize) -> None:
        """As high as the rows need, and no higher than the screen allows."""
        width = min(_WIDTH, event.size.width * 96 // 100) - 4
        needed = sum(len(wrap_row(row, width)) for row in self.rows) + 2
        self.query_one(TextPanel).styles.height = min(needed, max(6, event.size.height * 80 // 100))
