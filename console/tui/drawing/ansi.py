"""A line of a log as a terminal would show it: what was overwritten is gone, colours become inks.

Nothing else is interpreted. Moves of the cursor, titles, links and modes are dropped; control characters,
bidirectional overrides and invisible characters are spelled out (`^G`, `<U+202E>`) or dropped, so that
what is on the screen is what is in the file.
"""

import re
from functools import cache

from rich.cells import cell_len, chop_cells

from console.tui.drawing.text import Row

_ESCAPE = (
    r"\x1b(?:\[[0-9;:<-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|[PX^_][^\x1b\n]*\x1b\\|[ -/]+[0-~]|[^\n])"
)
_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_ERASE = re.compile(r"\x1b\[[02]?[JK]")
_JOINERS = "\u00ad\u034f\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff"
"""Take no cell, or one in some terminals only: joiners, variation selectors, skin tones. Dropped."""
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20f0\ufe20-\ufe2f"
)
"""Accents: two on one character are enough."""
_FLAGS = "\U0001f1e6-\U0001f1ff"
_UNSEEN = (
    "\u061c\u115f\u1160\u17b4\u17b5\u180e\u200e\u200f\u2028-\u202f\u2065-\u206f\u3164\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
"""Overrides of the direction, fillers, separators, private characters: spelled out."""
_ODD = (
    rf"(?P<escape>{_ESCAPE})|(?P<control>[\x00-\x08\x0b-\x1f\x7f-\x9f{_UNSEEN}])"
    rf"|(?P<joiner>[{_JOINERS}])|(?P<flag>[{_FLAGS}])|(?P<marks>[{_MARKS}]{{3,}})"
)
_TOKEN = re.compile(rf"{_ESCAPE}|[^\n]", re.DOTALL)
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\n"
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_MOST_STATES = 64
"""A line that was overwritten is pieced together from its last states, so many at most."""


def plain(line: str) -> str:
    """A line without escape sequences: what one reads, and searches."""
    return _SGR.sub("", settled(line))


def is_plain(content: bytes) -> bool:
    """Whether bytes are lines of printable ASCII, which are shown as they are."""
    return not content.translate(None, _PRINTABLE)


def plain_lines(text: str) -> str:
    """`plain` of each line of a text."""
    if text.isascii() and is_plain(text.encode()):
        return text
    if "\r" in text or "\b" in text or "\t" in text:
        return "\n".join(map(plain, text.split("\n")))
    return _SGR.sub("", _spelled(text))


def settled(line: str) -> str:
    """What is left on a terminal of a line: text and the sequences that colour it."""
    if line.isascii() and line.isprintable():
        return line
    if "\b" in line:
        line = "\r".join(map(_typed_over, line.split("\r")))
    if "\r" in line:
        line = _overwritten(line)
    line = _spelled(line)
    return _tabs(line) if "\t" in line else line


def _spelled(text: str) -> str:
    return _odd().sub(_spell, text)


@cache
def _odd() -> re.Pattern[str]:
    """Of what is not shown as it is; compiled with the first line that has some."""
    return re.compile(_ODD)


def _spell(found: re.Match[str]) -> str:
    odd = found[0]
    match found.lastgroup:
        case "escape":
            return odd if _SGR.fullmatch(odd) else ""
        case "joiner":
            return ""
        case "flag":
            return chr(ord(odd) - 0x1F1E6 + ord("A"))
        case "marks":
            return odd[:2]
    code = ord(odd)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"<U+{code:04X}>"


def _typed_over(piece: str) -> str:
    """A piece in which the cursor went back, character by character."""
    cells: list[str] = []
    at, pending = 0, ""
    for token in _TOKEN.findall(piece):
        if token == "\b":
            at = max(0, at - 1)
        elif token[0] == "\x1b":
            pending += token
        else:
            cells[at : at + 1] = [pending + token]
            at, pending = at + 1, ""
    return "".join(cells) + pending


def _overwritten(line: str) -> str:
    """A line whose carriage returns let later states overwrite earlier ones, column by column."""
    states = line.split("\r")
    shown, width = "", 0
    for index in range(len(states) - 1, max(-1, len(states) - 1 - _MOST_STATES), -1):
        state = states[index]
        erased = "\x1b" in state and _ERASE.search(state) is not None
        if not (state.isascii() and len(state) <= width):
            text = _tabs(_spelled(state))
            colours = _colours_before(states, index) if "\x1b" in line else ""
            rest, columns = _from_column(colours + text, width)
            if columns > width:
                shown += ("\x1b[0m" if shown and "\x1b" in line else "") + rest
                width = columns
        if erased:
            break
    return shown


def _colours_before(states: list[str], index: int) -> str:
    """Sequences in force where a state begins."""
    found = [match[0] for state in states[:index] for match in _SGR.finditer(state)]
    resets = [n for n, sequence in enumerate(found) if sequence in ("\x1b[m", "\x1b[0m")]
    return "".join(found[resets[-1] + 1 if resets else 0 :])


def _from_column(text: str, column: int) -> tuple[str, int]:
    """The part of a coloured text from a column on, with the colours before it; the columns of all of it."""
    kept, at = "", 0
    for piece, sequence in _pieces(text):
        width = cell_len(piece)
        if at >= column:
            kept += piece
        elif at + width > column:
            kept += _cut_cells(piece, column - at)
        at += width
        kept += sequence
    return kept, at


def _cut_cells(text: str, cells: int) -> str:
    """A text without its first cells; of a wide character that is cut in two a space is left."""
    if text.isascii():
        return text[cells:]
    at = 0
    for index, character in enumerate(text):
        if at >= cells and (at > cells or cell_len(character)):
            return " " * (at - cells) + text[index:]
        at += cell_len(character)
    return " " * (at - cells)


def _pieces(text: str) -> list[tuple[str, str]]:
    """A text cut at its colour sequences: (text, the sequence behind it)."""
    pieces, position = [], 0
    for found in _SGR.finditer(text):
        pieces.append((text[position : found.start()], found[0]))
        position = found.end()
    return [*pieces, (text[position:], "")]


def _tabs(text: str) -> str:
    """A line with spaces up to every eighth column for its tabs."""
    if "\t" not in text:
        return text
    if text.isascii() and "\x1b" not in text:
        return text.expandtabs(8)
    parts, at = [], 0
    for part in text.split("\t"):
        at += cell_len(_SGR.sub("", part))
        parts += [part, " " * (8 - at % 8)]
        at += 8 - at % 8
    return "".join(parts[:-1])


def ansi_row(line: str) -> Row:
    """A line with its colours as inks `ansi:…`; anything but colours and weight is dropped."""
    row: Row = []
    style: dict[str, str] = {}
    for piece, sequence in _pieces(settled(line)):
        if piece:
            row.append((piece, "ansi:" + ",".join(style.values()) if style else "text"))
        if sequence:
            _apply(style, sequence[2:-1])
    return row


def skip_cells(row: Row, cells: int) -> Row:
    """A row without its first cells."""
    kept: Row = []
    for text, ink in row:
        width = cell_len(text)
        if cells <= 0:
            kept.append((text, ink))
        elif width > cells:
            kept.append((_cut_cells(text, cells), ink))
        cells -= width
    return kept


def marked(row: Row, expression: re.Pattern[str], ink: str) -> Row:
    """A row in which what matches an expression has an ink of its own."""
    text = "".join(piece for piece, _ in row)
    hits = [found.span() for found in expression.finditer(text) if found[0]]
    if not hits:
        return row
    edges = sorted({edge for hit in hits for edge in hit})
    spans: Row = []
    at = 0
    for piece, own in row:
        inside = [edge - at for edge in edges if at < edge < at + len(piece)]
        for begin, end in zip([0, *inside], [*inside, len(piece)], strict=True):
            is_hit = any(first <= at + begin < last for first, last in hits)
            spans.append((piece[begin:end], ink if is_hit else own))
        at += len(piece)
    return spans


def break_row(row: Row, width: int) -> list[Row]:
    """A row broken at exactly `width` cells, as a terminal does."""
    rows: list[Row] = [[]]
    left = width
    for text, ink in row:
        while text:
            if text.isascii():
                piece = text[:left]
            else:
                piece = chop_cells(text, left)[0] if left > 1 or cell_len(text[0]) <= left else ""
            if piece:
                rows[-1].append((piece, ink))
            text = text[len(piece) :]
            left -= cell_len(piece)
            if text:
                rows.append([])
                left = width
    return rows


def _apply(style: dict[str, str], parameters: str) -> None:
    codes = [int(code[:4] or 0) for code in re.split("[;:]", parameters)[:32]]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style.clear()
        elif code in (1, 2, 3, 4):
            style[str(code)] = ("bold", "dim", "italic", "underline")[code - 1]
        elif code == 22:
            style.pop("1", None)
            style.pop("2", None)
        elif code in (39, 49):
            style.pop("fg" if code == 39 else "bg", None)
        elif code in (38, 48):
            colour = _extended(codes)
            if colour:
                style["fg" if code == 38 else "bg"] = colour if code == 38 else f"on_{colour}"
        elif 30 <= code <= 37 or 90 <= code <= 97:
            bright = "bright_" if code >= 90 else ""
            style["fg"] = bright + _COLOURS[code % 10]
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style["bg"] = "on_" + ("bright_" if code >= 100 else "") + _COLOURS[code % 10]


def _extended(codes: list[int]) -> str | None:
    """Colour of a 256-colour or true-colour sequence; its numbers are taken from `codes`."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        return f"color({codes.pop(0) & 255})"
    if kind == 2 and len(codes) >= 3:
        red, green, blue = (codes.pop(0) & 255 for _ in range(3))
        return f"#{red:02x}{green:02x}{blue:02x}"
    return None
