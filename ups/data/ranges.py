"""Which bytes of a file are there already, and a journal of it that survives a kill.

The journal is a text file beside the unfinished one. Its first line says what is being fetched; each
line after it is a range of bytes (`begin end`), appended once those bytes are written, or `synced`,
appended once everything before it is on the disk. A process that is killed loses what it had not yet
noted, and no more: what it wrote lives on in the system's cache. After a restart of the machine, which
loses that cache, only what was synced counts.
"""

import errno
import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SYNCED = "synced"


class Ranges:
    """A set of bytes, as disjoint ranges [begin, end) in ascending order."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, begin: int, end: int) -> None:
        """Add the bytes from `begin` to before `end`."""
        if begin >= end:
            return
        first = bisect_left(self._ends, begin)  # the first range that touches the new one
        after = bisect_right(self._begins, end)
        if first < after:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[after - 1])
        self._begins[first:after], self._ends[first:after] = [begin], [end]

    def missing(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The ranges between `begin` and `end` that are not in the set."""
        for index in range(bisect_right(self._ends, begin), len(self._begins)):
            if self._begins[index] >= end:
                break
            if begin < self._begins[index]:
                yield begin, self._begins[index]
            begin = max(begin, self._ends[index])
        if begin < end:
            yield begin, end

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(tuple(self._begins), tuple(self._ends), strict=True)

    @property
    def bytes(self) -> int:
        return sum(end - begin for begin, end in self)


class RangeJournal:
    """The ranges of one file that were written, on disk."""

    def __init__(self, path: Path, subject: str) -> None:
        """Begin a journal, or go on with one of the same subject.

        Args:
            path: of the journal.
            subject: what is being fetched: a journal of anything else is dropped.

        Raises:
            OSError: it cannot be written.
        """
        self.ranges = _recall(path, subject)
        header = {"subject": subject, "boot": _boot_id()}
        lines = [json.dumps(header), *(f"{begin} {end}" for begin, end in self.ranges)]
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)

    def note(self, begin: int, end: int) -> None:
        """These bytes are written; raises OSError where there is no room to say so."""
        self._append(f"{begin} {end}\n")
        self.ranges.add(begin, end)

    def synced(self) -> None:
        """All that was noted so far is on the disk."""
        self._append(f"{_SYNCED}\n")
        os.fsync(self._handle)

    def _append(self, line: str) -> None:
        content = line.encode()
        written = os.write(self._handle, content)
        if written != len(content):  # disk full: the next line must not go on with a torn one
            os.ftruncate(self._handle, os.fstat(self._handle).st_size - written)
            raise OSError(errno.ENOSPC, "no space left for the journal")

    def close(self) -> None:
        os.close(self._handle)


def _recall(path: Path, subject: str) -> Ranges:
    """What an earlier process noted; nothing where it was of something else."""
    try:
        header, *lines = path.read_text(encoding="ascii", errors="replace").split("\n")[:-1]
        known = json.loads(header)
        same_boot = known["boot"] == _boot_id() != ""
        if known["subject"] != subject:
            return Ranges()
    except (OSError, ValueError, KeyError, TypeError):
        return Ranges()
    if not same_boot:
        lines = lines[: len(lines) - lines[::-1].index(_SYNCED)] if _SYNCED in lines else []
    ranges = Ranges()
    for line in lines:
        with suppress(ValueError):  # `synced`, or a line that two processes tore
            begin, end = map(int, line.split(" "))
            ranges.add(begin, end)
    return ranges


def _boot_id() -> str:
    """Changes when the machine restarts; empty where nobody says."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
