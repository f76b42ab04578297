"""Where the events of the run that Live shows come from, and how a worker takes them in."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from console.errors import ProviderError
from ups.errors import NotFoundError

if TYPE_CHECKING:
    from console.operations import FollowBatch, Operations
    from console.tui.live_run import LiveRun

_LAUNCH_SECONDS = 0.5
"""Between two looks at a run that has no instance yet."""
_TELL_SECONDS = 0.08
"""While a run grows fast the screen is told so often."""
_BACKLOG_EVENTS, _BACKLOG_SECONDS = 2000, 0.25
"""A batch of so many, or one read ahead, is of what there was already: it is read sooner where less of it is
drawn meanwhile."""


class RunSource(Protocol):
    """A run that Live can show."""

    run: str
    """What it is called."""

    def batches(self, is_cancelled: Callable[[], bool]) -> "Iterable[FollowBatch]":
        """What it has and what comes, in order; an empty batch where nothing is new. Runs in a worker."""

    def directories(self) -> list[Path]:
        """Where its files are, attempt by attempt."""

    def logs(self) -> list[Path]:
        """Its logs, in the order in which they were written."""


class FollowedRun:
    """A run of this console: as it grows, or, where no instance of it is known any more, its mirror."""

    def __init__(self, operations: "Operations", run: str) -> None:
        self.run = run
        self._operations = operations

    def directories(self) -> list[Path]:
        return self._operations.run_directories(self.run)

    def logs(self) -> list[Path]:
        return self._operations.run_logs(self.run)

    def batches(self, is_cancelled: Callable[[], bool]) -> "Iterable[FollowBatch]":
        operations = self._operations
        while True:
            try:
                yield from operations.follow(self.run, log=False)
                return
            except NotFoundError:
                if is_cancelled() or operations.status(operations.registry.find(self.run)).ended:
                    break
            except ProviderError:
                break
            time.sleep(_LAUNCH_SECONDS)  # it is being launched, and nothing is rented yet
        yield from operations.read(self.run, log=False)


def taken_in(
    live: "LiveRun",
    source: RunSource,
    is_cancelled: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Take in what the source brings; yields where the screen should look, not for every portion."""
    told_at, waiting = -_TELL_SECONDS, False
    for batch in source.batches(is_cancelled):
        if is_cancelled():
            return
        if batch.count or batch.log_grew or batch.transitions or batch.status != live.status:
            live.take_in(batch)
            waiting = True
        elif not waiting:
            continue
        idle = not (batch.count or batch.log_grew)
        is_backlog = batch.items or batch.count >= _BACKLOG_EVENTS
        pause = _BACKLOG_SECONDS if is_backlog else _TELL_SECONDS
        if idle or clock() - told_at >= pause:
            live.directories, live.logs = source.directories(), source.logs()
            told_at, waiting = clock(), False
            yield
    if waiting:
        live.directories, live.logs = source.directories(), source.logs()
