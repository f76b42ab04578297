"""A run that is being followed: filled by one worker thread, read by the screen under a lock.

Everything that a chart needs is copied out in steps (`RunCurves.sync` copies only new points), so the
screen never waits for a whole file and the worker never touches a widget.
"""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.runs.series import RolloutRef, RunView
from console.runs.track import Track
from console.tui.series import Series
from console.tui.widgets.curve import Curves
from ups.events import Event, EventType

if TYPE_CHECKING:
    import numpy as np

    from console.operations import FollowBatch, RunStatus, Transition

    Array = np.ndarray[Any, Any]


class LiveRun:
    """What is known of one run so far."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.lock = threading.Lock()
        self.view = RunView()
        self.status: RunStatus | None = None
        self.transitions: list[Transition] = []
        self.directories: list[Path] = []
        self.cpu: deque[float] = deque(maxlen=60)
        """Shares of the processor in use, the newest last."""
        self._log: list[bytes] = []

    def take_in(self, batch: "FollowBatch") -> None:
        """Add what a follow step brought; called by the worker."""
        # In portions: the screen may draw between them.
        for start in range(0, len(batch.events), 2000):
            with self.lock:
                self.view.apply_all(batch.events[start : start + 2000])
        others = [event for event in batch.events if type(event) is Event]  # nearly all are metrics
        used = [event.fields.get("cpu") for event in others if event.type == EventType.SYSTEM]
        with self.lock:
            self.cpu.extend(value / 100 for value in used if isinstance(value, (int, float)))
            self.status = batch.status
            self.transitions += batch.transitions
            if batch.log:
                self._log.append(batch.log)

    def take_log(self) -> bytes:
        """Log bytes that came since the last call."""
        with self.lock:
            content, self._log = b"".join(self._log), []
        return content

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


@dataclass(slots=True)
class _Synced:
    """How far a series has taken over its curve."""

    series: Series
    taken: int = 0
    version: int = 0


class RunCurves:
    """The charts of a run, kept up to date with its view."""

    def __init__(self, live: LiveRun) -> None:
        self._live = live
        self._synced: dict[tuple[str, str, str], _Synced] = {}
        self._offsets: dict[str, float] = {}
        """stage → what is added to its steps, so that stages follow one another on the axis."""
        self._stages: list[tuple[float, str]] = []
        self.charts: dict[str, Curves] = {}

    def sync(self) -> list[str]:
        """Take over new points; returns the tasks whose chart changed."""
        view, changed = self._live.view, []
        with self._live.lock:
            tasks = list(view.tasks) or sorted({task for task, _ in view.tracks if task})
            self._find_stages(view)
            for task in tasks:
                if self._sync_task(view, task):
                    changed.append(task)
        return changed

    def _sync_task(self, view: RunView, task: str) -> bool:
        chart = self.charts.get(task)
        new = chart is None
        if chart is None:
            chart = self.charts[task] = Curves(task)
        kind = "nrmse" if view.has(task, "train", "nrmse") else "loss"
        chart.quantity = "nRMSE" if kind == "nrmse" else "loss"
        chart.train, moved = self._series(view, (task, "train", kind))
        chart.val, val_moved = self._series(view, (task, "val", "nrmse"))
        chart.level = view.latest(task, "val", "persistence") or None
        chart.stages = self._stages
        return new or moved or val_moved

    def _series(self, view: RunView, key: tuple[str, str, str]) -> tuple[Series | None, bool]:
        curve = view.curve(*key)
        if curve is None:
            return None, False
        state = self._synced.get(key)
        if state is None or state.version != curve.version or state.taken > len(curve):
            state = self._synced[key] = _Synced(Series(), 0, curve.version)
        if state.taken == len(curve):
            return state.series, state.taken == 0
        new = slice(state.taken, len(curve))
        x = curve.steps[new] + self._offsets_of(view, curve.stages[new])
        state.series.extend(x, curve.values[new], curve.low[new], curve.high[new])
        state.taken = len(curve)
        return state.series, True

    def _offsets_of(self, view: RunView, stages: "Array") -> "Array":
        """What is added to the steps of points of these stages."""
        import numpy as np

        return np.array([self._offsets.get(name, 0.0) for name in view.seen_stages])[stages]

    def _find_stages(self, view: RunView) -> None:
        """Place each stage behind the ones before it, where its steps start again."""
        for index, stage in enumerate(view.seen_stages):
            if stage in self._offsets:
                continue
            ends, starts = _boundaries(view.tracks.values(), index)
            if not starts:
                continue
            before = max(
                (end + self._offsets.get(view.seen_stages[of], 0.0) for of, end in ends), default=None
            )
            restarts = before is not None and min(starts) <= before
            self._offsets[stage] = before if restarts and before is not None else 0.0
            if before is not None:
                self._stages.append((before, stage))


def _boundaries(tracks: Iterable[Track], stage: int) -> tuple[list[tuple[int, float]], list[float]]:
    """Last steps before a stage with their stages, and first steps of it, over all tracks."""
    import numpy as np

    ends: list[tuple[int, float]] = []
    starts: list[float] = []
    for track in tracks:
        own = track.stages == stage
        if not own.any():
            continue
        index = int(np.argmax(own))
        starts.append(float(track.steps[index]))
        if index:
            ends.append((int(track.stages[index - 1]), float(track.steps[index - 1])))
    return ends, starts


def overlay(charts: Sequence[Curves]) -> Curves:
    """One chart with the validation curves of all tasks, each in its colour."""
    joined = Curves("all tasks")
    joined.others = [(chart.name, chart.val) for chart in charts if chart.val is not None]
    joined.stages = charts[0].stages if charts else []
    return joined
