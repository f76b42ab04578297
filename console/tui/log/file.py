"""Log files of any size: nothing is read but what is looked at.

They are read at offsets, not mapped: a mapped file that somebody truncates kills whoever looks at it.
"""

import enum
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

CELL = 1 << 16
"""Bytes of one step of the grid on which lines are counted; no more of one line is ever decoded."""
_MARK_BYTES = 64


class Change(enum.Enum):
    """What a second look at a log found."""

    NONE = "none"
    GREW = "grew"
    REPLACED = "replaced"
    """It was truncated, rotated or rewritten: what was known of it is void."""


class LogFile:
    """One file, as large as it was at the last `refresh`.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)  # not before the last thread has let go of it
        self._identity = _identity(os.fstat(self._fd))
        self.size = os.fstat(self._fd).st_size
        self._mark = b""
        self._note_end()

    def refresh(self) -> Change:
        """Look whether it grew."""
        try:
            named = self.path.stat()
        except OSError:
            return Change.NONE  # deleted: what was written can be read as long as it is open
        size = os.fstat(self._fd).st_size
        if _identity(named) != self._identity or size < self.size:
            return Change.REPLACED
        if size == self.size:
            return Change.NONE
        if self.read(max(0, self.size - _MARK_BYTES), _MARK_BYTES) != self._mark:
            return Change.REPLACED
        self.size = size
        self._note_end()
        return Change.GREW

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from an offset on: fewer at the end of the file."""
        length = min(length, self.size - offset)
        return os.pread(self._fd, length, offset) if length > 0 else b""

    def _note_end(self) -> None:
        self._mark = self.read(max(0, self.size - _MARK_BYTES), _MARK_BYTES)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class Log:
    """Several files, one after another, as one log. Files that are not there yet join when they come.

    Args:
        find: names the files, the oldest first.
        cell: bytes of one step of the grid on which lines are counted.
    """

    def __init__(self, find: Callable[[], Sequence[Path]] = tuple, cell: int = CELL) -> None:
        self._find = find
        self.cell = cell
        self.parts: list[LogFile] = []
        self.version = 0
        """Rises with every change."""
        self.refresh()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.parts)

    def refresh(self) -> Change:
        """Look whether there is more; REPLACED where places in it mean something else now."""
        known = {file.path: file for file in self.parts}
        parts: list[LogFile] = []
        change = Change.NONE
        for path in self._find():
            file = known.get(path)
            found = file.refresh() if file is not None else Change.GREW
            if file is None or found is Change.REPLACED:
                try:
                    file = LogFile(path)
                except OSError:
                    continue
            parts.append(file)
            if found is not Change.NONE and change is not Change.REPLACED:
                change = found
        if parts[: len(self.parts)] != self.parts:
            change = Change.REPLACED
        if change is not Change.NONE:
            self.parts = parts
            self.version += 1
        return change

    def cells(self, part: int) -> int:
        """Steps of the grid over a file."""
        return -(-self.parts[part].size // self.cell)
