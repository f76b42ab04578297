"""Reads what an events file holds already in another process, while this one draws.

Then, or where that process cannot be started or ends early, it is read here, from where that one got to.
"""

import os
import select
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from console.runs.ahead_process import unpack
from console.runs.columns import Item

if TYPE_CHECKING:
    from console.runs.event_lines import AnyEvent, EventLines

WORTH_BYTES = 4 << 20
"""A file of less is read sooner than a process has started."""
_PATIENCE_S = 10.0
"""A process that says nothing for so long is given up."""


class AheadLines:
    """What is new in an `events.jsonl`, a portion at a time; its metrics in columns while another reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        """Bytes that the other process has read."""
        self._process = _started(path)

    @cached_property
    def _lines(self) -> "EventLines":
        from console.runs.event_lines import EventLines

        return EventLines(self._path, offset=self._offset)

    @property
    def offset(self) -> int:
        """Bytes that were read."""
        return self._offset if self.is_ahead else self._lines.offset

    @property
    def is_ahead(self) -> bool:
        """Another process reads."""
        return self._process is not None

    def take(self) -> list[Item]:
        """What the other process has read next; [] at its end alone."""
        while (portion := self._received()) is not None:
            self._offset, items = unpack(portion)
            if items:
                return items
        self.close()
        return []

    def read(self, *, limit_bytes: int) -> "list[AnyEvent]":
        """The events appended since, about so many bytes of them; [] where there are none."""
        return self._lines.read(limit_bytes=limit_bytes)

    def close(self) -> None:
        """End the other process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _received(self) -> bytes | None:
        head = self._exactly(4)
        return self._exactly(int.from_bytes(head, "little")) if head is not None else None

    def _exactly(self, count: int) -> bytes | None:
        """So many bytes of what the process writes; None where it ends before."""
        assert self._process is not None
        assert self._process.stdout is not None
        out, parts = self._process.stdout.fileno(), []
        while count:
            if not select.select([out], [], [], _PATIENCE_S)[0] or not (part := os.read(out, count)):
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _started(path: Path) -> "subprocess.Popen[bytes] | None":
    try:
        if path.stat().st_size < WORTH_BYTES:
            return None
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "console.runs.ahead_process", str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            start_new_session=True,  # what the terminal tells the console is not for it
        )  # fmt: skip
    except OSError:
        return None
