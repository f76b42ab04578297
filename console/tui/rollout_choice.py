"""Which rollout of a run is wanted, which one is shown, and which come before and after it."""

from pathlib import Path
from typing import Any

from msgspec import Struct

from console.runs.series import RolloutRef
from console.tui.live_run import LiveRun

Key = tuple[str, int]
"""(task, step)."""


class Chosen(Struct, frozen=True):
    """A rollout to be read."""

    key: Key
    path: Path
    fields: dict[str, Any]
    """Of its event."""


class RolloutChoice:
    """Follows the newest rollout until a task or a step is asked for."""

    def __init__(self, live: LiveRun) -> None:
        self._live = live
        self._wanted: tuple[str, int | None] | None = None
        """(task, step); no step is the newest."""
        self.shown: Key | None = None

    def due(self) -> Chosen | None:
        """What has to be read to show what is wanted; None where it is shown, or not there yet."""
        if self._wanted is None:
            with self._live.lock:
                last = self._live.view.rollouts[-1].task if self._live.view.rollouts else None
            if last is None:
                return None
            self._wanted = (last, None)
        task, step = self._wanted
        refs = self._live.rollouts_of(task)
        ref = next((r for r in refs if r.step == step), refs[-1] if refs else None)
        if ref is None or (task, ref.step) == self.shown:
            return None
        path = self._live.rollout_path(ref)
        if path is None:
            return None
        self.shown = (task, ref.step)
        return Chosen(self.shown, path, _fields(ref))

    def place(self, key: Key) -> str | None:
        """Which of how many it is; None where it is no more what is shown."""
        steps = self._steps(key[0])
        if key != self.shown or key[1] not in steps:
            return None
        return f"{steps.index(key[1]) + 1} of {len(steps)}{' · ↑↓ others' if len(steps) > 1 else ''}"

    def move(self, by: int) -> bool:
        """Want the one so many steps later of the same task; False where none is shown."""
        if self.shown is None:
            return False
        task, step = self.shown
        steps = self._steps(task)
        index = max(0, min(len(steps) - 1, steps.index(step) + by)) if step in steps else -1
        if not steps:
            return False
        self._wanted = (task, None if index == len(steps) - 1 else steps[index])
        return True

    def next_task(self) -> bool:
        """Want the newest one of the next task; False where there is no rollout yet."""
        tasks = list(dict.fromkeys(ref.task for ref in self._live.view.rollouts))
        if not tasks:
            return False
        here = self._wanted[0] if self._wanted else None
        index = (tasks.index(here) + 1) % len(tasks) if here in tasks else 0
        self._wanted = (tasks[index], None)
        return True

    def _steps(self, task: str) -> list[int]:
        return [ref.step for ref in self._live.rollouts_of(task)]


def _fields(ref: RolloutRef) -> dict[str, Any]:
    return {"task": ref.task, "step": ref.step, "nrmse": ref.nrmse, "persistence": ref.persistence}
