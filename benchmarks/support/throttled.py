"""A store behind a line of a given speed: a directory whose files have to be fetched, byte by byte."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ups.store import Progress
from ups.stores.directory import DirectoryStore

GIGABIT = 125e6
"""Bytes per second of a line of 1 Gbit/s."""


class Line:
    """Lets so many bytes pass per second, whoever sends them."""

    def __init__(self, bytes_per_s: float) -> None:
        self._rate, self._free_at = bytes_per_s, 0.0
        self._lock = threading.Lock()

    def passes(self, size: int) -> None:
        """Wait until these bytes are through."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size / self._rate
            wait = self._free_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class ThrottledStore(DirectoryStore):
    """A directory that behaves as a bucket behind a line: nothing in it is a local file."""

    def __init__(self, root: Path, bytes_per_s: float) -> None:
        super().__init__(root)
        self._line = Line(bytes_per_s)

    def local_path(self, key: str) -> Path | None:
        return None

    def read_bytes(self, key: str) -> bytes:
        content = super().read_bytes(key)
        self._line.passes(len(content))
        return content

    def read_range(self, key: str, start: int, end: int) -> bytes:
        content = super().read_range(key, start, end)
        self._line.passes(len(content))
        return content

    def download(self, key: str, target: Path, *, sha256: str, progress: Progress | None = None) -> None:
        super().download(key, target, sha256=sha256, progress=self._paced(progress))

    def upload(self, source: Path, key: str, *, progress: Progress | None = None) -> str:
        return super().upload(source, key, progress=self._paced(progress))

    def _paced(self, progress: Progress | None) -> Callable[[int, int], None]:
        passed = 0

        def tell(done: int, total: int) -> None:
            nonlocal passed
            self._line.passes(done - passed)
            passed = done
            if progress is not None:
                progress(done, total)

        return tell
