"""A line that is typed at the edge of a panel: what to search for, which line to go to."""

from textual import events

from console.tui.drawing.text import Row


class TypedLine:
    """What is being typed after a sign such as `/`."""

    def __init__(self) -> None:
        self.kind = ""
        """The sign; empty while nothing is typed."""
        self.text = ""

    @property
    def is_open(self) -> bool:
        """Keys are for this line."""
        return bool(self.kind)

    def begin(self, kind: str) -> None:
        """Begin a line after this sign."""
        self.kind, self.text = kind, ""

    def end(self) -> None:
        """Forget it."""
        self.kind = ""

    def press(self, event: events.Key) -> bool:
        """Take a key; True where it ended the line, which is then `text`."""
        if event.key in ("enter", "escape"):
            self.end()
            return event.key == "enter"
        if event.key == "backspace":
            if not self.text:
                self.end()
            self.text = self.text[:-1]
        elif event.key == "ctrl+u":
            self.text = ""
        elif event.is_printable and event.character:
            self.text += event.character
        return False

    def row(self) -> Row:
        """As it is shown."""
        return [(self.kind, "key"), (self.text, "text"), ("▏", "accent")]
