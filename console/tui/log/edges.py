"""What stands on the edges of a log's frame: whether it follows, where in it one is, what is looked for."""

from console.tui.drawing.text import Row, clip
from console.tui.log.matching import LEVELS
from console.tui.log.reader import LogReader

_SEARCH_WIDTH = 40


def state(reader: LogReader) -> Row:
    """Whether the end is followed, what is new below, and which lines are shown."""
    news = reader.window.news
    if reader.window.following:
        row: Row = [("  following", "muted")]
    else:
        row = [(f"  paused, {news:,} new below" if news else "  paused · end follows", "warn")]
    shown = [LEVELS[reader.level][0], f"&{reader.filter}" if reader.filter else ""]
    return [*row, *((f"  only {clip(name, _SEARCH_WIDTH)}", "accent") for name in shown if name)]


def place(reader: LogReader) -> Row:
    """How many lines there are, and which one is the first in sight; `~` before what is estimated."""
    window = reader.window
    about = "~" if window.lines.uncounted else ""
    total = window.lines.total
    if window.following or not total:
        return [(f"{about}{total:,} line{'s' * (total != 1)}", "muted")]
    first = window.lines.number_of(window.top().place) + 1
    return [(f"line {about}{first:,} of {about}{total:,}", "muted")]


def search(reader: LogReader) -> Row:
    """What is looked for, how far that is, and how much was found; empty where nothing is."""
    goal = reader.goal
    if goal is None:
        return []
    label = reader.searched if reader.seeks_errors else f"/{reader.searched}"
    row: Row = [(clip(label, _SEARCH_WIDTH), "key")]
    if goal.uncounted:
        progress = f"  searching {goal.progress:.0%} · esc ends it"
        return [*row, (f"  {goal.counted:,} found", "muted"), (progress, "accent")]
    if not goal.total:
        return [*row, ("  not found", "warn")]
    number = f"{goal.number_of(reader.match) + 1:,} of " if reader.match is not None else ""
    return [*row, (f"  {number}{goal.total:,} found · n N", "muted")]
