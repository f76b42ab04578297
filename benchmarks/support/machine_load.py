"""What the machine did while something was measured on it."""

import os
import time
from typing import Any

import psutil


class MachineLoad:
    """From when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = _busy_seconds()
        self._load = os.getloadavg()[0]

    def to_json(self) -> dict[str, Any]:
        """The load average before and now, and how many of its cores were busy in between."""
        seconds = time.monotonic() - self._began
        return {
            "load_before": round(self._load, 2),
            "load_after": round(os.getloadavg()[0], 2),
            "busy_cores": round((_busy_seconds() - self._busy) / max(seconds, 1e-9), 2),
            "measured_s": round(seconds, 1),
        }


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))
