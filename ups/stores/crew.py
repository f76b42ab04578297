"""Threads that work through jobs, each of which may leave more to do.

Free of torch.
"""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
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
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
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
        job = self._next()
        while job is not None:
            following: Sequence[Job] = ()
            try:
                following = list(job())
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
                self._stop(error)
            job = self._after(following)

    def _next(self) -> Job | None:
        with self._lock:
            return self._taken()

    def _after(self, following: Sequence[Job]) -> Job | None:
        """What to do after a job that led to these."""
        with self._lock:
            self._running -= 1
            if following:
                self._jobs.extendleft(reversed(following))  # what is begun is finished first
                self._changed.notify_all()
            elif not self._running:
                self._changed.notify_all()
            return self._taken()

    def _taken(self) -> Job | None:
        while not self._jobs and self._running and not self._stopping:
            self._changed.wait()
        if self._stopping or not self._jobs:
            return None
        self._running += 1
        return self._jobs.popleft()

    def _stop(self, error: BaseException | None) -> None:
        with self._lock:
            self._stopping = True
            self._failure = self._failure or error
            self._changed.notify_all()
