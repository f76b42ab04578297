"""Threads that work through jobs, each of which may leave more to do.

Free of torch.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Protocol


class Job(Protocol):
    """Something to do; returns what there is to do next because of it."""

    def __call__(self) -> "Iterable[Job]": ...


class StoppedError(Exception):
    """Another job failed, or the user interrupted: this one is to end."""


_PATIENCE_S = 5.0
"""How long an interrupted user waits for the threads to notice."""


class Crew:
    """Some threads for one list of jobs; the first error ends them all."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._stopping = False
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Called by jobs now and then; raises StoppedError where they are to end."""
        if self._stopping:
            raise StoppedError

    def work(self, jobs: Iterable[Job]) -> None:
        """Do all of them and what follows from them; raises the first error."""
        self._jobs.extend(jobs)
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._lanes)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop(None)
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_PATIENCE_S / self._lanes)
            raise
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._done(job())
            except StoppedError:
                self._done(())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
                self._stop(error)
                self._done(())

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._running or self._stopping)
            if self._stopping or not self._jobs:
                return None
            self._running += 1
            return self._jobs.popleft()

    def _done(self, following: Iterable[Job]) -> None:
        more = list(following)
        with self._changed:
            self._running -= 1
            self._jobs.extendleft(reversed(more))  # what is begun is finished first
            if more or not self._running:
                self._changed.notify_all()

    def _stop(self, error: BaseException | None) -> None:
        with self._changed:
            self._stopping = True
            self._failure = self._failure or error
            self._changed.notify_all()
