"""What the events of a run are at Weights & Biases: rows of named values, in their order.

A row's step is its event's `seq`, after those of the attempts before. So whoever tells a run again, from its
first event on, tells the same rows, and W&B leaves out those that it has.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ups.events import Event, EventType

Values = dict[str, float | str]

ATTEMPT_STEPS = 10_000_000
"""More events than an attempt has."""
_OF_STAGE = ("lr", "grad_norm")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the run's history there."""

    step: int
    t: float
    """Unix seconds."""
    values: Values
    picture: tuple[str, str] | None = None
    """The name of a picture in it, and the file of the run directory that it is drawn from."""


def axes(stages: tuple[str, ...]) -> dict[str, str]:
    """Names, as patterns, and the value that is their x axis."""
    of_stages = {f"training/{stage}/*": f"training/{stage}/step" for stage in stages}
    return {
        **of_stages,
        "validation/*": "validation/step",
        "tasks/*": "tasks/epoch",
        "rollout/*": "rollout/step",
    }


class Rows:
    """Turns events into rows, one after the other; knows what it has seen so far."""

    def __init__(self, attempt: int, finished: Callable[[], Mapping[str, tuple[int, int]]] = dict) -> None:
        """
        Args:
            attempt: of the run, from 1.
            finished: the epochs and steps of stages that have ended, whose events may be another attempt's.
        """
        self._first = (attempt - 1) * ATTEMPT_STEPS
        self._finished = finished
        self._before: dict[str, tuple[int, int]] = {}
        """Stage → epochs and steps of the run before it."""
        self._done = 0, 0
        """Epochs and steps of the run so far."""
        self._shares: dict[str, float] = {}

    def of(self, event: Event) -> Row | None:
        """The row of an event; None where it is none."""
        fields = event.fields
        picture = None
        match event.type:
            case EventType.METRIC:
                values = self._metric(fields)
            case EventType.SYSTEM:
                values = dict(_flat(fields, "system"))
            case EventType.PROGRESS:
                values = {f"system/{name}": value for name, value in _numbers(fields) if name == "data_wait"}
            case EventType.CHECKPOINT:
                values = self._shares_of_epoch(fields)
            case EventType.ROLLOUT:
                values = _rollout(fields)
                if isinstance(fields.get("path"), str):
                    picture = f"rollout/{fields.get('task')}/picture", str(fields["path"])
            case _:
                return None
        if not values:
            return None
        return Row(self._first + event.seq, event.t, values, picture)

    def _metric(self, fields: Mapping[str, Any]) -> Values:
        stage, task, given = str(fields.get("stage")), fields.get("task"), fields.get("values") or {}
        if fields.get("split") == "train":
            values: Values = {}
            for name, value in _numbers(given):
                of_stage = name in _OF_STAGE or task is None
                values[f"training/{stage}/{name}" if of_stage else f"training/{stage}/{task}/{name}"] = value
            if task is not None and isinstance(given.get("share"), int | float):
                self._shares[str(task)] = float(given["share"])
            self._run_step(stage, fields)
            where = f"training/{stage}"
            return {**values, f"{where}/step": _int(fields, "step"), f"{where}/epoch": _int(fields, "epoch")}
        prefix = "validation" if task is None else f"validation/{task}"
        values = {f"{prefix}/{name}": value for name, value in _numbers(given)}
        return {**values, "validation/step": self._run_step(stage, fields), "validation/stage": stage}

    def _run_step(self, stage: str, fields: Mapping[str, Any]) -> int:
        """The step of the whole run: its stages follow one another."""
        step = self._before_stage(stage)[1] + _int(fields, "step")
        self._done = self._done[0], max(self._done[1], step)
        return step

    def _before_stage(self, stage: str) -> tuple[int, int]:
        if stage not in self._before:
            others = [of for name, of in self._finished().items() if name != stage]
            epochs, steps = (sum(of[part] for of in others) for part in (0, 1))
            self._before[stage] = max(self._done[0], epochs), max(self._done[1], steps)
        return self._before[stage]

    def _shares_of_epoch(self, fields: Mapping[str, Any]) -> Values:
        """A checkpoint ends an epoch: which tasks took part in it, and with what share of its samples."""
        shares, self._shares = self._shares, {}
        if not shares:
            return {}
        stage = str(fields.get("stage"))
        epoch = self._before_stage(stage)[0] + _int(fields, "epoch")
        self._done = max(self._done[0], epoch), self._done[1]
        return {
            "tasks/epoch": epoch,
            "tasks/active": len(shares),
            "tasks/names": ", ".join(shares),
            **{f"tasks/{task}/share": share for task, share in shares.items()},
        }


def _rollout(fields: Mapping[str, Any]) -> Values:
    task = fields.get("task")
    figures = {name: fields.get(name) for name in ("nrmse", "persistence")}
    values: Values = {f"rollout/{task}/{name}": value for name, value in _numbers(figures)}
    return {**values, "rollout/step": _int(fields, "step")}


def summary(of_run: Mapping[str, Any]) -> Values:
    """The figures that the `done` event names, as W&B's summary of the run shows them."""
    split = str(of_run.get("split") or "test")
    values = dict(_flat(of_run.get("aggregate") or {}, split))
    for task, figures in (of_run.get("tasks") or {}).items():
        values |= _flat(figures, f"{split}/{task}")
    if isinstance(of_run.get("decision"), str):
        values["decision"] = of_run["decision"]
    return values


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float | str]]:
    """Every number below; the items of a list count from 0, such as `system/gpu0/util`."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}/{name}")
        elif isinstance(value, list | tuple):
            items = {f"{name}{number}": item for number, item in enumerate(value)}
            yield from _flat(items, prefix)
        elif _is_number(value):
            yield f"{prefix}/{name}", value


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in values.items() if _is_number(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _int(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
