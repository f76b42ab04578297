"""What transfers by several threads share: how fast they may go, what they may hold, how far they are.

Free of torch.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ups.store import Progress

_LARGE_AT_ONCE = 8
_SMALL_FOR_LARGE = 4
"""Small objects that may be under way instead of a large one."""


class Pace:
    """A cap on bytes a second over all threads; without a rate it does nothing."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def capped(self) -> bool:
        return self._rate is not None

    def take(self, count: int) -> None:
        """Wait until so many bytes more may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._free_at)
            self._free_at = begins + count / self._rate
        time.sleep(max(0.0, begins - now))


class Budget:
    """Bytes that may be in memory at once; a request larger than all of it gets it alone."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def take(self, count: int) -> Callable[[], None]:
        """Wait for room; returns what gives it back."""
        wanted = min(count, self._size)
        with self._lock:
            while self._free < wanted:
                self._changed.wait()
            self._free -= wanted
        return partial(self._give, wanted)

    def _give(self, count: int) -> None:
        with self._lock:
            self._free += count
            self._changed.notify_all()


class Admission:
    """How many objects are fetched at once: few large ones, which fill the line, or many small ones.

    An object whose size is not known yet is taken for one like that before it.
    """

    def __init__(self, largest: int) -> None:
        """Args:
        largest: bytes that are asked for at a time.
        """
        self._last = largest
        self._least = max(1, largest // _SMALL_FOR_LARGE)
        self._budget = Budget(_LARGE_AT_ONCE * largest)

    def of_size(self, size: int) -> Callable[[], None]:
        """Wait until so much may be asked for; returns what lets others in."""
        return self._budget.take(max(size, self._least))

    def of_unknown_size(self) -> Callable[[], None]:
        """The same; `note` the size once it is known."""
        return self.of_size(self._last)

    def note(self, size: int) -> None:
        """The size of an object that was let in without it."""
        self._last = size


class Buffers:
    """Memory that is used again: to touch fresh memory takes longer than to read a file into it."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, size: int) -> Iterator[memoryview]:
        """So many bytes, for as long as the context is open."""
        with self._lock:
            fits = next((one for one in self._free if len(one) >= size), None)
            if fits is not None:
                self._free = [one for one in self._free if one is not fits]
        buffer = bytearray(size) if fits is None else fits
        yield memoryview(buffer)[:size]
        with self._lock:  # after an error somebody may still be reading it
            self._free.append(buffer)


class Tally:
    """Progress of all threads as one sum, told by one thread at a time."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)
