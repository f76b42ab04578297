"""What validation curves say while training goes on: a task that has levelled off or blown up, and when the
target is met. Each is told once, also over a kill: what was told lies in the checkpoint.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ups.config import TrainConfig
from ups.course import FIRST, controlled_by
from ups.evaluation.forecast import forecast
from ups.evaluation.validation_curves import Point, has_blown_up, has_levelled_off
from ups.events import EventType
from ups.training.job import EventSink
from ups.training.state import Progress

PLATEAU, DIVERGING, PATIENCE, ENOUGH = "plateau", "diverging", "patience", "enough"
"""Codes of the warnings."""
ALL_TASKS = ""
"""The key of the tasks' mean among the curves."""


@dataclass(frozen=True, slots=True)
class Vigil:
    """Watches the validation of one stage."""

    stage: str
    config: TrainConfig
    epochs: int
    """Of the stage."""
    progress: Progress
    sink: EventSink

    def note(self, errors: Mapping[str, float], mean: float | None) -> dict[str | None, dict[str, Any]]:
        """Take in the one-step nRMSE of a validation, and warn of what it shows.

        Args:
            errors: by task.
            mean: theirs; None while not all tasks have joined.

        Returns:
            What each one's event (None: the mean's) has to say beyond its values.
        """
        if controlled_by(self.stage) is not None:
            return {}
        said: dict[str | None, dict[str, Any]] = {}
        rows: list[tuple[str | None, float]] = [
            *errors.items(),
            *([(None, mean)] if mean is not None else []),
        ]
        for task, error in rows:
            curve = self.progress.curves.setdefault(task or ALL_TASKS, [])
            curve.append([self.progress.epoch, error if math.isfinite(error) else None])
            points = [Point(float(epoch or 0), value) for epoch, value in curve]
            if task is not None:
                self._warn(task, points)
            target = self._target(task)
            if target is not None and self.stage == FIRST:
                said[task] = {"forecast": forecast(points, target, self.epochs).to_json()}
        return said

    def enough(self, reason: str) -> None:
        """Say that the job has ended training."""
        self.sink.write(
            EventType.WARNING, code=ENOUGH, stage=self.stage, epoch=self.progress.epoch,
            message=f"training ends after epoch {self.progress.epoch} of {self.stage}: {reason}",
            hint="what there is will be evaluated and published; resuming with more goes on from there",
        )  # fmt: skip

    def end(self, epochs: int) -> None:
        """Say that patience has ended the stage."""
        self.sink.write(
            EventType.WARNING, code=PATIENCE, stage=self.stage, epoch=self.progress.epoch,
            message=f"{self.stage} ends after epoch {self.progress.epoch} of {self.epochs}: its validation "
            f"has not improved for {epochs} epochs (best {_number(self.progress.best_score)})",
            hint="nothing needs to be done; its best checkpoint is used",
        )  # fmt: skip

    def _target(self, task: str | None) -> float | None:
        """What the run is for: its own target, else what its gates ask for."""
        gates = self.config.gates
        if task is None:
            return self.config.target_nrmse or gates.proceed
        return gates.threshold_of(task) or self.config.target_nrmse

    def _warn(self, task: str, points: list[Point]) -> None:
        last, rule = points[-1].nrmse, self.config.gates.plateau
        if has_blown_up(points):
            if self._first(DIVERGING, task, last):
                best = min((point.nrmse for point in points if point.nrmse is not None), default=None)
                self._tell(
                    DIVERGING, task,
                    f"{task} diverges in {self.stage}: its validation is {_number(last)} after "
                    f"{_number(best)} at its best",
                    "set training.grad_clip or a lower learning rate; the best checkpoint is kept",
                )  # fmt: skip
            return
        self.progress.told.get(DIVERGING, {}).pop(task, None)
        told = self.progress.told.get(PLATEAU, {})
        if task in told and last is not None and last < (told[task] or math.inf) * (1 - rule.improvement):
            del told[task]  # it moves again
        if has_levelled_off(points, rule) and self._first(PLATEAU, task, _best(points)):
            self._tell(
                PLATEAU, task,
                f"{task} has levelled off at {_number(_best(points))}: no better by {rule.improvement:.0%} "
                f"in the last {rule.epochs} epochs of {self.stage}",
                "the tasks that still learn would gain from its share; set training.patience to stop at that",
            )  # fmt: skip

    def _first(self, code: str, task: str, value: float | None) -> bool:
        """Whether it was not told yet; notes that it is now."""
        told = self.progress.told.setdefault(code, {})
        if task in told:
            return False
        told[task] = value
        return True

    def _tell(self, code: str, task: str, message: str, hint: str) -> None:
        self.sink.write(
            EventType.WARNING, code=code, task=task, stage=self.stage, epoch=self.progress.epoch,
            message=message, hint=hint,
        )  # fmt: skip


def _best(points: list[Point]) -> float | None:
    return min((point.nrmse for point in points if point.nrmse is not None), default=None)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
