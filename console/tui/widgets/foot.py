"""The bottom of every screen: what went wrong, the teardown in progress, the keys."""

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar, Protocol, cast

from textual import events
from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.screen import Screen
from textual.timer import Timer

from console.tui.drawing.text import Ink, Row, drop_spans, duration, row_width, size, wrap_row
from console.tui.widgets.bars import progress_bar
from console.tui.widgets.panel import Panel

_NOTICE_SECONDS = 12.0
_SETTLED_SECONDS = 2.0
"""Sooner no rate is worth reading."""


class NoticeBar(Panel):
    """One notice, at most three lines high; gone after a while or with `dismiss`."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    NoticeBar { height: auto; max-height: 3; background: $panel; display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: Row = []
        self._timer: Timer | None = None

    def show(self, text: str, hint: str = "", ink: Ink = "warn") -> None:
        """Show a notice."""
        mark = {"bad": "✗", "warn": "!", "good": "✓"}.get(str(ink), "·")
        self.row = [(f" {mark} ", ink), (text, "text" if ink == "good" else ink)]
        if hint:
            self.row += [("   " + hint, "muted")]
        self.display = True
        self._fit()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_NOTICE_SECONDS, self.dismiss)

    def dismiss(self) -> None:
        """Take the notice away."""
        self.row = []
        self.display = False

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def _fit(self) -> None:
        width = self.app.size.width
        self.styles.height = max(1, min(3, len(wrap_row(self.row, width))))
        self.changed()
        self.refresh()

    def draw(self, width: int, height: int) -> list[Row]:
        return wrap_row(self.row, width)[:height] if self.row else []


class Choosy(Protocol):
    """A screen or pane some of whose actions need something to act on."""

    def possible(self, action: str) -> bool:
        """Whether the action has it."""


def possible(active: ActiveBinding) -> bool:
    """Whether a binding would do something now, as far as its screen or pane knows."""
    judge: Choosy | None = getattr(active.node, "possible", None) and cast("Choosy", active.node)
    return judge is None or judge.possible(active.binding.action.partition("(")[0])


def _ranked(shown: Sequence[ActiveBinding]) -> list[ActiveBinding]:
    """The screen's first key, what the focused pane adds, the screen's others, and last the app's."""
    panes = [a for a in shown if not isinstance(a.node, Screen | App)]
    screens = sorted((a for a in shown if isinstance(a.node, Screen)), key=_declared)
    return [*screens[:1], *panes, *screens[1:], *(a for a in shown if isinstance(a.node, App))]


def _declared(active: ActiveBinding) -> int:
    """The place of a binding among those of its screen, whose first ones matter most."""
    ids = _ids_of(type(active.node))
    return ids.index(active.binding.id) if active.binding.id in ids else len(ids)


@cache
def _ids_of(kind: type) -> Sequence[str | None]:
    """The ids of a screen's bindings, its own first."""
    declared = (vars(each).get("BINDINGS", ()) for each in kind.__mro__)
    return [binding.id for bindings in declared for binding in Binding.make_bindings(bindings)]


class KeyBar(Panel):
    """The keys that matter here, from the bindings themselves."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    KeyBar { height: 1; background: $background; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys: Sequence[tuple[str, str]] = ()
        self._always = 0
        """So many of them, the last ones, are always in sight: those of the app."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.gather())
        self.call_after_refresh(self.gather)

    def gather(self) -> None:
        """Read the bindings that are active now."""
        if not self.screen.is_active:
            return
        shown = [
            active
            for active in self.screen.active_bindings.values()
            if active.binding.show and active.enabled and possible(active)
        ]
        pressed = [(self.app.get_key_display(a.binding), a.binding.description) for a in _ranked(shown)]
        keys = list(dict.fromkeys(pressed))
        always = sum(isinstance(active.node, App) for active in shown)
        if (keys, always) != (self.keys, self._always):
            self.keys, self._always = keys, always
            self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        row: Row = [(" ", "text")]
        last = self.keys[len(self.keys) - self._always :]
        room = width - sum(len(key) + len(label) + 4 for key, label in last)
        for key, label in self.keys:
            if (key, label) in last or row_width(row) + len(key) + len(label) + 4 <= room:
                row += [(key, "key"), (f" {label.lower()}   ", "muted")]
        return [row]


class TeardownBar(Panel):
    """A teardown: the window in which it can be taken back, then what was done, line by line."""

    FRAMED: ClassVar[bool] = False
    MOST_LINES: ClassVar[int] = 7
    DEFAULT_CSS = """
    TeardownBar { height: auto; background: $panel; display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[Row] = []

    def show(self, lines: Sequence[Row]) -> None:
        """Show these lines; none hides the bar."""
        self.lines = list(lines)[-self.MOST_LINES :]
        self.display = bool(self.lines)
        self.styles.height = max(1, len(self.lines))
        self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        return [[("▌", "bad"), *drop_spans(line, width - 1)] for line in self.lines[:height]]


class WrappedBar(Panel):
    """One row over up to three lines; hidden while it is empty."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    WrappedBar { height: 1; max-height: 3; background: $panel; display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: Row = []

    def show(self, row: Row) -> None:
        """Show a row; an empty one hides the bar."""
        self.row = row
        self.display = bool(row)
        self._fit()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def _fit(self) -> None:
        self.styles.height = max(1, min(3, len(wrap_row(self.row, self.app.size.width))))
        self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        return wrap_row(self.row, width)[:height]


class LaunchBar(WrappedBar):
    """A launch under way, or why the last one failed."""


class WorkBar(Panel):
    """A data command at work: what, how far; hidden while there is none."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    WorkBar { height: 1; background: $panel; display: none; }
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self.what = ""
        self.done = self.total = 0
        self._since = 0.0
        """When it began with what it is doing, by the clock."""

    def show(self, what: str, done: int = 0, total: int = 0) -> None:
        """Show progress; an empty `what` hides the bar."""
        if what != self.what:
            self._since = self._clock()
        self.what, self.done, self.total = what, done, total
        self.display = bool(what)
        self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        from console.api import KILOBYTES

        row: Row = [(" ▶ ", "accent"), (self.what.removesuffix(KILOBYTES), "text")]
        if not self.total:
            return [[*row, ("  starting", "muted")]]
        figures = self._figures()
        bar = max(4, min(40, width - row_width(row) - len(figures) - 4))
        return [[*row, ("  ", "text"), *progress_bar(self.done / self.total, bar), (figures, "text")]]

    def _figures(self) -> str:
        """How much of how much, and how much longer; of bytes also the rate."""
        from console.api import KILOBYTES

        elapsed = self._clock() - self._since
        if elapsed < _SETTLED_SECONDS or not self.done or self.done >= self.total:
            pace = left = ""
        else:
            pace = f"  {size(1000 * self.done / elapsed)}/s"
            left = f"  {duration(elapsed * (self.total - self.done) / self.done)} left"
        if self.what.endswith(KILOBYTES):
            return f" {size(1000 * self.done)}/{size(1000 * self.total)}{pace}{left}"
        return f" {self.done:,}/{self.total:,}{left}"
