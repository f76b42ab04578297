"""Fields as pictures of pixels, in terminals that know the graphics protocol of kitty.

A picture is sent once. It is shown wherever cells hold its placeholders: characters whose colour is the
picture's number and whose accents are the row and the column of it. So a picture is text to everything
that draws lines: dialogs lie over it, and a line that has not changed is not sent again.

Source: https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders (kitty 0.28).
"""

import base64
import hashlib
import random
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from console.tui.drawing.picture import coloured
from console.tui.drawing.text import PANEL, Row

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CELL = (8, 16)
"""Pixels of a cell, width and height; the terminal scales what its cells have more or less of."""
KEPT = 192
"""Pictures that the terminal keeps: those of a rollout of 64 frames, which then plays without sending any."""
_PLACEHOLDER = "\U0010eeee"
_LONGEST_CHUNK = 4096
_ACCENTS = (
    "305 30D-30E 310 312 33D-33F 346 34A-34C 350-352 357 35B 363-36F 483-487 592-595 597-599 59C-5A1 "
    "5A8-5A9 5AB-5AC 5AF 5C4 610-617 657-65B 65D-65E 6D6-6DC 6DF-6E2 6E4 6E7-6E8 6EB-6EC 730 732-733 "
    "735-736 73A 73D 73F-741 743 745 747 749-74A 7EB-7F1 7F3 816-819 81B-823 825-827 829-82D 951 953-954 "
    "F82-F83 F86-F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B 1B6D-1B73 1CD0-1CD2 1CDA-1CDB 1CE0 1DC0-1DC1 "
    "1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 20D4-20D7 20DB-20DC 20E1 20E7 20E9 20F0 2CEF-2CF1 "
    "2DE0-2DFA"
)
"""Code points of the accents that stand for 0, 1, 2 …, as the protocol orders them."""


def _code_points(ranges: str) -> str:
    ends = [part.split("-") for part in ranges.split()]
    return "".join(chr(code) for end in ends for code in range(int(end[0], 16), int(end[-1], 16) + 1))


ACCENTS = _code_points(_ACCENTS)


class KittyPictures:
    """Draws pictures and keeps track of those that the terminal holds.

    Args:
        send: writes to the terminal, before the cells that are drawn next.
    """

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._numbers: OrderedDict[bytes, int] = OrderedDict()
        """What a picture shows → its number in the terminal, the least recently drawn first."""
        # Other programs of the same terminal have pictures too.
        self._next = random.SystemRandom().randrange(1, 1 << 24)

    def paint(
        self, field: "Array", columns: int, rows: int, low: float, high: float, table: "Array"
    ) -> list[Row]:
        """A field [H, W] in `columns` × `rows` cells, as `half_blocks` but of whole pixels."""
        import numpy as np

        columns, rows = min(columns, len(ACCENTS)), min(rows, len(ACCENTS))
        width, height = CELL[0] * columns, CELL[1] * rows
        colours = coloured(field, height, width, low, high, table).astype(">u4")
        pixels = np.ascontiguousarray(colours.view(np.uint8).reshape(height, width, 4)[..., 1:])
        shown = hashlib.blake2b(pixels.data, digest_size=16, salt=f"{columns}x{rows}".encode()).digest()
        number = self._numbers.get(shown)
        if number is None:
            number = self._numbers[shown] = self._next
            self._next = self._next % ((1 << 24) - 1) + 1
            self._send(transmission(number, pixels.tobytes(), (width, height), (columns, rows)))
            if len(self._numbers) > KEPT:
                self._send(removal(self._numbers.popitem(last=False)[1]))
        self._numbers.move_to_end(shown)
        return placeholders(number, columns, rows)

    def remove_all(self) -> None:
        """Give the terminal its memory back."""
        self._send("".join(map(removal, self._numbers.values())))
        self._numbers.clear()


def placeholders(number: int, columns: int, rows: int) -> list[Row]:
    """The cells in which a picture is shown."""
    across = ACCENTS[:columns]
    return [
        [("".join(f"{_PLACEHOLDER}{ACCENTS[row]}{column}" for column in across), (number, PANEL))]
        for row in range(rows)
    ]


def transmission(number: int, pixels: bytes, size: tuple[int, int], cells: tuple[int, int]) -> str:
    """What the terminal is sent once for a picture.

    Args:
        number: of the picture, 24 bits.
        pixels: [H, W, 3] bytes of red, green, blue.
        size: W and H.
        cells: columns and rows that it fills.
    """
    data = base64.b64encode(zlib.compress(pixels, 1)).decode("ascii")
    # Shown by placeholders (U=1); the terminal answers nothing (q=2), as an answer would be read as keys.
    head = f"a=T,U=1,q=2,f=24,o=z,i={number},s={size[0]},v={size[1]},c={cells[0]},r={cells[1]}"
    chunks = [data[at : at + _LONGEST_CHUNK] for at in range(0, len(data), _LONGEST_CHUNK)]
    more = [f"m={int(n < len(chunks) - 1)}" for n in range(len(chunks))]
    keys = [f"{head},{more[0]}", *(f"q=2,{rest}" for rest in more[1:])]
    return "".join(f"\x1b_G{key};{chunk}\x1b\\" for key, chunk in zip(keys, chunks, strict=True))


def removal(number: int) -> str:
    """What the terminal is sent to forget a picture."""
    return f"\x1b_Ga=d,d=I,q=2,i={number}\x1b\\"
