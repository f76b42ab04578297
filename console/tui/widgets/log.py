"""The log of a run: follows, lets go on scrolling up, searches, filters, whatever its size.

Nothing of the file is held but what is in sight. What takes long, counting its lines and looking for
some, is done by a worker thread, portion by portion, and shown as it comes.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, work
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from console.tui.drawing.ansi import ansi_row, break_row, marked, skip_cells
from console.tui.drawing.text import Row, clip, size
from console.tui.log import edges
from console.tui.log.file import Change
from console.tui.log.lines import Lines, Place
from console.tui.log.matching import ERRORS, WARNINGS, EndlessPatternError, criterion, holding
from console.tui.log.reader import LogReader
from console.tui.log.text import line_text
from console.tui.messages import LogCounted
from console.tui.widgets.panel import Panel
from console.tui.widgets.typed_line import TypedLine

_DATE = re.compile(r"^\d{4}-\d\d-\d\d[ T](?=\d\d:)")
_DATED_WIDTH = 90
"""A narrower log leaves out the date before the time."""
_SIDEWAYS = 16
_TOLD_SECONDS = 0.05
_LOOK_SECONDS = 0.06
"""Between two looks at a log that grows."""
_KEPT_ROWS = 256


class LogView(Panel, can_focus=True):
    """A window on the lines of a log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="log.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="log.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("home,g", "home", "Beginning", show=False, id="log.home"),
        Binding("end,G,f", "follow", "End, follow", show=False, id="log.follow"),
        Binding("left", "sideways(-1)", "Left", show=False, id="log.left"),
        Binding("right", "sideways(1)", "Right", show=False, id="log.right"),
        Binding("w", "wrap", "Wrap long lines", show=False, id="log.wrap"),
        Binding("slash", "ask('/')", "Search", id="log.search"),
        Binding("n", "next(1)", "Next match", show=False, id="log.next"),
        Binding("N", "next(-1)", "Previous match", show=False, id="log.previous"),
        Binding("ampersand", "ask('&')", "Filter", id="log.filter"),
        Binding("L", "level", "Level: all, warnings, errors", show=False, id="log.level"),
        Binding("e", "error(1)", "Next error", id="log.next_error"),
        Binding("E", "error(-1)", "Previous error", show=False, id="log.previous_error"),
        Binding("colon", "ask(':')", "Go to a line", show=False, id="log.line"),
        Binding("escape", "clear", "End search, filter", show=False, id="log.clear"),
    ]

    def __init__(self, *, title: str = "log", empty: str = "no log yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.heading = title
        self.empty = empty
        self.wrapped = False
        self.reader = LogReader(self._rows_of)
        self._prompt = TypedLine()
        self._refused = ""
        """Why what was typed last was not done."""
        self._left = 0
        """Columns to the left of the window."""
        self._is_counting = self._is_looking = False
        self._rows_kept: dict[tuple[Place, int], Row] = {}

    # --- content ---------------------------------------------------------------------------

    def open(self, find: Callable[[], Sequence[Path]], empty: str | None = None) -> None:
        """Show the log that is in these files, one after another, from its end."""
        self.empty = self.empty if empty is None else empty
        self._left = 0
        self.reader.open(find)
        self._rows_kept.clear()
        self._count()
        self.changed()

    def look(self) -> None:
        """The log may have grown: show what is new, and look again soon if something is."""
        if self.reader.look() is Change.NONE:
            return
        self._rows_kept.clear()
        self._done()
        if not self._is_looking:
            self._is_looking = True
            self.set_timer(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._is_looking = False
        self.look()

    def show_text(self, text: str) -> None:
        """Go to the last line that holds a text, an event's message for example."""
        self.reader.window.to_end()
        self.reader.search(text, (holding(text),), -1)
        self._done()

    # --- counting --------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._count()

    def _count(self) -> None:
        """Count what is not counted: a little at once, more in the background."""
        if not self.is_attached:
            return
        if self.reader.counts_anew and self._is_counting:
            self.workers.cancel_group(self, "log")
            self._is_counting = False
        self.reader.counts_anew = False
        if self.reader.count_a_little() and not self._is_counting:
            self._is_counting = True
            start = self.reader.match or self.reader.window.top().place
            self._count_in_background(self.reader.sets(), start, self.reader.awaited)

    @work(thread=True, exclusive=True, group="log", exit_on_error=False)
    def _count_in_background(self, sets: list[Lines], start: Place, awaited: int) -> None:
        worker, told = get_current_worker(), time.monotonic()
        for lines in sets:
            is_awaited = awaited != 0 and lines is sets[-1]
            for found in lines.count_cells(start if is_awaited else None, downwards=awaited > 0):
                if worker.is_cancelled:
                    return
                if time.monotonic() - told > _TOLD_SECONDS or (found and is_awaited):
                    told, is_awaited = time.monotonic(), False
                    self.post_message(LogCounted(done=False))
                    time.sleep(0.001)  # lets whoever draws go first
        self.post_message(LogCounted(done=True))

    def on_log_counted(self, message: LogCounted) -> None:
        message.stop()
        self.reader.resume()
        if message.done:
            self._is_counting = False
            self._rows_kept.clear()  # where very long lines end is known now
            self._count()  # what came meanwhile
        self.changed()

    # --- keys ------------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """New lines push the old ones up."""
        return self.reader.window.following

    def _done(self) -> None:
        """Something was asked for: show it, and count what that takes."""
        self._count()
        self.reader.resume()
        self.repaint()

    def action_scroll(self, by: int) -> None:
        self.reader.window.scroll(by)
        self.repaint()

    def action_page(self, by: int) -> None:
        self.action_scroll(by * max(1, self.inner_size.height - 1))

    def action_home(self) -> None:
        self.reader.window.to_start()
        self.repaint()

    def action_follow(self) -> None:
        self.reader.window.to_end()
        self.repaint()

    def action_sideways(self, by: int) -> None:
        """Show more of long lines."""
        self._left = max(0, self._left + by * _SIDEWAYS) if not self.wrapped else 0
        self.repaint()

    def action_wrap(self) -> None:
        """Break long lines, or cut them."""
        self.wrapped, self._left = not self.wrapped, 0
        self.repaint()

    def action_level(self) -> None:
        """Show all lines, warnings and errors, or errors."""
        self.reader.next_level()
        self._done()

    def action_next(self, direction: int) -> None:
        """Go to the next line that matches."""
        self.reader.next(direction)
        self._done()

    def action_error(self, direction: int) -> None:
        """Go to the next error, or the previous one; while following to the last one."""
        self.reader.next_error(direction)
        self._done()

    def action_clear(self) -> None:
        """End the search; then the filter; then show all levels."""
        self._refused = ""
        self.reader.clear()
        self._done()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "clear":  # else escape is for whoever has a use for it
            return bool(self._refused or self.reader.searched or self.reader.filter or self.reader.level)
        return True

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_scroll(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_scroll(3)

    # --- what is typed ----------------------------------------------------------------------

    def action_ask(self, kind: str) -> None:
        """Begin to type what is looked for (/), which lines are shown (&), or a number (:)."""
        self._prompt.begin(kind)
        self.repaint()

    def on_blur(self) -> None:
        self._prompt.end()

    def on_key(self, event: events.Key) -> None:
        if not self._prompt.is_open:
            # A binding is run after the keys that came with its own: what is typed would be lost.
            active = self.screen.active_bindings.get(event.key)
            if active is not None and active.node is self and active.binding.action.startswith("ask("):
                event.stop()
                event.prevent_default()
                self.action_ask(active.binding.action[5:-2])
            return
        event.stop()
        event.prevent_default()
        kind, self._refused = self._prompt.kind, ""
        if self._prompt.press(event):
            self._typed(kind, self._prompt.text)
        self.repaint()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._prompt.is_open

    def _typed(self, kind: str, text: str) -> None:
        try:
            if kind == "/":
                self.reader.search(text, (criterion(text),) if text else (), -1)
            elif kind == "&":
                self.reader.only(text)
        except EndlessPatternError as error:
            self._refused = str(error)
        if kind == ":" and text.isdecimal() and len(text) < 16:
            self.reader.to_line(int(text))
        self._done()

    # --- drawing ----------------------------------------------------------------------------

    def title(self) -> Row:
        name: Row = [(self.heading, "title")]
        return [*name, *edges.state(self.reader)] if self.reader.log.size else name

    def summary(self) -> Row:
        return edges.place(self.reader) if self.reader.log.size else []

    def footnote(self) -> Row:
        if self._prompt.is_open:
            return self._prompt.row()
        if self._refused:
            return [(self._refused, "bad")]
        return edges.search(self.reader) or ([("w breaks long lines", "muted")] if self._left else [])

    def draw(self, width: int, height: int) -> list[Row]:
        self.reader.window.height = max(1, height)
        if not self.reader.log.size:
            return [[(" " + clip(self.empty, width - 1), "muted")]]
        rows = [self._with_mark(place, row) for place, row in self.reader.window.rows()]
        if not rows:
            lines = self.reader.window.lines
            why = f"looking for lines: {lines.progress:.0%}" if lines.uncounted else "no line is like that"
            return [[(" " + why, "muted")]]
        return rows

    def _with_mark(self, place: Place, row: Row) -> Row:
        return [("▸" if place == self.reader.match else " ", "accent"), *row]

    def _rows_of(self, place: Place) -> list[Row]:
        """A line as rows: one, or as many as it takes where long lines are broken."""
        width = max(1, self.inner_size.width - 1)
        row = self._row(place)
        if self.wrapped:
            return break_row(row, width)
        if self._left:
            return [[("‹", "muted"), *skip_cells(row, self._left + 1)]]
        return [row]

    def _row(self, place: Place) -> Row:
        """A line in its colours, with what is looked for marked."""
        key = place, self.inner_size.width
        row = self._rows_kept.get(key)
        if row is None:
            row = self._drawn(place)
            while len(self._rows_kept) >= _KEPT_ROWS:
                del self._rows_kept[next(iter(self._rows_kept))]
            self._rows_kept[key] = row
        for wanted in () if self.reader.seeks_errors else self.reader.goals:
            row = marked(row, wanted.expression, "match")
        return row

    def _drawn(self, place: Place) -> Row:
        line = line_text(self.reader.lines, place)
        text = line.text
        if self.inner_size.width < _DATED_WIDTH:
            text = _DATE.sub("", text)
        row = ansi_row(text)
        if "\x1b" not in text:
            row = [(piece, _weight(piece)) for piece, _ in row]
        if line.hidden:
            what = "the end" if line.is_end else "the beginning"
            row.insert(0, (f"[{what} of a line of {size(line.hidden + len(text))}] ", "muted"))
        return row


def _weight(line: str) -> str:
    """Ink of a line without colours: warnings and errors stand out."""
    head = line[:500]
    if ERRORS.expression.search(head):
        return "bad"
    return "warn" if WARNINGS.expression.search(head) else "text"
