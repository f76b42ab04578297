"""Two ways to do work in another thread meanwhile: making items ahead, and using them up behind.

Both keep the order, hold two items at most, and raise in the calling thread what the other has raised.
They pay where the work lets go of Python's lock: reading, writing, hashing, numpy on whole blocks.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; the next one is made while the last one is used."""
    source = iter(items)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(_next, source)
        while found := coming.result():
            coming = thread.submit(_next, source)
            yield found[0]


def _next(source: Iterator[Item]) -> tuple[Item] | None:
    for item in source:
        return (item,)
    return None


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
