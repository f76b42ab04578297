"""What every widget of the console is built on: rows of inked text, repainted only where they changed.

A `Panel` draws its rows in one go (`draw`), keeps them, and hands them out as they are: it has no border,
padding or opacity, which Textual would look for in every line of every frame. When its
data change it asks the one `Painter` of the app, which wakes at most ten times a second, and not at
all when nothing changed; then only lines whose rows differ are sent to the terminal.
"""

import time
from typing import ClassVar
from weakref import WeakKeyDictionary

from rich.color import Color as RichColor
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from console.tui.drawing.text import PANEL, Ink, Row, drop_spans, fit_row, row_width
from console.tui.theme import task_variable, variable_defaults

INKS: dict[str, tuple[str, float, bool]] = {
    "title": ("foreground", 1.0, True),
    "muted": ("muted", 1.0, False),
    "frame": ("frame", 1.0, False),
    "accent": ("accent", 1.0, False),
    "key": ("accent", 1.0, True),
    "good": ("success", 1.0, False),
    "warn": ("warning", 1.0, False),
    "bad": ("error", 1.0, True),
    "axis": ("muted", 1.0, False),
    "mark": ("muted", 1.0, False),
    "raw": ("muted", 0.75, False),
    "val": ("foreground", 1.0, False),
    "level": ("warning", 0.75, False),
    "cross": ("accent", 1.0, False),
    "last": ("accent", 0.6, False),
    "best": ("success", 0.6, False),
}
"""ink → (theme variable, share of it over the background, bold)."""

CURSOR_SHARES = (0.1, 0.25)
"""Of the accent behind the row under the cursor: of a pane without the focus, and with it."""

_WEIGHTS = {"bold": Style(bold=True), "reverse": Style(reverse=True), "text": Style.null()}


class Painter:
    """Coalesces repaints of all panels of an app into at most fourteen a second."""

    INTERVAL = 0.07
    _of_app: ClassVar["WeakKeyDictionary[App[object], Painter]"] = WeakKeyDictionary()

    def __init__(self, app: "App[object]") -> None:
        self._app = app
        self._waiting: set[Panel] = set()
        self._timer: Timer | None = None
        self._painted_at = 0.0
        self.colours: dict[tuple[str, str, float, Color], Color] = {}
        """(theme, variable, share of it, background) → colour; the same in all panels."""

    @classmethod
    def of(cls, app: "App[object]") -> "Painter":
        """The app's painter."""
        if app not in cls._of_app:
            cls._of_app[app] = cls(app)
        return cls._of_app[app]

    def request(self, panel: "Panel") -> None:
        """Have a panel repainted soon."""
        self._waiting.add(panel)
        if self._timer is None:
            delay = max(0.001, self._painted_at + self.INTERVAL - time.monotonic())
            self._timer = self._app.set_timer(delay, self._paint)

    def _paint(self) -> None:
        self._timer = None
        self._painted_at = time.monotonic()
        waiting, self._waiting = self._waiting, set()
        for panel in waiting:
            panel.repaint()


class Panel(Widget):
    """A widget that draws rows of inked text, in a frame with a title or without one.

    Subclasses implement `draw` and call `changed` when their data changed.
    """

    FRAMED: ClassVar[bool] = True
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Panel {
        height: 1fr;
        width: 1fr;
        background: $background;
        color: $foreground;
    }
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._rows: list[Row] | None = None
        """As wide as the panel."""
        self._inside: list[Row] = []
        """What was drawn inside the frame, for use where it stays the same."""
        self._drawn_for = Size(0, 0)
        self._strips: dict[int, Strip] = {}
        """Line → as it is painted, while its row stays the same."""
        self._painted_with: object = None
        """What else decides how lines are painted."""
        self._styles: dict[Ink, Style] = {}

    # --- what a subclass provides -----------------------------------------------------------

    def draw(self, width: int, height: int) -> list[Row]:
        """Rows of the inside, at most `height`; shorter ones are padded."""
        raise NotImplementedError

    def title(self) -> Row:
        """Left of the frame's upper edge."""
        return []

    @property
    def title_least(self) -> int:
        """Spans of the title that stay, whatever the summary wants to say."""
        return 2

    def summary(self) -> Row:
        """Right of the frame's upper edge."""
        return []

    def footnote(self) -> Row:
        """Left of the frame's lower edge."""
        return []

    # --- repainting ------------------------------------------------------------------------

    def changed(self) -> None:
        """Data changed: repaint within a tenth of a second."""
        if self.is_attached:
            Painter.of(self.app).request(self)

    def repaint(self) -> None:
        """Draw now and refresh the lines that differ."""
        size = self.size  # asked for once: Textual makes it out of margins and borders
        if not self.is_attached or not size or not self.screen.is_active:
            self._forget()
            if self.is_attached:
                self.refresh()  # else what was drawn before would come back with the screen
            return
        before, drawn_for = self._rows, self._drawn_for
        self._render_rows()
        rows = self._rows or []
        if before is None or drawn_for != size or len(before) != len(rows):
            self._strips.clear()
            self.refresh()
            return
        dirty = [y for y, (old, new) in enumerate(zip(before, rows, strict=True)) if old != new]
        if dirty:
            for y in dirty:
                self._strips.pop(y, None)
            self.refresh(*(Region(0, y, size.width, 1) for y in dirty))

    def redraw(self) -> None:
        """Draw anew with the next frame, in whatever size the panel has then."""
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._rows = None
        self._strips.clear()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._forget()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._styles.clear()
        self._forget()
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        size = self.size
        if self._rows is None or self._drawn_for != size:
            self._strips.clear()
            self._render_rows()
        filters, background = tuple(self.get_line_filters()), self.background_colors[1]
        if self._painted_with != (filters, background):
            self._painted_with = filters, background
            self._strips.clear()
        strips, rows, found = self._strips, self._rows or [], []
        for y in crop.line_range:
            strip = strips.get(y)
            if strip is None:
                row = rows[y] if y < len(rows) else [(" " * size.width, "text")]
                strip = Strip([Segment(text, self.ink(ink)) for text, ink in row], size.width)
                for line_filter in filters:
                    strip = strip.apply_filter(line_filter, background)
                strips[y] = strip
            found.append(strip)
        if crop.column_span != (0, size.width):
            return [strip.crop(*crop.column_span) for strip in found]
        return found

    def _render_rows(self) -> None:
        before, drawn_for = self._rows or [], self._drawn_for
        width, height = self._drawn_for = self.size
        if not self.FRAMED:
            self._rows = [fit_row(row, width) for row in self.draw(width, height)[:height]]
            return
        if width < 4 or height < 2:
            self._rows = []
            return
        inside, drawn = self.draw(width - 2, height - 2), self._inside
        rows: list[Row] = [fit_row(self._edge("╭", "╮", self.title(), self.summary(), width), width)]
        stays = len(before) == height and drawn_for == self._drawn_for
        for line in range(height - 2):
            if stays and line < len(inside) and line < len(drawn) and inside[line] == drawn[line]:
                rows.append(before[line + 1])
                continue
            content = fit_row(inside[line] if line < len(inside) else [], width - 2)
            rows.append([("│", "frame"), *content, ("│", "frame")])
        rows.append(fit_row(self._edge("╰", "╯", self.footnote(), [], width), width))
        self._rows, self._inside = rows, inside

    def _edge(self, left: str, right: str, begin: Row, end: Row, width: int) -> Row:
        room = width - 3
        least = row_width(begin[: self.title_least]) + 3  # the name stays, whatever the summary wants to say
        if row_width(end) + 2 > room - least:
            end = drop_spans(end, max(0, room - least - 2))
        end = [(" ", "frame"), *end, (" ", "frame")] if end else []
        begin = drop_spans(begin, room - row_width(end) - 2)
        begin = [(" ", "frame"), *begin, (" ", "frame")] if begin else []
        room += 1
        fill = "─" * max(0, room - row_width(begin) - row_width(end))
        return [(left, "frame"), *begin, (fill, "frame"), *end, (right, "frame")]

    # --- inks ------------------------------------------------------------------------------

    def ink(self, ink: Ink) -> Style:
        """The style of an ink under the current theme; inks joined by a space are combined."""
        style = self._styles.get(ink)
        if style is None:
            style = self._styles[ink] = self._mix(ink)
        return style

    def _mix(self, ink: Ink) -> Style:
        if isinstance(ink, tuple):
            behind = self.rich_style.bgcolor if ink[1] == PANEL else _rich_colour(ink[1])
            return Style(color=_rich_colour(ink[0]), bgcolor=behind)
        style = self.rich_style
        for part in ink.split():
            style += self._part(part)
        return style

    def _part(self, part: str) -> Style:
        if part in _WEIGHTS:
            return _WEIGHTS[part]
        if part.startswith("ansi:"):
            return Style.parse(part[5:].replace(",", " ").replace("on_", "on "))
        if part.startswith("task:"):
            return Style.from_color(self._colour(task_variable(part[5:])).rich_color)
        if part == "frame" and self.has_focus:
            part = "accent"
        if part == "cursor":
            return Style(bgcolor=self._colour("accent", CURSOR_SHARES[self.has_focus]).rich_color)
        if part == "match":
            colours = self._colour("background"), self._colour("warning")
            return Style.from_color(colours[0].rich_color, colours[1].rich_color)
        if part not in INKS:
            return Style.null()
        variable, share, bold = INKS[part]
        return Style(color=self._colour(variable, share).rich_color, bold=bold or None)

    def _colour(self, variable: str, share: float = 1.0) -> Color:
        """A theme variable's colour, laid over the background with this share."""
        colours, background = Painter.of(self.app).colours, self.background_colors[1]
        key = (self.app.theme, variable, share, background)
        if key not in colours:
            variables = self.app.theme_variables
            colour = Color.parse(variables.get(variable) or variable_defaults()[variable])
            colours[key] = background + colour.multiply_alpha(share)
        return colours[key]

    @property
    def inner_size(self) -> Size:
        """Cells inside the frame."""
        edge = 2 if self.FRAMED else 0
        return Size(max(0, self.size.width - edge), max(0, self.size.height - edge))


def _rich_colour(value: int) -> RichColor:
    return RichColor.from_triplet(ColorTriplet(value >> 16 & 255, value >> 8 & 255, value & 255))
