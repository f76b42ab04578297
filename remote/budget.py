"""When a run has to be over: its box's deadline and cost cap, with the time that its results still need.

The watchdog ends the box at either, whatever the run is doing. Before that a run ends by itself, at a
checkpoint, and still evaluates and publishes: `TrainingJob.enough`.
"""

import time
from collections.abc import Callable
from pathlib import Path

from remote import watchdog
from remote.watchdog import Box, BoxFile, LaptopClock

BOX_FILE = "box.json"
EXIT_CODE = 8
_DEPTH = 3
"""A run directory lies at most so far below its box's directory."""
_SLACK = 1.2
"""Of the measured times: no estimate is exact."""
_PUBLISH_SHARE, _PUBLISH_MOST_S = 0.02, 60.0
"""Of the box's whole time: what comes after the evaluation."""


class Budget:
    """What is left of a box's time; asked at each epoch's end."""

    def __init__(
        self,
        box_file: Path | None,
        *,
        wall: Callable[[], float] = time.time,
        passed: Callable[[], float] = watchdog.elapsed,
    ) -> None:
        """Nothing is limited where there is no `box.json`, or it cannot be read.

        Args:
            box_file: the box's orders; they may be renewed at any time.
            wall: Unix seconds.
            passed: seconds on a clock that nobody sets.
        """
        self._clock: LaptopClock | None = None
        self.reason: str | None = None
        """Why training had to end; None: it did not."""
        if box_file is None:
            return
        try:
            self._file = BoxFile(box_file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        self._clock = LaptopClock(self._file, wall, passed)

    @classmethod
    def of_run(cls, root: Path) -> "Budget":
        """Of the box whose directory holds a run directory."""
        found = (folder / BOX_FILE for folder in list(root.absolute().parents)[:_DEPTH])
        return cls(next((path for path in found if path.is_file()), None))

    def enough(self, needed_s: float) -> str | None:
        """Why training has to end now; None: it may go on.

        Args:
            needed_s: seconds of a further epoch and the evaluation after it.
        """
        if self.reason is None and self._clock is not None:
            self._file.refresh()
            self.reason = _reason(self._file.box, self._clock.now(), needed_s * _SLACK)
        return self.reason


def _reason(box: Box, now: float, needed_s: float) -> str | None:
    if box.cap_usd and box.usd_per_hour > 0:
        takes_s = needed_s + _publishing_s(box.cap_usd / box.usd_per_hour * 3600)
        left = box.cap_usd - box.spent_usd(now)
        if takes_s / 3600 * box.usd_per_hour > left:
            return (
                f"of its budget of ${box.cap_usd:.2f} ${max(0.0, left):.2f} are left, and {_taking(takes_s)}"
            )
    left_s, takes_s = box.deadline - now, needed_s + _publishing_s(box.deadline - box.started)
    if takes_s > left_s:
        return f"its deadline comes in {_minutes(max(0.0, left_s))}, and {_taking(takes_s)}"
    return None


def _publishing_s(whole_s: float) -> float:
    return min(_PUBLISH_MOST_S, _PUBLISH_SHARE * max(0.0, whole_s))


def _taking(seconds: float) -> str:
    return f"a further epoch, the evaluation and publishing take about {_minutes(seconds)}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
