"""Log bytes as lines: carriage returns collapse to what a terminal would show, colours become inks."""

import re
from collections import deque

from console.tui.drawing.text import Row

_ESCAPE = re.compile(
    r"\x1b(?:\[([0-9;:<-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]+[0-~]|.)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class LogLines:
    """A ring of text lines fed with bytes as they arrive, cut anywhere.

    `dropped` counts the lines that left the ring; `version` rises with every change.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self.lines: deque[str] = deque(maxlen=capacity)
        self.dropped = 0
        self.version = 0
        self._open = False
        """The last line has not ended yet."""
        self._rewrite = False
        """A carriage return came: what follows replaces the last line."""
        self._undecoded = b""

    def __len__(self) -> int:
        return len(self.lines)

    def feed(self, content: bytes) -> None:
        """Append bytes of the log."""
        if not content:
            return
        self.version += 1
        text = self._decode(content)
        for part in re.split(r"(\r?\n|\r)", text):
            if part in ("\n", "\r\n"):
                if not self._open:
                    self._append("")
                self._open, self._rewrite = False, False
            elif part == "\r":
                self._rewrite = True
            elif part:
                self._write(part)

    def _decode(self, content: bytes) -> str:
        content = self._undecoded + content
        # A character, or a `\r\n`, may be cut in two: keep its beginning for the next call.
        keep = next((n for n in (1, 2, 3) if len(content) >= n and _starts_character(content[-n], n)), 0)
        if content.endswith(b"\r"):
            keep = 1
        cut = len(content) - keep
        self._undecoded = content[cut:]
        return content[:cut].decode("utf-8", "replace")

    def _write(self, text: str) -> None:
        if not self._open:
            self._append(text)
        elif self._rewrite:
            self.lines[-1] = text
        else:
            self.lines[-1] += text
        self._open, self._rewrite = True, False

    def _append(self, text: str) -> None:
        if len(self.lines) == self.lines.maxlen:
            self.dropped += 1
        self.lines.append(text)


def _starts_character(byte: int, follows: int) -> bool:
    """Whether `byte` starts a UTF-8 character of more than `follows` bytes."""
    length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
    return length > follows


def plain(line: str) -> str:
    """A line without escape sequences and control characters."""
    return _CONTROL.sub("", _ESCAPE.sub("", line)).expandtabs(8)


def ansi_row(line: str) -> Row:
    """A line with its colours as inks `ansi:…`; anything but colours and weight is dropped."""
    row: Row = []
    style: dict[str, str] = {}
    position = 0
    for found in _ESCAPE.finditer(line):
        _add(row, line[position : found.start()], style)
        position = found.end()
        if found[2] == "m":
            _apply(style, found[1])
    _add(row, line[position:], style)
    return row


def _add(row: Row, text: str, style: dict[str, str]) -> None:
    text = _CONTROL.sub("", text).expandtabs(8)
    if text:
        row.append((text, "ansi:" + "_".join(style.values()) if style else "text"))


def _apply(style: dict[str, str], parameters: str) -> None:
    codes = [int(code) if code.isdigit() else 0 for code in re.split("[;:]", parameters)]
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
