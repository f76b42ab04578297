"""Two ways to do work in other threads meanwhile: making items ahead, and using them up behind.

Both keep the order, hold a few items at most, and raise in the calling thread what another has raised.
They pay where the work lets go of Python's lock: reading, writing, hashing, numpy on whole blocks.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item], *, threads: int) -> Iterator[Made]:
    """What `make` makes of each item, so many of them at a time, ahead of where they are asked for."""
    coming: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            coming.append(pool.submit(make, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class Behind(Generic[Item]):
    """Gives items to a function, one at a time and in order, while the caller makes the next one."""

    def __init__(self, use: Callable[[Item], object]) -> None:
        self._use = use
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[object] | None = None

    def __enter__(self) -> "Behind[Item]":
        return self

    def __exit__(self, *raised: object) -> None:
        """Wait for the last item; raises what its use has raised."""
        try:
            self._settle()
        finally:
            self._thread.shutdown()

    def put(self, item: Item) -> None:
        """Begin with an item once the one before is used up; raises what that has raised."""
        self._settle()
        self._pending = self._thread.submit(self._use, item)

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
