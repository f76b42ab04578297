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
from console.tui.log.file import Change, Log
from console.tui.log.lines import Lines, NotCountedError, Place
from console.tui.log.matching import ERRORS, LEVELS, WARNINGS, Criterion, MatchingLines, criterion, holding
from console.tui.log.text import line_text
from console.tui.log.window import Window
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
        Binding("ampersand", "ask('&')", "Only lines with", id="log.filter"),
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
        self.level = 0
        self.filter = ""
        self.searched = ""
        """What is looked for, as it was typed."""
        self._prompt = TypedLine()
        self._left = 0
        """Columns to the left of the window."""
        self._match: Place | None = None
        self._wanted = 0
        """1 or −1 while a match is awaited in that direction."""
        self._is_counting = self._is_looking = False
        self._rows_kept: dict[tuple[Place, int], Row] = {}
        self._show(Log())

    # --- content ---------------------------------------------------------------------------

    def open(self, find: Callable[[], Sequence[Path]], empty: str | None = None) -> None:
        """Show the log that is in these files, one after another, from its end."""
        self.empty = self.empty if empty is None else empty
        self._match, self.searched, self.filter, self.level, self._left = None, "", "", 0, 0
        self._show(Log(find))
        self.changed()

    def look(self) -> None:
        """The log may have grown: show what is new, and look again soon if something is."""
        change = self.log_file.refresh()
        if change is Change.NONE:
            return
        if change is Change.REPLACED:
            self._match = None
            self._show(self.log_file)
            self._refilter()
        else:
            self._grow()
        self.repaint()
        if not self._is_looking:
            self._is_looking = True
            self.set_timer(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._is_looking = False
        self.look()

    def _show(self, log: Log) -> None:
        self.log_file = log
        self.lines = Lines(log)
        self.goal: MatchingLines | None = None
        """The lines that are looked for."""
        self.window = Window(self.lines, self._rows_of)
        self._rows_kept.clear()
        self._count()

    def _sets(self) -> list[Lines]:
        """Lines that are to be counted: all, those of the filter, those that are looked for."""
        sets: list[Lines] = [self.lines]
        if self.window.lines is not self.lines:
            sets.append(self.window.lines)
        return sets if self.goal is None else [*sets, self.goal]

    def _grow(self) -> None:
        self._rows_kept.clear()
        for lines in self._sets():
            lines.grown()
        self._count()

    # --- counting --------------------------------------------------------------------------

    def _count(self) -> None:
        """Count what is not counted: a little at once, more in the background."""
        for lines in self._sets():
            if lines.uncounted <= lines.patience:
                for _ in lines.count_cells():
                    pass
        if not self._is_counting and self.is_attached and any(lines.uncounted for lines in self._sets()):
            self._is_counting = True
            self._count_in_background(self._sets(), self._match or self.window.top().place, self._wanted)

    @work(thread=True, exclusive=True, group="log", exit_on_error=False)
    def _count_in_background(self, sets: list[Lines], start: Place, wanted: int) -> None:
        worker, told = get_current_worker(), time.monotonic()
        for lines in sets:
            begin = start if wanted and lines is sets[-1] else None
            for found in lines.count_cells(begin, downwards=wanted > 0):
                if worker.is_cancelled:
                    return
                now = time.monotonic()
                if now - told > _TOLD_SECONDS or (found and wanted and lines is sets[-1]):
                    told = now
                    self.post_message(LogCounted(done=False))
                    time.sleep(0.001)  # lets whoever draws go first
        self.post_message(LogCounted(done=True))

    def on_log_counted(self, message: LogCounted) -> None:
        message.stop()
        if message.done:
            self._is_counting = False
            self._rows_kept.clear()  # where very long lines end is known now
            self._count()  # what came meanwhile
        if self._wanted:
            self._go(self._wanted)
        self.changed()

    def _count_anew(self) -> None:
        """Something else is to be counted first."""
        self.workers.cancel_group(self, "log")
        self._is_counting = False
        self._count()

    def on_mount(self) -> None:
        self._count()

    # --- scrolling -------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """New lines push the old ones up."""
        return self.window.following

    def action_scroll(self, by: int) -> None:
        self._measure()
        self.window.scroll(by)
        self.repaint()

    def action_page(self, by: int) -> None:
        self.action_scroll(by * max(1, self.inner_size.height - 1))

    def action_home(self) -> None:
        self.window.to_start()
        self.repaint()

    def action_follow(self) -> None:
        self.window.to_end()
        self.repaint()

    def action_sideways(self, by: int) -> None:
        """Show more of long lines."""
        self._left = max(0, self._left + by * _SIDEWAYS) if not self.wrapped else 0
        self.repaint()

    def action_wrap(self) -> None:
        """Break long lines, or cut them."""
        self.wrapped, self._left = not self.wrapped, 0
        self.repaint()

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
        kind = self._prompt.kind
        if self._prompt.press(event):
            self._typed(kind, self._prompt.text)
        self.repaint()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return self._prompt.is_open

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "clear":  # else escape is for whoever has a use for it
            return bool(self.searched or self.filter or self.level)
        return True

    def _typed(self, kind: str, text: str) -> None:
        if kind == "/":
            self._search(text, [criterion(text)] if text else [], -1)
        elif kind == "&":
            self.filter = text
            self._refilter()
        elif text.isdecimal() and len(text) < 16:
            place = self.window.lines.at(max(0, int(text) - 1)) or self._tried(self.window.lines.last)
            if place is not None:
                self.window.show(place)

    def action_clear(self) -> None:
        """End the search; then the filter; then show all levels."""
        if self.searched:
            self._search("", [], 0)
        elif self.filter:
            self.filter = ""
            self._refilter()
        else:
            self.level = 0
            self._refilter()
        self.repaint()

    # --- filtering --------------------------------------------------------------------------

    def action_level(self) -> None:
        """Show all lines, warnings and errors, or errors."""
        self.level = (self.level + 1) % len(LEVELS)
        self._refilter()
        self.repaint()

    def _criteria(self) -> list[Criterion]:
        level = LEVELS[self.level][1]
        return [*([level] if level is not None else []), *([criterion(self.filter)] if self.filter else [])]

    def _refilter(self) -> None:
        criteria = self._criteria()
        self.window.lines = MatchingLines(self.lines, tuple(criteria)) if criteria else self.lines
        self.window.keep()
        self._search(self.searched, self._goals, 0)

    # --- searching --------------------------------------------------------------------------

    _goals: Sequence[Criterion] = ()
    """What the lines that are looked for hold."""

    def _search(self, label: str, goals: Sequence[Criterion], direction: int) -> None:
        """Look for lines, and go to the next one in a direction."""
        self.searched, self._goals, self._wanted = label, goals, 0
        self.goal = MatchingLines(self.lines, (*goals, *self._criteria())) if goals else None
        if direction or self.goal is None:
            self._match = None
        if direction and self.goal is not None:
            self._go(direction)
        else:
            self._count_anew()

    def show_text(self, text: str) -> None:
        """Go to the last line that holds a text, an event's message for example."""
        self._search(text, [holding(text)], -1)
        self.changed()

    def action_next(self, direction: int) -> None:
        """Go to the next line that matches; the first search goes up from the end of the window."""
        if self.goal is not None:
            self._go(direction)
        self.repaint()

    def action_error(self, direction: int) -> None:
        """Go to the next error, or the previous one; while following to the last one."""
        if tuple(self._goals) != (ERRORS,):
            self._search("errors", [ERRORS], -1 if self.following else direction)
        else:
            self._go(direction)
        self.repaint()

    def _go(self, direction: int) -> None:
        goal = self.goal
        assert goal is not None
        self._measure()
        here = self._match
        try:
            if here is None:
                in_sight = [place for place, _ in self.window.rows()]
                here = in_sight[-1 if direction < 0 else 0] if in_sight else self.window.top().place
                here = Place(here.part, here.offset - direction)
            found = goal.before(here) if direction < 0 else goal.after(here)
            if found is None:
                found = goal.last() if direction < 0 else goal.first()
        except NotCountedError:
            changed, self._wanted = self._wanted != direction, direction
            if changed:
                self._count_anew()
            return
        self._wanted, self._match = 0, found
        if found is not None:
            self._bring(found)
        self._count()

    def _bring(self, place: Place) -> None:
        """Have a line in sight, and the columns of its match."""
        if place not in [seen for seen, _ in self.window.rows()]:
            self.window.show(place, above=self.window.height // 2)
        elif not self.following or place != self._tried(self.window.lines.last):
            self.window.show(self.window.top().place)

    def _tried(self, look: Callable[[], Place | None]) -> Place | None:
        try:
            return look()
        except NotCountedError:
            return None

    # --- drawing ----------------------------------------------------------------------------

    def title(self) -> Row:
        row: Row = [(self.heading, "title")]
        if not self.log_file.size:
            return row
        news = self.window.news
        state = (
            "following"
            if self.following
            else f"paused, {news:,} new below"
            if news
            else "paused · end follows"
        )
        row.append((f"  {state}", "muted" if self.following else "warn"))
        shown = [LEVELS[self.level][0], f"&{self.filter}" if self.filter else ""]
        return [*row, *((f"  only {name}", "accent") for name in shown if name)]

    def summary(self) -> Row:
        lines = self.window.lines
        about = "~" if lines.uncounted else ""
        if not lines.total or self.following:
            what = f"{about}{lines.total:,} line{'s' * (lines.total != 1)}"
            return [(what, "muted")] if self.log_file.size else []
        return [
            (
                f"line {about}{lines.number_of(self.window.top().place) + 1:,} of {about}{lines.total:,}",
                "muted",
            )
        ]

    def footnote(self) -> Row:
        if self._prompt.is_open:
            return self._prompt.row()
        goal = self.goal
        if goal is None:
            return [("w breaks long lines", "muted")] if self._left else []
        row: Row = [(clip(self.searched if self._goals == [ERRORS] else f"/{self.searched}", 40), "key")]
        if goal.uncounted:
            return [
                *row,
                (f"  {goal.counted:,} found", "muted"),
                (f"  searching {goal.progress:.0%}", "accent"),
            ]
        if not goal.total:
            return [*row, ("  not found", "warn")]
        place = f"{goal.number_of(self._match) + 1:,} of " if self._match is not None else ""
        return [*row, (f"  {place}{goal.total:,} found · n N", "muted")]

    def _measure(self) -> None:
        self.window.height = max(1, self.inner_size.height)

    def draw(self, width: int, height: int) -> list[Row]:
        self.window.height = max(1, height)
        if not self.log_file.size:
            return [[(" " + clip(self.empty, width - 1), "muted")]]
        rows = [self._with_mark(place, row) for place, row in self.window.rows()]
        if not rows:
            lines = self.window.lines
            why = f"looking for lines: {lines.progress:.0%}" if lines.uncounted else "no line is like that"
            return [[(" " + why, "muted")]]
        return rows

    def _with_mark(self, place: Place, row: Row) -> Row:
        return [("▸" if place == self._match else " ", "accent"), *row]

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
        for wanted in self._goals if self._goals != [ERRORS] else ():
            row = marked(row, wanted.expression, "match")
        return row

    def _drawn(self, place: Place) -> Row:
        line = line_text(self.lines, place)
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
