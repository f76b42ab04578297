"""A file of which some bytes have arrived: written by several threads, found again after a kill.

The bytes go to `NAME.part`; `NAME.part.ranges` says which of them are there. Free of torch.
"""

import os
import threading
from pathlib import Path

from ups.data.http import Facts, StoppedError
from ups.data.ranges import RangeJournal
from ups.errors import StoreError
from ups.store import free_bytes

_SYNC_BYTES = 256 * 1024 * 1024
"""Of new bytes, after which all of them are synced to the disk."""

PART_SUFFIX = ".part"


def part_path(target: Path) -> Path:
    """Where the bytes of an unfinished file are."""
    return target.with_name(target.name + PART_SUFFIX)


def journal_path(target: Path) -> Path:
    """Where it is noted which of them are there."""
    return target.with_name(f"{target.name}{PART_SUFFIX}.ranges")


def discard(target: Path) -> None:
    """Remove what there is of an unfinished file."""
    journal_path(target).unlink(missing_ok=True)
    part_path(target).unlink(missing_ok=True)


def refuse_full(what: str, folder: Path, needed: int) -> None:
    """Raises StoreError where a folder has no room for so many bytes."""
    free = free_bytes(folder)
    if needed > free:
        raise StoreError(
            f"{what} needs {needed / 1e6:,.0f} MB more, but {folder} has {free / 1e6:,.0f} MB free",
            hint="free some space, choose another --work, or read only --samples of it",
        )


class UnfinishedFile:
    """The part file and its journal, written by several threads until it is closed."""

    def __init__(self, target: Path, facts: Facts) -> None:
        """Raises StoreError where there is no room for what is missing."""
        path = part_path(target)
        if not path.exists():
            journal_path(target).unlink(missing_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._lock = threading.Lock()
        self._open = True
        self._unsynced = 0
        self._path = path
        os.fsync(self._handle)  # the new journal states as synced what it takes over
        self._journal = RangeJournal(journal_path(target), f"{facts.bytes} bytes {facts.version}")
        self._journal.synced()
        refuse_full(target.name, target.parent, facts.bytes - self.done)
        os.ftruncate(self._handle, facts.bytes)

    @property
    def done(self) -> int:
        """Bytes that are there."""
        with self._lock:
            return self._journal.ranges.bytes

    def missing(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The ranges between `begin` and `end` that are not there."""
        with self._lock:
            return list(self._journal.ranges.missing(begin, end))

    def write(self, begin: int, content: bytes) -> None:
        """Put bytes at `begin` and note them; raises StoppedError once the part is closed."""
        with self._lock:
            if not self._open:
                raise StoppedError
            view, position = memoryview(content), begin
            while view:
                written = os.pwrite(self._handle, view, position)
                view, position = view[written:], position + written
            self._journal.note(begin, position)
            self._unsynced += len(content)
            if self._unsynced >= _SYNC_BYTES:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._handle)
        self._journal.synced()
        self._unsynced = 0

    def close(self) -> None:
        """After this nothing is written, whatever threads are still at it."""
        with self._lock:
            self._open = False
            try:
                self._sync()
            finally:
                os.close(self._handle)
                self._journal.close()
