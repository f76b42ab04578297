"""The log of a run: follows, lets go on scrolling up, resumes at the end, searches."""

import re
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from console.tui.drawing.ansi import LogLines, ansi_row, plain
from console.tui.drawing.text import Row, clip
from console.tui.widgets.panel import Panel

_DATE = re.compile(r"^\d{4}-\d\d-\d\d[ T](?=\d\d:)")
_DATED_WIDTH = 90
"""A narrower log leaves out the date before the time."""


class LogView(Panel, can_focus=True):
    """A window on the lines of a log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="log.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="log.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("home,g", "home", "Beginning", show=False, id="log.home"),
        Binding("end,G,f", "follow", "End, follow", show=False, id="log.follow"),
        Binding("slash", "search", "Search", id="log.search"),
        Binding("n", "next(1)", "Next match", show=False, id="log.next"),
        Binding("N", "next(-1)", "Previous match", show=False, id="log.previous"),
        Binding("escape", "clear", "End search", show=False, id="log.clear"),
    ]

    def __init__(self, *, title: str = "log", empty: str = "no log yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.heading = title
        self.empty = empty
        self.log_lines = LogLines()
        self.following = True
        self.pattern = ""
        self._typing: str | None = None
        """What is being typed after `/`; None outside the prompt."""
        self._top = 0
        """Number of the first line shown, counted from the start of the log (dropped ones too)."""
        self._match: int | None = None

    # --- content ---------------------------------------------------------------------------

    def feed(self, content: bytes) -> None:
        """Append bytes of the log."""
        if content:
            self.log_lines.feed(content)
            self.changed()

    def reset(self, empty: str | None = None) -> None:
        """Forget everything: another run is shown."""
        self.log_lines = LogLines()
        self.following, self._top, self._match = True, 0, None
        self.empty = self.empty if empty is None else empty
        self.changed()

    # --- scrolling -------------------------------------------------------------------------

    @property
    def _page(self) -> int:
        return max(1, self.inner_size.height)

    @property
    def _last_top(self) -> int:
        return max(self.log_lines.dropped, self.log_lines.dropped + len(self.log_lines) - self._page)

    def _show_from(self, top: int) -> None:
        self._top = max(self.log_lines.dropped, min(top, self._last_top))
        self.following = self._top >= self._last_top
        self.repaint()

    def _position(self) -> int:
        return self._last_top if self.following else max(self._top, self.log_lines.dropped)

    def action_scroll(self, by: int) -> None:
        self._show_from(self._position() + by)

    def action_page(self, by: int) -> None:
        self._show_from(self._position() + by * max(1, self._page - 1))

    def action_home(self) -> None:
        self._show_from(0)

    def action_follow(self) -> None:
        self._show_from(self._last_top)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll(3)

    def on_blur(self) -> None:
        self._typing = None

    # --- searching --------------------------------------------------------------------------

    def action_search(self) -> None:
        self._typing = ""
        self.repaint()

    def action_clear(self) -> None:
        self.pattern, self._match = "", None
        self.repaint()

    def on_key(self, event: events.Key) -> None:
        if self._typing is None:
            return
        event.stop()
        event.prevent_default()
        if event.key == "enter":
            self.pattern, self._typing, self._match = self._typing, None, None
            self.action_next(-1)
        elif event.key == "escape":
            self._typing = None
        elif event.key == "backspace":
            self._typing = self._typing[:-1]
        elif event.is_printable and event.character:
            self._typing += event.character
        self.repaint()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._typing is not None

    def action_next(self, direction: int) -> None:
        """Go to the next line that matches; the first search goes up from the end of the window."""
        found = self._matches()
        if not found:
            self._match = None
            self.repaint()
            return
        here = self._position() + self._page if self._match is None else self._match
        if direction > 0:
            self._match = next((n for n in found if n > here), found[0])
        else:
            self._match = next((n for n in reversed(found) if n < here), found[-1])
        self._show_from(self._match - self._page // 2)

    def _expression(self) -> re.Pattern[str] | None:
        if not self.pattern:
            return None
        try:
            return re.compile(self.pattern, re.IGNORECASE if self.pattern.islower() else 0)
        except re.error:
            return re.compile(re.escape(self.pattern), re.IGNORECASE)

    def _matches(self) -> list[int]:
        """Numbers of the lines that match, counted as `_top` is."""
        expression = self._expression()
        if expression is None:
            return []
        first = self.log_lines.dropped
        return [first + n for n, line in enumerate(self.log_lines.lines) if expression.search(plain(line))]

    # --- drawing ----------------------------------------------------------------------------

    def title(self) -> Row:
        state = "following" if self.following else "paused here · end follows"
        return [(self.heading, "title"), (f"  {state}" if len(self.log_lines) else "", "muted")]

    def summary(self) -> Row:
        below = self._last_top - self._position()
        return [(f"{below} more below", "muted")] if below else []

    def footnote(self) -> Row:
        if self._typing is not None:
            return [("/", "key"), (self._typing, "text"), ("▏", "accent")]
        if not self.pattern:
            return []
        found = self._matches()
        place = f"{found.index(self._match) + 1} of {len(found)}" if self._match in found else f"{len(found)}"
        return [(f"/{self.pattern}", "key"), (f"  {place} found" if found else "  not found", "muted")]

    def draw(self, width: int, height: int) -> list[Row]:
        lines = self.log_lines.lines
        if not lines:
            return [[(" " + clip(self.empty, width - 1), "muted")]]
        first = self._position() - self.log_lines.dropped
        expression = self._expression()
        return [
            self._line(lines[n], self.log_lines.dropped + n, expression)
            for n in range(first, min(first + height, len(lines)))
        ]

    def _line(self, line: str, number: int, expression: re.Pattern[str] | None) -> Row:
        if self.inner_size.width < _DATED_WIDTH:
            line = _DATE.sub("", line)
        if expression is None:
            return [(" ", "text"), *(ansi_row(line) if "\x1b" in line else [(plain(line), _weight(line))])]
        text, row, position = plain(line), [(" ", "text")], 0
        for found in expression.finditer(text):
            row += [(text[position : found.start()], "text"), (found[0], "match")]
            position = found.end()
        row.append((text[position:], "text"))
        if number == self._match:
            row[0] = ("▸", "accent")
        return [span for span in row if span[0]]


def _weight(line: str) -> str:
    """Ink of a line without colours: warnings and errors stand out."""
    lowered = line.lower()
    if "error" in lowered or "traceback" in lowered:
        return "bad"
    return "warn" if "warning" in lowered or " ! " in line else "text"
