"""How a run learns that it shall stop."""

import os
import signal
import time
from types import FrameType

from remote.failures import StopRequested

_SAME_SIGNAL_S = 2.0  # the watchdog and the console may both ask; that is one request


class StopSwitch:
    """Whether somebody asked the run to stop; asking again ends the process at once."""

    def __init__(self) -> None:
        self._first: float | None = None

    def install(self) -> None:
        """Listen to SIGTERM and SIGINT; a hang-up is no reason to stop."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > _SAME_SIGNAL_S:
            os._exit(128 + number)

    def __call__(self) -> bool:
        return self._first is not None

    def check(self) -> None:
        """Raises StopRequested once somebody asked."""
        if self():
            raise StopRequested
