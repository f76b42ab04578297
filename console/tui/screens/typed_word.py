"""A question that only a typed word answers: for what cannot be taken back."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.tui.drawing.text import Row
from console.tui.widgets.text import TextPanel


class TypedWord(ModalScreen[bool]):
    """Answers True when the word was typed and entered, False otherwise."""

    CSS_PATH = "typed_word.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="word.cancel")]

    def __init__(self, question: str, word: str) -> None:
        super().__init__()
        self.question, self.word = question, word
        self.typed = ""

    def compose(self) -> ComposeResult:
        yield TextPanel(heading="are you sure?", id="word")

    def on_mount(self) -> None:
        self._show()

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            self.dismiss(self.typed.strip() == self.word)
        elif event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.is_printable and event.character:
            self.typed += event.character
        else:
            return
        event.stop()
        event.prevent_default()
        if self.is_current:
            self._show()

    def action_cancel(self) -> None:
        self.dismiss(False)

    def _show(self) -> None:
        rows: list[Row] = [
            [(self.question, "warn")],
            [],
            [
                ("type ", "text"),
                (self.word, "key"),
                (" and enter, or esc:  ", "text"),
                (self.typed + "▏", "title"),
            ],
        ]
        panel = self.query_one(TextPanel)
        panel.show(rows)
        panel.repaint()
