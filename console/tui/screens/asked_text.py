"""A question that a line of text answers, such as a folder."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.tui.drawing.text import Row, clip_start
from console.tui.widgets.text import TextPanel


class AskedText(ModalScreen[str | None]):
    """Answers with what was typed and entered; None where the question was left, or nothing typed."""

    CSS_PATH = "asked_text.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="text.cancel")]

    def __init__(self, heading: str, question: str, proposed: str) -> None:
        super().__init__()
        self.heading, self.question = heading, question
        self.typed = proposed
        self._proposed = True
        """The first character typed takes the place of what was proposed."""

    def compose(self) -> ComposeResult:
        yield TextPanel(heading=self.heading, id="asked")

    def on_mount(self) -> None:
        self.call_after_refresh(self._show)  # once the panel has its width

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self.dismiss(self.typed.strip() or None)
        elif event.key == "backspace":
            self.typed, self._proposed = self.typed[:-1], False
        elif event.is_printable and event.character:
            self.typed = event.character if self._proposed else self.typed + event.character
            self._proposed = False
        else:
            return
        event.stop()
        event.prevent_default()
        if self.is_current:
            self._show()

    def on_paste(self, event: events.Paste) -> None:
        self.typed = event.text if self._proposed else self.typed + event.text
        self._proposed = False
        event.stop()
        self._show()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def _show(self) -> None:
        panel = self.query_one(TextPanel)
        room = max(panel.inner_size.width - 3, 1)  # the margins and the cursor
        rows: list[Row] = [
            [(self.question, "text")],
            [(clip_start(self.typed, room), "muted" if self._proposed else "title"), ("▏", "title")],
            [],
            [("enter takes it, esc leaves", "muted")],
        ]
        panel.show(rows)
        panel.repaint()
