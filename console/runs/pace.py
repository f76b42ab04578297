"""How fast a bucket was for earlier runs, from their own events."""

from collections.abc import Iterable
from pathlib import Path
from statistics import median

from console.runs.registry import Registry
from console.runs.usage import RunUse
from ups.events import EventType, decode_lines

_RUNS = 5
"""The newest so many runs that say something."""
_HEAD_BYTES = 256 * 1024
"""Of an events.jsonl: data come first."""
_LEAST_BYTES, _LEAST_SECONDS = 50e6, 1.0
"""Less says more of the start than of the pace."""


def measured_mbit_per_s(registry: Registry, runs: Iterable[RunUse]) -> float | None:
    """The median pace at which the newest runs fetched their data from a bucket; None where none did."""
    paces: list[float] = []
    for use in runs:
        if len(paces) < _RUNS and not use.store.startswith("dir:"):
            pace = _pace(registry.find(use.run).attempt(1).events_path)
            paces += [pace] if pace is not None else []
    return median(paces) if paces else None


def _pace(path: Path) -> float | None:
    try:
        with path.open("rb") as file:
            lines = file.read(_HEAD_BYTES).split(b"\n")
    except OSError:
        return None
    told = [
        (event.t, float(event.fields.get("done") or 0))
        for event in decode_lines(lines)
        if event.type == EventType.PROGRESS
        and (event.fields.get("phase"), event.fields.get("unit")) == ("hydrate", "bytes")
    ]
    if len(told) < 2:
        return None
    seconds, moved = told[-1][0] - told[0][0], told[-1][1] - told[0][1]
    return moved * 8e-6 / seconds if moved >= _LEAST_BYTES and seconds >= _LEAST_SECONDS else None
