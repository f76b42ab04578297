"""One line above the charts: which part of the axis they show, which of them, what is wrong; the filter."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.message import Message

from console.tui.alerts import Alert
from console.tui.chart_view import ChartView
from console.tui.drawing.text import Row
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from console.runs.series import Notice


class ChartsLine(Panel, can_focus=True):
    """Has the class `-quiet` while there is nothing to say, the focus only while a filter is typed."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    ChartsLine { height: 1; }
    """

    class Filtered(Message):
        """Another filter was typed."""

        def __init__(self, pattern: re.Pattern[str] | None) -> None:
            super().__init__()
            self.pattern = pattern

    class Typed(Message):
        """The typing is over."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.can_focus = False
        self.text = ""
        """The filter."""
        self.typing = False
        self._row: Row = []

    # --- the filter --------------------------------------------------------------------------

    def ask(self) -> None:
        """Take what is typed from now on as the filter, until enter or escape."""
        self.typing = self.can_focus = True
        self.remove_class("-quiet")
        self.screen.set_focus(self)  # at once: what is typed next must not be taken for keys
        self.changed()

    def add(self, text: str) -> None:
        """Add to the filter."""
        self.text += text
        self.post_message(self.Filtered(self.pattern))
        self.repaint()

    def on_key(self, event: events.Key) -> None:
        if not self.typing:
            return
        event.stop()
        event.prevent_default()
        before = self.text
        if event.key == "escape":
            self.text = ""
        elif event.key in ("backspace", "ctrl+h"):
            self.text = self.text[:-1]
        elif event.key == "ctrl+u":
            self.text = ""
        elif event.is_printable and event.character:
            self.text += event.character
        if self.text != before:
            self.post_message(self.Filtered(self.pattern))
        if event.key in ("escape", "enter"):
            self._end()
        self.repaint()

    def drop(self) -> None:
        """Forget the filter."""
        self.text = ""
        self.repaint()

    def on_blur(self) -> None:
        self._end()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self.typing

    def _end(self) -> None:
        if self.typing:
            self.typing = self.can_focus = False
            self.post_message(self.Typed())

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The filter as an expression, upper and lower case alike; what is none is taken literally."""
        if not self.text:
            return None
        try:
            return re.compile(self.text, re.IGNORECASE)
        except re.error:
            return re.compile(re.escape(self.text), re.IGNORECASE)

    # --- what it says ------------------------------------------------------------------------

    def show(self, row: Row) -> None:
        """Say something else."""
        if row != self._row:
            self._row = row
            self.changed()
        self.set_class(not (row or self.typing or self.text), "-quiet")

    def draw(self, width: int, height: int) -> list[Row]:
        row: Row = [(" ", "text")]
        if self.typing or self.text:
            row += [("/", "key"), (self.text, "text"), ("▏" if self.typing else "", "accent"), ("  ", "text")]
        row += self._row
        if self.typing:
            row.append(("   enter keeps it, esc shows all", "muted"))
        return [row]


def window_row(view: ChartView) -> Row:
    """What the charts show of the axis, where that is not simply all of it by steps."""
    shown, whole = view.window.shown, view.window.whole
    if view.window.width is None or shown is None or whole is None:
        return [(f"by {view.axis}", "text")] if view.axis != "step" else []
    low, high, end = (view.axis.text(float(f"{at:.4g}")) for at in (*shown, whole[1]))
    keeps = ", follows" if view.window.follows else ""
    return [(f"{view.axis} {low} – {high}", "accent"), (f" of {end}{keeps} · 0 shows all", "muted")]


def count_row(shown: int, total: int, page: int, pages: int, *, zoomed: bool) -> Row:
    """Which charts are in sight, where these are not all."""
    row: Row = [(f"{shown} of {total} shown", "text" if shown else "warn")] if shown != total else []
    if pages > 1:
        row += _apart(
            row, [(f"{'chart' if zoomed else 'page'} {page} of {pages}", "text"), (" n N", "muted")]
        )
    return row


def alert_row(alerts: Sequence[Alert | None]) -> Row:
    """How many tasks have diverged, are worse than copying, or learn no more."""
    row: Row = []
    for alert in Alert:
        if count := sum(found is alert for found in alerts):
            row += _apart(row, [(f"▲ {count} {alert.words}", f"{alert.ink}")])
    return row


def notice_row(notices: "Sequence[Notice]") -> Row:
    """The newest error of a run, or how many warnings it has, with the key that goes to their place."""
    severe = [notice for notice in notices if notice.severe]
    if severe:
        return [("e", "key"), (" its place  ", "muted"), (f"✗ {_first_line(severe[-1].message)}", "bad")]
    if notices:
        said = f"! {len(notices)} warning{'s' * (len(notices) != 1)}"
        return [("e", "key"), (" shows ", "muted"), (said, "warn")]
    return []


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")


def joined(parts: Sequence[Row]) -> Row:
    """Rows one behind the other."""
    row: Row = []
    for part in parts:
        row += _apart(row, part)
    return row


def _apart(before: Row, after: Row) -> Row:
    return [("   ", "text"), *after] if before and after else after
