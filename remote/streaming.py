"""The data that training does not begin with: they come in a thread while it goes on.

A download that fails is tried again after a while; one that goes on failing is forgotten until its
tasks are needed, tried once more then, and raised only after that.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence

from ups.errors import UpsError

Progress = Callable[[str, int, int], None]
Bring = Callable[[Progress, Collection[str]], object]
"""Brings some tasks here: `Hydrator.hydrate`. What its progress raises has to end it."""

PAUSES_S = (5.0, 30.0)
"""Before a failed download is tried again."""
_PATIENCE_S = 10.0
"""How long a download may take to notice that nobody wants it any more."""


class _Unwanted(Exception):  # noqa: N818 - no failure
    """Ends a download from within."""


class Stream:
    """Groups of tasks on their way, one group after the other."""

    def __init__(
        self,
        bring: Bring,
        groups: Sequence[Sequence[str]],
        *,
        progress: Progress,
        trouble: Callable[[UpsError], None],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """Starts nothing yet.

        Args:
            bring: brings a group here.
            groups: the tasks that are needed together, in the order in which they are needed.
            progress: called from the thread.
            trouble: called from the thread with each failure that is tried again.
            pauses_s: as many times is a failed group tried again.
        """
        self._bring, self._groups = bring, groups
        self._tell, self._trouble, self._pauses = progress, trouble, pauses_s
        self._here: set[str] = set()
        self._failure: Exception | None = None
        self._insisted = False
        self._changed = threading.Condition()
        self._unwanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: tuple[float, int, int, int] | None = None

    @property
    def tasks(self) -> list[str]:
        """All that come."""
        return [task for group in self._groups for task in group]

    def start(self) -> None:
        self._failure = None
        self._thread = threading.Thread(target=self._work, name="hydrate", daemon=True)
        self._thread.start()

    def wait(self, tasks: Collection[str], seconds: float) -> bool:
        """Whether these tasks are here, after waiting for them so long at most.

        Raises:
            UpsError: they do not come, though they were tried again when they were needed.
        """
        wanted = set(tasks) & set(self.tasks)
        with self._changed:
            self._changed.wait_for(lambda: wanted <= self._here or self._failure is not None, seconds)
            if wanted <= self._here:
                return True
            failure = self._failure
        if failure is None:
            return False
        if self._insisted:
            raise failure
        self._insisted = True
        self.start()
        return False

    def outlook(self) -> str:
        """How much is here and how long the rest takes at the rate so far, in words."""
        if self._seen is None:
            return "nothing has come yet"
        since, first, done, total = self._seen
        text = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB are here"
        elapsed = time.monotonic() - since
        if done <= first or elapsed <= 0:
            return text
        left = (total - done) * elapsed / (done - first)
        return f"{text}, {left / 60:.0f} min to go" if left >= 90 else f"{text}, {left:.0f} s to go"

    def close(self) -> None:
        """Give up what has not come; what has come in part is fetched again by the next process."""
        self._unwanted.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    # --- in the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            for group in self._groups:
                if not set(group) <= self._here:
                    self._bring_at_last(group)
                with self._changed:
                    self._here |= set(group)
                    self._changed.notify_all()
        except _Unwanted:
            pass
        except Exception as error:  # noqa: BLE001 - raised again where the data are needed
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _bring_at_last(self, group: Sequence[str]) -> None:
        for pause in self._pauses:
            try:
                self._bring(self._progress, group)
            except UpsError as error:
                self._trouble(error)
                if self._unwanted.wait(pause):
                    raise _Unwanted from None
            else:
                return
        self._bring(self._progress, group)

    def _progress(self, task: str, done: int, total: int) -> None:
        if self._unwanted.is_set():
            raise _Unwanted
        since, first = self._seen[:2] if self._seen else (time.monotonic(), done)
        self._seen = since, first, done, total
        self._tell(task, done, total)
