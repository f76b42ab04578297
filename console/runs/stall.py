"""A rented GPU that does nothing: its run waits for data, hangs, or says nothing any more.

Told from the end of a run's events. Times are differences of the box's own, whose clock may be off; only for
a box that has fallen silent it is ours.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from console.fleet.ledger import Entry, Ledger
from console.fleet.locks import is_locked
from console.fleet.model import InstanceState
from console.runs.event_lines import newest_events
from console.runs.registry import Registry
from ups.errors import UpsError
from ups.events import Event, EventType, PhaseState, decode

if TYPE_CHECKING:
    from console.runs.transport import Transport

IDLE_S = 300.0
"""So long a rented GPU may be idle before it is told."""
_IDLE_PERCENT = 3.0
_TAIL_BYTES = 512 * 1024
"""Holds more than that time of eight GPUs."""
_LOOK_BYTES = 16 * 1024
"""Of a box, unless its GPU was idle there."""


def idle_words(newest_first: Iterable[Event], silent_s: float | None = None) -> str:
    """Why a run's GPU counts as stalled; empty: it works, or that cannot be told.

    Args:
        newest_first: the end of a run's events.
        silent_s: so long nothing new has come, by our clock; None: nobody listens.
    """
    newest = since = None
    phase = ""
    for event in newest_first:
        newest = newest or event
        if event.type == EventType.DONE:
            return ""
        if event.type == EventType.PHASE and not phase and event.fields.get("state") == PhaseState.STARTED:
            phase = str(event.fields.get("phase") or "")
        if event.type != EventType.SYSTEM:
            continue
        use = _use(event)
        if use is None or use > _IDLE_PERCENT:
            break
        since = event.t
    if silent_s is not None and silent_s >= IDLE_S:
        return f"no word of its run for {silent_s / 60:.0f} min"
    if newest is None or since is None or newest.t - since < IDLE_S:
        return ""
    during = f" ({phase})" if phase else ""
    return f"its GPU has been idle for {(newest.t - since) / 60:.0f} min{during}"


def _use(event: Event) -> float | None:
    """Percent of the busiest GPU; None where it tells of none."""
    gpus = event.fields.get("gpu")
    told = [gpu.get("util") for gpu in gpus if isinstance(gpu, Mapping)] if isinstance(gpus, list) else []
    return max((float(value) for value in told if isinstance(value, int | float)), default=None)


def may_stall(entry: Entry) -> bool:
    """Whether it is a machine that costs money and is to be at work."""
    return entry.state is InstanceState.RUNNING and entry.usd_per_hour > 0 and entry.run is not None


@dataclass(frozen=True, slots=True)
class Mirrors:
    """What the mirrors of runs tell of their GPUs; asks no box."""

    registry: Registry
    locks: Path
    clock: Callable[[], float] = time.time

    def words(self, entry: Entry) -> str:
        """Why its GPU counts as stalled; empty: it works, or nobody has listened."""
        if not may_stall(entry):
            return ""
        path = self._events(entry)
        try:
            age = self.clock() - max(path.stat().st_mtime, entry.changed)
        except OSError:
            return ""
        followed = self.is_followed(entry)
        if not followed and age >= IDLE_S:
            return ""  # what it did since then is not known
        return idle_words(newest_events(path, _TAIL_BYTES), age if followed else None)

    def is_followed(self, entry: Entry) -> bool:
        """Whether somebody copies its events."""
        return is_locked(self.locks / f"mirror-{entry.run}.lock")

    def _events(self, entry: Entry) -> Path:
        return self.registry.root / str(entry.run) / f"attempt-{entry.attempt or 1}" / "events.jsonl"


@dataclass(slots=True)
class StallWatch:
    """Tells of each stall once, and when it is over. Of runs that nobody follows it asks the boxes."""

    ledger: Ledger
    mirrors: Mirrors
    transport_of: "Callable[[Entry], Transport | None]"
    clock: Callable[[], float] = time.time
    told: dict[str, str] = field(default_factory=dict)
    """Label → what was said."""
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Label → the newest event's number, and when it was new to us."""

    def step(self) -> Iterator[str]:
        """What is new since the last look."""
        living = {entry.label: entry for entry in self.ledger.entries() if may_stall(entry)}
        for label in [label for label in self.told if label not in living]:
            del self.told[label]
        for label, entry in living.items():
            words = self._words(entry)
            if words is None:
                continue
            name = entry.provider_id or label
            if words and label not in self.told:
                self.told[label] = words
                yield f"! {name} ({entry.run}): {words}, at ${entry.usd_per_hour:.2f}/h"
            elif not words and self.told.pop(label, None) is not None:
                yield f"{name} ({entry.run}): works again"

    def _words(self, entry: Entry) -> str | None:
        """None: nothing can be told."""
        if self.mirrors.is_followed(entry):
            return self.mirrors.words(entry)
        try:
            transport = self.transport_of(entry)
            if transport is None:
                return None
            events = _tail(transport, entry, _LOOK_BYTES)
            if not events:
                return None
            number, since = self._seen.get(entry.label, (-1, 0.0))
            if number != events[0].seq:
                since = self.clock()
                self._seen[entry.label] = events[0].seq, since
            if (events[-1].t > events[0].t - IDLE_S) and _is_idle(events):
                events = _tail(transport, entry, _TAIL_BYTES)
        except UpsError:
            return None
        return idle_words(events, self.clock() - since)


def _is_idle(events: list[Event]) -> bool:
    uses = [_use(event) for event in events if event.type == EventType.SYSTEM]
    return bool(uses) and all(use is not None and use <= _IDLE_PERCENT for use in uses)


def _tail(transport: "Transport", entry: Entry, limit: int) -> list[Event]:
    """The newest events of a run on its box, the newest first."""
    from console.runs.launch import remote_directory  # heavy, and not needed for the top line

    path = f"{remote_directory(str(entry.run), entry.attempt or 1)}/events.jsonl"
    size = transport.size(path) or 0
    content = transport.read(path, max(0, size - limit))
    found = map(decode, reversed(content.split(b"\n")))
    return [event for event in found if event is not None]
