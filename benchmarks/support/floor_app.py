"""The smallest Textual app, one label: the floor of what a Textual program's start can cost."""

from textual.app import App, ComposeResult
from textual.widgets import Static


class Floor(App[None]):
    """One label."""

    def compose(self) -> ComposeResult:
        yield Static("ready")


if __name__ == "__main__":
    Floor().run()
