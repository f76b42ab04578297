"""Curves in braille: two by four dots a cell, numpy min/max per dot column, gaps where NaN.

`Raster` collects traces as dots with an ink for each cell; the last trace to touch a cell gives it
its ink. Nothing here knows what is drawn or in which terminal.
"""

import itertools
from typing import TYPE_CHECKING, Any

from console.tui.drawing.text import Ink, Row

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BLANK = 0x20
_BRAILLE = 0x2800
_CHARACTER = 0x8000_0000
"""Marks a code that is a character rather than dots, which use the lowest eight bits."""
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Raster:
    """A field of `width` × `height` cells."""

    def __init__(self, width: int, height: int) -> None:
        import numpy as np

        self.width, self.height = width, height
        self.columns, self.lines = 2 * width, 4 * height
        self._codes = np.zeros((height, width), dtype=np.uint32)
        self._inks = np.full((height, width), -1, dtype=np.int16)
        self._names: list[Ink] = []

    def spans(self, low: "Array", high: "Array", ink: Ink, *, dash: int = 0) -> None:
        """Fill dot lines low … high (0 at the top) of every dot column; NaN leaves it empty.

        Args:
            low: Upper dot line of each column, [columns] float.
            high: Lower dot line of each column.
            ink: Ink of the cells that are touched.
            dash: Draw `dash` columns, then leave as many out; 0 draws all.
        """
        import numpy as np

        present = np.isfinite(low) & np.isfinite(high) & (high >= 0) & (low <= self.lines - 1)
        if dash:
            present &= np.arange(self.columns) % (2 * dash) < dash
        lines = np.arange(self.lines)[:, None]
        with np.errstate(invalid="ignore"):
            dots = (lines >= np.where(present, low, 1)) & (lines <= np.where(present, high, 0))
        of_cell = dots.view(np.uint8).reshape(self.height, 4, self.width, 2).swapaxes(1, 2)
        bits = of_cell.reshape(self.height, self.width, 8) @ np.array(_BITS, dtype=np.uint8).ravel()
        self._paint(bits.astype(np.uint32), ink)

    def _paint(self, cells: "Array", ink: Ink) -> None:
        if ink not in self._names:
            self._names.append(ink)
        touched = cells > 0
        self._codes[touched & (self._codes >= _CHARACTER)] = 0
        self._codes |= cells
        self._inks[touched] = self._names.index(ink)

    def put(self, column: int, line: int, char: str, ink: Ink, *, over: bool = False) -> None:
        """One character in a cell that has no dots (or in any cell, with `over`)."""
        if not (0 <= column < self.width and 0 <= line < self.height):
            return
        if over or self._codes[line, column] == 0:
            if ink not in self._names:
                self._names.append(ink)
            self._codes[line, column] = ord(char) | _CHARACTER
            self._inks[line, column] = self._names.index(ink)

    def is_free(self, column: int, line: int, width: int) -> bool:
        """Whether nothing is in some cells of a line."""
        return not self._codes[line, column : column + width].any()

    def rows(self) -> list[Row]:
        """The cells as rows of inked text."""
        import numpy as np

        is_char = self._codes >= _CHARACTER
        points = np.where(is_char, self._codes & (_CHARACTER - 1), (self._codes & 0xFF) + _BRAILLE)
        points = np.where(self._inks < 0, _BLANK, points).astype("<u4")
        rows: list[Row] = [[] for _ in range(self.height)]
        if not self.width:
            return rows
        text, inks = points.tobytes().decode("utf-32-le"), self._inks.ravel()
        is_start = np.ones(len(inks), bool)
        is_start[1:] = inks[1:] != inks[:-1]
        is_start[:: self.width] = True
        starts = np.flatnonzero(is_start)
        cuts, names = [*starts.tolist(), len(text)], [*self._names, "text"]  # the last one is number −1
        for (start, end), ink in zip(itertools.pairwise(cuts), inks[starts].tolist(), strict=True):
            rows[start // self.width].append((text[start:end], names[ink]))
        return rows


def column_range(
    x: "Array", y: "Array", x_low: float, x_high: float, columns: int,
    spread: "tuple[Array, Array] | None" = None,
) -> "tuple[Array, Array]":  # fmt: skip
    """Least and greatest y of each dot column, joined by straight lines between columns.

    Args:
        x: Ascending positions, [n].
        y: Values, [n]; NaN makes a gap.
        x_low: Position of the first column's centre.
        x_high: Position of the last column's centre.
        columns: Number of dot columns.
        spread: Least and greatest of the values that each point stands for, both [n]; None: one value each.

    Returns:
        (low, high), each [columns], NaN where nothing is drawn.
    """
    import numpy as np

    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    # One point beyond each end stays: a line comes from it.
    begin = max(0, int(np.searchsorted(x, x_low)) - 1)
    shown = slice(begin, int(np.searchsorted(x, x_high, "right")) + 1)
    x, y = x[shown], y[shown]
    if spread is not None:
        spread = spread[0][shown], spread[1][shown]
    if len(x) == 0:
        return low, high
    step = (x_high - x_low) / (columns - 1) if x_high > x_low else 1.0
    edges = x_low + (np.arange(columns + 1) - 0.5) * step
    starts = np.searchsorted(x, edges)
    filled = np.flatnonzero(np.diff(starts))
    least, greatest = (y, y) if spread is None else spread
    if len(filled):
        # Each segment ends where the next one starts: between them lie no points.
        low[filled] = np.fmin.reduceat(least[: starts[-1]], starts[filled])
        high[filled] = np.fmax.reduceat(greatest[: starts[-1]], starts[filled])
    if len(x) < 4 * columns:
        _interpolate((x - x_low) / step, y, low, high)
    _join(low, high)
    return low, high


def _interpolate(column: "Array", y: "Array", low: "Array", high: "Array") -> None:
    """Straight lines through the columns without a point, where both ends are numbers."""
    import numpy as np

    centres = np.arange(len(low), dtype=float)
    inside = np.isnan(low) & (centres >= column[0]) & (centres <= column[-1])
    if not inside.any() or len(column) < 2:
        return
    line = np.interp(centres[inside], column, y)
    low[inside] = line
    high[inside] = line


def _join(low: "Array", high: "Array") -> None:
    """Extend neighbouring columns to where they meet, so that a steep curve has no holes."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        rising = low[1:] > high[:-1]
        falling = high[1:] < low[:-1]
    up = np.where(rising, (low[1:] + high[:-1]) / 2, np.nan)
    down = np.where(falling, (high[1:] + low[:-1]) / 2, np.nan)
    np.copyto(high[:-1], np.fmax(high[:-1], up))
    np.copyto(low[1:], np.fmin(low[1:], up))
    np.copyto(low[:-1], np.fmin(low[:-1], down))
    np.copyto(high[1:], np.fmax(high[1:], down))
