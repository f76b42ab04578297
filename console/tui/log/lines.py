"""Where the lines of a log are, all of them or those that match, without holding any.

The files are laid out on a grid of cells of 64 KiB. Of each cell only the number of lines that start in
it is kept, four bytes; where they start is found when one looks there. So the cells may be counted in
any order, the last ones first, and a log of a gigabyte takes 64 kB.
"""

import itertools
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from console.tui.log.file import Log

_UNKNOWN = -1
_KEPT_CELLS = 16


class Place(NamedTuple):
    """Where a line starts: the file's number in the log, and the offset in it."""

    part: int
    offset: int


START = Place(0, -1)
"""Before the first line."""


class NotCountedError(Exception):
    """The way there leads through more cells that nobody has counted yet than may be counted at once."""


class Lines:
    """All lines of a log. A line ends with its newline, or with the file.

    One thread may count (`count_cells`) while another looks.

    Args:
        log: the log; `grown` is to be called when it grew.
        patience: so many cells are counted while somebody waits, before NotCountedError is raised.
    """

    def __init__(self, log: Log, patience: int = 64) -> None:
        self.log = log
        self.patience = patience
        self._lock = threading.Lock()
        self._counts: list[array[int]] = []
        self._known = self._uncounted = 0
        """Lines in counted cells; cells that are not counted."""
        self._version = 0
        self._sizes: list[int] = []
        self.open_cell: dict[int, int] = {}
        """File → the cell in which the line started that was its last one before it grew."""
        self._kept: OrderedDict[tuple[int, int], Sequence[int]] = OrderedDict()
        self.grown()

    # --- what a subclass changes ------------------------------------------------------------

    def _find(self, part: int, cell: int) -> "array[int]":
        """Offsets of the lines that start in a cell."""
        begin, content = self._before_starts(part, cell)
        starts = array("Q", [0] if not cell and self.log.parts[part].size else [])
        found = content.find(b"\n")
        while found >= 0:
            starts.append(begin + found + 1)
            found = content.find(b"\n", found + 1)
        return starts

    def _count(self, part: int, cell: int) -> int:
        content = self._before_starts(part, cell)[1]
        return content.count(b"\n") + (not cell and self.log.parts[part].size > 0)

    def _before_starts(self, part: int, cell: int) -> tuple[int, bytes]:
        """The bytes after each of which a line of the cell may start, and the first one's offset."""
        file, size = self.log.parts[part], self.log.cell
        begin = max(cell * size - 1, 0)
        return begin, file.read(begin, min((cell + 1) * size, file.size) - 1 - begin)

    # --- counting ---------------------------------------------------------------------------

    def grown(self) -> None:
        """Take note of new cells; those whose lines may have changed are counted anew."""
        with self._lock:
            self._version = self.log.version
            for part, file in enumerate(self.log.parts):
                if part == len(self._counts):
                    self._counts.append(array("i"))
                    self._sizes.append(0)
                if self._sizes[part] == file.size:
                    continue
                self._sizes[part] = file.size
                counts = self._counts[part]
                for cell in self._stale(part):
                    self._forget(part, cell)
                new = self.log.cells(part) - len(counts)
                counts.extend(itertools.repeat(_UNKNOWN, new))
                self._uncounted += new

    def _stale(self, part: int) -> set[int]:
        """Counted cells whose lines may be others now that the file grew."""
        counts = self._counts[part]
        last = len(counts) - 1
        self.open_cell[part] = last
        while self.open_cell[part] > 0 and not counts[self.open_cell[part]]:
            self.open_cell[part] -= 1
        return {last} if counts else set()

    def _forget(self, part: int, cell: int) -> None:
        self._kept.pop((part, cell), None)
        count = self._counts[part][cell]
        if count != _UNKNOWN:
            self._counts[part][cell] = _UNKNOWN
            self._known -= count
            self._uncounted += 1

    def _counted(self, part: int, cell: int) -> int:
        """Count a cell, and keep the number unless the log grew meanwhile."""
        version = self.log.version
        count = self._count(part, cell)
        with self._lock:
            counts = self._counts[part]
            if version == self._version and counts[cell] == _UNKNOWN:
                counts[cell] = count
                self._known += count
                self._uncounted -= 1
        return count

    def count_cells(self, start: Place | None = None, *, downwards: bool = False) -> Iterator[int]:
        """Count what is not counted, step by step: from a place, or an end, on, and then all round.

        Yields the lines found in each cell.
        """
        order = self._cells(downwards)
        if start is not None:
            here = (start.part, max(0, start.offset) // self.log.cell)
            ahead = itertools.dropwhile(
                lambda cell: cell < here if downwards else cell > here, self._cells(downwards)
            )
            order = itertools.chain(ahead, order)
        for part, cell in order:
            if not self._uncounted:
                return
            if self._counts[part][cell] == _UNKNOWN:
                yield self._counted(part, cell)

    def _cells(self, downwards: bool) -> Iterator[tuple[int, int]]:
        step = 1 if downwards else -1
        for part in range(len(self._counts))[::step]:
            for cell in range(len(self._counts[part]))[::step]:
                yield part, cell

    @property
    def counted(self) -> int:
        """Lines in the cells that are counted."""
        return self._known

    @property
    def uncounted(self) -> int:
        """Cells that are not counted yet."""
        return self._uncounted

    @property
    def progress(self) -> float:
        """Share of the log that is counted."""
        cells = sum(map(len, self._counts))
        return 1 - self._uncounted / cells if cells else 1.0

    # --- numbers ----------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Lines in all; an estimate as long as not all cells are counted."""
        return self._known + round(self._uncounted * self._per_cell())

    def _per_cell(self) -> float:
        counted = sum(map(len, self._counts)) - self._uncounted
        return self._known / counted if counted > 0 else 0.0

    def number_of(self, place: Place) -> int:
        """Lines before a place; an estimate as long as not all cells above it are counted."""
        if place.part >= len(self._counts):
            return self.total
        cell = max(0, place.offset) // self.log.cell
        above = [*self._counts[: place.part], self._counts[place.part][:cell]]
        unknown = sum(counts.count(_UNKNOWN) for counts in above) if self._uncounted else 0
        known = sum(map(sum, above)) + unknown
        within = bisect_left(self._starts(place.part, cell), place.offset) if place.offset > 0 else 0
        return known + round(unknown * self._per_cell()) + within

    def below(self, place: Place) -> int:
        """Lines after the one at a place, as far as they are counted."""
        if place.part >= len(self._counts):
            return 0
        cell = max(0, place.offset) // self.log.cell
        rest = [self._counts[place.part][cell + 1 :], *self._counts[place.part + 1 :]]
        unknown = sum(counts.count(_UNKNOWN) for counts in rest) if self._uncounted else 0
        starts = self._starts(place.part, cell)
        return sum(map(sum, rest)) + unknown + len(starts) - bisect_right(starts, place.offset)

    def at(self, number: int) -> Place | None:
        """The line with so many before it; about there as long as not all cells are counted."""
        per_cell = self._per_cell()
        before = 0.0
        for part, counts in enumerate(self._counts):
            for cell, count in enumerate(counts):
                here = per_cell if count == _UNKNOWN else count
                if before + here > number:
                    starts = self._starts(part, cell)
                    if starts:
                        return Place(part, starts[min(len(starts) - 1, max(0, int(number - before)))])
                before += here
        return None

    # --- going about ------------------------------------------------------------------------

    def first(self) -> Place | None:
        """The first line, None where there is none. Raises NotCountedError."""
        return self._seek(0, 0, 1)

    def last(self) -> Place | None:
        """The last line, None where there is none. Raises NotCountedError."""
        part = len(self._counts) - 1
        return self._seek(part, len(self._counts[part]) - 1, -1) if part >= 0 else None

    def after(self, place: Place, *, patience: int | None = None) -> Place | None:
        """The first line after a place. Raises NotCountedError; never with a negative `patience`."""
        if place.part >= len(self._counts):
            return None
        cell = max(0, place.offset) // self.log.cell
        starts = self._starts(place.part, cell)
        index = bisect_right(starts, place.offset) if place.offset >= 0 else 0
        if index < len(starts):
            return Place(place.part, starts[index])
        return self._seek(place.part, cell + 1, 1, patience)

    def before(self, place: Place) -> Place | None:
        """The last line before a place. Raises NotCountedError."""
        if place.offset < 0 or place.part >= len(self._counts):
            return (
                self._seek(place.part - 1, len(self._counts[place.part - 1]) - 1, -1) if place.part else None
            )
        cell = place.offset // self.log.cell
        starts = self._starts(place.part, cell)
        index = bisect_left(starts, place.offset)
        if index:
            return Place(place.part, starts[index - 1])
        return self._seek(place.part, cell - 1, -1)

    def _seek(self, part: int, cell: int, step: int, patience: int | None = None) -> Place | None:
        patience = self.patience if patience is None else patience
        while 0 <= part < len(self._counts):
            counts = self._counts[part]
            while 0 <= cell < len(counts):
                count = counts[cell]
                if count == _UNKNOWN:
                    if not patience:
                        raise NotCountedError
                    patience -= 1
                    count = self._counted(part, cell)
                if count:
                    starts = self._starts(part, cell)
                    if starts:
                        return Place(part, starts[0 if step > 0 else -1])
                cell += step
            part += step
            if 0 <= part < len(self._counts):
                cell = 0 if step > 0 else len(self._counts[part]) - 1
        return None

    def starts_in(self, part: int, cell: int) -> "array[int]":
        """Offsets of the lines that start in a cell; for the thread that counts."""
        return self._find(part, cell)

    def _starts(self, part: int, cell: int) -> Sequence[int]:
        if cell >= len(self._counts[part]):
            return ()
        key = (part, cell)
        starts = self._kept.get(key)
        if starts is None:
            starts = self._find(part, cell)
            self._kept[key] = starts
            while len(self._kept) > _KEPT_CELLS:
                self._kept.popitem(last=False)
        return starts
