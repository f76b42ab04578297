"""How often a provider is asked: a space between calls of a kind, and back-off when that is too often."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 30.0
_MAX_DOUBLINGS = 16

T = TypeVar("T")


class Pacer:
    """Turns for the calls to one provider. Threads may share it; each waits for its own turn.

    `spacing_s` gives the seconds between two calls of a kind, such as `create`; a kind that it lacks
    is not spaced.
    """

    def __init__(
        self,
        spacing_s: Mapping[str, float],
        *,
        base_s: float = BACKOFF_BASE_S,
        cap_s: float = BACKOFF_CAP_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._spacing_s = dict(spacing_s)
        self._base_s = base_s
        self._cap_s = cap_s
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._lock = threading.Lock()
        self._free: dict[str, float] = {}
        self._refusals: dict[str, int] = {}

    @classmethod
    def at(cls, pace: float, spacing_s: Mapping[str, float]) -> "Pacer":
        """One whose spaces and back-off are `pace` times as long."""
        spaces = {kind: seconds * pace for kind, seconds in spacing_s.items()}
        return cls(spaces, base_s=BACKOFF_BASE_S * pace, cap_s=BACKOFF_CAP_S * pace)

    def wait(self, kind: str) -> None:
        """Take the next turn for a call of this kind, and sleep until it comes."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._free.get(kind, now))
            self._free[kind] = turn + self._spacing_s.get(kind, 0.0)
        if turn > now:
            self._sleep(turn - now)

    def backoff_s(self, attempt: int) -> float:
        """Seconds before try number `attempt` + 1: anything up to a bound that doubles (full jitter)."""
        return self._draw() * min(self._cap_s, self._base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))

    def refused(self, kind: str) -> None:
        """The provider said that it is asked too often: the next turns of this kind come later."""
        with self._lock:
            refusals = self._refusals.get(kind, 0)
            self._refusals[kind] = refusals + 1
            now = self._clock()
            self._free[kind] = max(self._free.get(kind, now), now + self.backoff_s(refusals))

    def accepted(self, kind: str) -> None:
        """The provider answered: its patience is as it was."""
        with self._lock:
            self._refusals.pop(kind, None)

    def retry(self, kind: str, call: Callable[[], T], *, worth: Callable[[Exception], bool], tries: int) -> T:
        """The result of `call`, made again while `worth` says so of what it raises, `tries` times at most.

        Raises:
            Exception: what the last try raised.
        """
        attempt = 0
        while True:
            self.wait(kind)
            try:
                return call()
            except Exception as error:
                attempt += 1
                if attempt >= tries or not worth(error):
                    raise
            self._sleep(self.backoff_s(attempt - 1))
