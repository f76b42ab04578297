"""A large object of which some bytes have arrived: written by several threads, hashed as it grows.

The bytes go to `NAME.part`; `NAME.part.ranges` says which of them are there, so that a killed download goes
on. NAME appears only once all of them are there and have the right sha256. Free of torch.
"""

import fcntl
import os
import threading
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from ups.data.growing_hash import GrowingHash
from ups.data.ranges import RangeJournal
from ups.errors import StoreError

PART = ".part"
"""Ends the name of an unfinished file."""
JOURNAL = f"{PART}.ranges"
"""Ends the name of its journal."""
_NOTED = 1024 * 1024
"""Bytes after which what has arrived is noted: what a kill loses."""


def part_path(target: Path) -> Path:
    """Where the bytes of an unfinished file are."""
    return target.with_name(target.name + PART)


def journal_path(target: Path) -> Path:
    """Where it is noted which of them are there."""
    return target.with_name(target.name + JOURNAL)


def locked_part(target: Path) -> FileIO:
    """The part file, which this process alone writes until it closes it.

    Raises:
        StoreError: another process is at it.
    """
    path = f"{target}{PART}"
    while True:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _inode(path) == os.fstat(file.fileno()).st_ino:
                return file
        except BlockingIOError:
            file.close()
            raise StoreError(f"another process is fetching {target}", hint="wait until it is done") from None
        except BaseException:
            file.close()
            raise
        file.close()  # the process before us was just done with it


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - a string is cheaper
    except FileNotFoundError:
        return None


def write_all(file: FileIO, content: bytes | memoryview) -> None:
    """Append all of it: a disk that is almost full takes the beginning of a write without an error."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


class PartFile:
    """One unfinished file and its journal."""

    def __init__(self, target: Path, file: FileIO, size: int, version: str) -> None:
        """Args:
        target: what it becomes.
        file: its part file, locked.
        size: bytes that it will have.
        version: of the object: what was fetched of another one is dropped.
        """
        self.target, self.size, self.version = target, size, version
        self._file = file
        if os.fstat(file.fileno()).st_size != size:  # new, or another object
            journal_path(target).unlink(missing_ok=True)
        self._journal = RangeJournal(journal_path(target), f"{size} bytes {version}")
        os.ftruncate(file.fileno(), size)
        self._booking, self._hashing = threading.Lock(), threading.Lock()
        self._growing = GrowingHash()

    def gaps(self, piece: int) -> list[tuple[int, int]]:
        """The ranges that are missing, none longer than `piece`."""
        starts = range(0, self.size, piece)
        return [gap for begin in starts for gap in self.gaps_in(begin, min(begin + piece, self.size))]

    def gaps_in(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The ranges between `begin` and `end` that are missing."""
        with self._booking:
            return list(self._journal.ranges.missing(begin, end))

    @property
    def missing(self) -> int:
        """Bytes that are not there."""
        return self.size - self._journal.ranges.bytes

    def write(self, begin: int, chunks: Iterable[bytes | memoryview]) -> int:
        """Put chunks at `begin`, one after the other, and note them; where they end."""
        noted = end = begin
        try:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    written = os.pwrite(self._file.fileno(), view, end)
                    view, end = view[written:], end + written
                if end - noted >= _NOTED:
                    noted = self._note(noted, end)
        finally:
            if end > noted:
                self._note(noted, end)
        self._hash_on(wait=False)
        return end

    def _note(self, begin: int, end: int) -> int:
        with self._booking:
            self._journal.note(begin, end)
        return end

    def _hash_on(self, *, wait: bool) -> None:
        """Hash what has arrived without a gap from the start; one thread does, the others go on fetching."""
        if not self._hashing.acquire(blocking=wait):
            return
        try:
            while self._growing.position < (end := self._whole_until()):
                self._growing.up_to(end, self._file.fileno())
        finally:
            self._hashing.release()

    def _whole_until(self) -> int:
        with self._booking:
            return next((begin for begin, _ in self._journal.ranges.missing(0, self.size)), self.size)

    def sha256(self) -> str:
        """Of the whole file, once nothing is missing."""
        self._hash_on(wait=True)
        return self._growing.hexdigest()

    def close(self) -> None:
        self._journal.close()
        self._file.close()
