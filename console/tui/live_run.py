"""A run that is being followed: filled by one worker thread, read by the screen under a lock.

The screen never waits for a whole file, and the worker never touches a widget.
"""

import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from console.runs.numeric import load_numpy
from console.runs.series import RolloutRef, RunView
from console.runs.track import CAPACITY
from ups.events import Event, EventType

if TYPE_CHECKING:
    from console.operations import FollowBatch, RunStatus, Transition


class LiveRun:
    """What is known of one run so far."""

    def __init__(self, run: str, capacity: int = CAPACITY) -> None:
        """Args:
        run: its id.
        capacity: points that are kept of each curve, a power of two.
        """
        load_numpy()
        self.run = run
        self.lock = threading.Lock()
        self.view = RunView(capacity)
        self.is_seen = threading.Event()
        """The screen shows something of it."""
        self.status: RunStatus | None = None
        self.transitions: list[Transition] = []
        self.directories: list[Path] = []
        self.logs: list[Path] = []
        """The files of its log, the oldest first; some may not be there yet."""
        self.cpu: deque[float] = deque(maxlen=60)
        """Shares of the processor in use, the newest last."""

    def take_in(self, batch: "FollowBatch") -> None:
        """Add what a follow step brought; called by the worker."""
        # In portions: the screen may draw between them.
        for item in batch.items:
            with self.lock:
                self.view.apply_all([item])
        for start in range(0, len(batch.events), 2000):
            with self.lock:
                self.view.apply_all(batch.events[start : start + 2000])
        # Nearly all are metrics.
        others = [event for event in (*batch.items, *batch.events) if type(event) is Event]
        used = [event.fields.get("cpu") for event in others if event.type == EventType.SYSTEM]
        with self.lock:
            self.cpu.extend(value / 100 for value in used if isinstance(value, (int, float)))
            self.status = batch.status
            self.transitions += batch.transitions

    def rollouts_of(self, task: str) -> list[RolloutRef]:
        """The rollouts of a task, oldest first; a step written twice counts once."""
        with self.lock:
            found = {(ref.step): ref for ref in self.view.rollouts if ref.task == task}
        return [found[step] for step in sorted(found)]

    def rollout_path(self, ref: RolloutRef) -> Path | None:
        """The file of a rollout in the mirror, None where it is not there (yet)."""
        for directory in reversed(self.directories):
            path = directory / ref.path
            if ".." not in Path(ref.path).parts and path.is_file():
                return path
        return None
