"""A terminal's screen, made from the bytes that a program writes to it."""

import codecs
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pyte

# What pyte would misread: string sequences, private and intermediate CSI.
_UNSUPPORTED = re.compile(
    r"\x1b[P_^X][^\x1b]*\x1b\\|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b\[[<=>][0-9;:]*[a-zA-Z]|\x1b\[[?]?[0-9;:]*[ $\"'!*][a-zA-Z]|\x1b\[\?[0-9;]*[umnW]"
)
_REPEAT = re.compile(r"([^\x00-\x1f\x1b])\x1b\[(\d+)b")
# A sequence that the border between two reads cut in two is held back until its rest comes.
_CUT_OFF = re.compile(r"\x1b(?:\[[0-9;:<=>?$ ]*|[P_^X\]][^\x1b\x07]*\x1b?)?$")


class _Screen(pyte.Screen):
    """The movements that pyte lacks."""

    def back_tab(self, count: int = 1) -> None:
        for _ in range(count or 1):
            self.cursor.x = max([t for t in self.tabstops if t < self.cursor.x] or [0])

    def forward_tab(self, count: int = 1) -> None:
        for _ in range(count or 1):
            self.tab()

    def scroll_up(self, count: int = 1) -> None:
        self._at_top(self.delete_lines, count)

    def scroll_down(self, count: int = 1) -> None:
        self._at_top(self.insert_lines, count)

    def _at_top(self, act: Any, count: int) -> None:
        x, y = self.cursor.x, self.cursor.y
        self.cursor.y = self.margins.top if self.margins else 0
        act(count or 1)
        self.cursor.x, self.cursor.y = x, y


class _Stream(pyte.Stream):
    csi: ClassVar = dict(pyte.Stream.csi, Z="back_tab", I="forward_tab", S="scroll_up", T="scroll_down")
    events = pyte.Stream.events | {"back_tab", "forward_tab", "scroll_up", "scroll_down"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One character of the screen; colours are names or six hex digits, as the program sent them."""

    text: str
    foreground: str
    background: str
    bold: bool
    reverse: bool


class Emulator:
    """The screen after the bytes fed so far."""

    def __init__(self, columns: int = 120, rows: int = 40) -> None:
        self._screen = _Screen(columns, rows)
        self._stream = _Stream(self._screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes) -> None:
        """Apply what the program wrote; a sequence may end in a later call."""
        text = _UNSUPPORTED.sub("", self._held + self._decode(data))
        cut_off = _CUT_OFF.search(text)
        self._held = cut_off.group(0) if cut_off else ""
        text = text[: len(text) - len(self._held)]
        self._stream.feed(_REPEAT.sub(lambda m: m.group(1) * (1 + int(m.group(2))), text))

    def resize(self, columns: int, rows: int) -> None:
        """Follow a change of the terminal's size."""
        self._screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """The rows of the screen, without the blanks at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines)

    @property
    def blank(self) -> bool:
        """Nothing but blanks on it."""
        return not any(self.lines)

    def cell(self, column: int, row: int) -> Cell:
        """The character at a place, both counted from 0."""
        char = self._screen.buffer[row][column]
        return Cell(char.data, char.fg, char.bg, char.bold, char.reverse)
