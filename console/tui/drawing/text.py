"""Numbers, durations, money and sizes as people read them, and rows of inked text.

A *row* is what every drawing here produces: a list of (text, ink) spans. An ink is a name that the
widget turns into a style of the current theme (`muted`, `good`, `task:darcy2d` …) or a pair of
24-bit colours (foreground, background or `PANEL`) for pictures. So drawings know neither Textual nor colours.
"""

import math
import time
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size

Ink = str | tuple[int, int]
Span = tuple[str, Ink]
PANEL = -1
"""The background of the panel, in place of a colour."""
Row = list[Span]


def row_width(row: Iterable[Span]) -> int:
    """Cells that a row takes."""
    return sum(cell_len(text) for text, _ in row)


def clip(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where it was cut."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    kept = set_cell_size(text, width)
    return kept if kept.rstrip() == text.rstrip() else set_cell_size(text, width - 1) + "…"


def clip_start(text: str, width: int) -> str:
    """The end of `text` in at most `width` cells, with an ellipsis where its beginning was cut."""
    return text if cell_len(text) <= width else clip(text[::-1], width)[::-1]


def fit(text: str, width: int, align: str = "left") -> str:
    """`text` in exactly `width` cells."""
    text = clip(text, width)
    room = " " * (width - cell_len(text))
    return room + text if align == "right" else text + room


def visible(text: str) -> str:
    """`text` with what a terminal would obey, or nobody would see, written out: `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def fit_row(row: Row, width: int, ink: Ink = "text") -> Row:
    """A row cut or padded to exactly `width` cells; control characters in it are written out.

    Cells of a picture, which have colours of their own, hold no foreign text and stay as they are.
    """
    fitted: Row = []
    left = width
    for text, span_ink in row:
        if left <= 0:
            break
        text = visible(text) if isinstance(span_ink, str) else text
        length = cell_len(text)
        if length > left:
            text = clip(text, left)
            length = cell_len(text)
        fitted.append((text, span_ink))
        left -= length
    if left > 0:
        fitted.append((" " * left, ink))
    return fitted


def drop_spans(row: Row, width: int) -> Row:
    """A row without the last spans that do not fit whole; the first one is cut if it must be."""
    kept: Row = []
    left = width
    for text, ink in row:
        if cell_len(text) > left:
            return kept or [(clip(text, left), ink)]
        kept.append((text, ink))
        left -= cell_len(text)
    return kept


def wrap_row(row: Row, width: int) -> list[Row]:
    """A row broken between words into rows of at most `width` cells; inks are kept."""
    rows: list[Row] = [[]]
    used = 0
    for text, ink in row:
        for index, word in enumerate(text.split(" ")):
            piece = word if index == 0 else " " + word
            length = cell_len(piece)
            if used + length > width and used:
                rows.append([])
                used = 0
                piece = piece.lstrip(" ")
                length = cell_len(piece)
            rows[-1].append((clip(piece, width), ink))
            used += min(length, width)
    return rows


def number(value: float | None, digits: int = 3) -> str:
    """A measurement to `digits` significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if -5 < magnitude < 6:
        return f"{value:.{max(0, digits - 1 - magnitude)}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def count(value: float) -> str:
    """A count on an axis or in a table: 950, 12.5k, 3M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:g}"


def size(num_bytes: float | None) -> str:
    """Bytes in decimal units, as providers and buckets bill them."""
    if num_bytes is None:
        return "–"
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= limit:
            scaled = num_bytes / limit
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float | None) -> str:
    """Minutes and seconds below an hour (1:52), hours and minutes above (2 h 05)."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, int(seconds))
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"


def ago(seconds: float) -> str:
    """How long ago something was seen."""
    if seconds < 1.5:
        return "now"
    if seconds < 100:
        return f"{seconds:.0f} s ago"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 129_600 else f"{seconds / 86_400:.0f} d ago"


def usd(value: float | None) -> str:
    """Money; never rounded down to nothing where something is owed."""
    if value is None:
        return "–"
    return "<$0.01" if 0 < value < 0.005 else f"${value:.2f}"


def clock(t: float) -> str:
    """Local time of day of a Unix time."""
    return time.strftime("%H:%M:%S", time.localtime(t))


def day(t: float, now: float) -> str:
    """`today`, or the date of a Unix time."""
    then, today = time.localtime(t), time.localtime(now)
    if then[:3] == today[:3]:
        return "today"
    return time.strftime("%b %d", then)
