"""What a run's events add up to: phases, curves, rollouts, system use, its end.

A `RunView` is fed events in order, attempt after attempt, live or from a file: a screen that renders
it shows a recorded run exactly as it showed the live one.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ups.events import PHASES, Event, EventType, PhaseState

CurveKey = tuple[str | None, str, str]
"""(task, None for the aggregate; split; name of the value)."""


@dataclass(slots=True)
class Curve:
    """One value over the steps of a run; gaps (non-finite values) are NaN."""

    steps: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    epochs: "array[float]" = field(default_factory=lambda: array("d"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    """Unix seconds."""
    stages: list[str] = field(default_factory=list)
    version: int = 0
    """Raised when points were dropped, so that a cached drawing starts again."""

    def append(self, stage: str, epoch: float, step: float, t: float, value: float | None) -> None:
        self.stages.append(stage)
        self.epochs.append(epoch)
        self.steps.append(step)
        self.times.append(t)
        self.values.append(float("nan") if value is None else value)

    def drop_after(self, stage: str, step: float) -> None:
        """Forget the points of `stage` beyond `step`, and of every later stage."""
        end = self.stages.index(stage) if stage in self.stages else len(self.stages)
        while end < len(self.stages) and self.stages[end] == stage and self.steps[end] <= step:
            end += 1
        if end < len(self.stages):
            del self.stages[end:], self.epochs[end:], self.steps[end:], self.times[end:], self.values[end:]
            self.version += 1

    def __len__(self) -> int:
        return len(self.values)


@dataclass(slots=True)
class PhaseView:
    """Where one phase stands."""

    state: PhaseState | None = None
    detail: str = ""
    started: float | None = None
    finished: float | None = None
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    progress_since: tuple[float, float] | None = None
    """(time, done) of the first progress, for the rate."""
    progress_at: float | None = None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end of the phase at the rate so far; None before it is known."""
        if self.progress_since is None or self.progress_at is None or not self.total:
            return None
        t0, done0 = self.progress_since
        if self.done <= done0 or self.progress_at <= t0:
            return None
        return (self.total - self.done) * (self.progress_at - t0) / (self.done - done0)


@dataclass(frozen=True, slots=True)
class RolloutRef:
    """A rollout file that an event announced."""

    task: str
    step: int
    path: str
    """Relative to the run directory."""
    nrmse: float | None
    persistence: float | None
    attempt: int
    t: float


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning or an error of the run."""

    t: float
    severe: bool
    code: str
    message: str
    hint: str


class RunView:
    """Everything that a screen shows of one run; grows by `apply`."""

    def __init__(self) -> None:
        self.name = ""
        self.tasks: tuple[str, ...] = ()
        self.stages: tuple[str, ...] = ()
        self.device = ""
        self.attempt = 0
        self.phases = {name: PhaseView() for name in PHASES}
        self.curves: dict[CurveKey, Curve] = {}
        self.rollouts: list[RolloutRef] = []
        self.notices: list[Notice] = []
        self.system: Mapping[str, Any] = {}
        self.data_wait: float | None = None
        """Share of its time in which training last waited for batches."""
        self.stage = ""
        self.epoch: int | None = None
        self.checkpoint: Mapping[str, Any] | None = None
        self.published: list[str] = []
        self.done: Mapping[str, Any] | None = None
        self.first_t: float | None = None
        self.last_t: float | None = None
        self.last_seq = -1
        self.revision = 0
        """Raised by every event."""

    def apply_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Take in the next event; unknown types only move the clock."""
        self.revision += 1
        self.first_t = event.t if self.first_t is None else self.first_t
        self.last_t = event.t
        self.last_seq = event.seq
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event.t, event.fields)

    def curve(self, task: str | None, split: str, value: str) -> Curve:
        """The curve, empty where no point of it came yet."""
        return self.curves.get((task, split, value)) or Curve()

    def latest(self, task: str | None, split: str, value: str) -> float | None:
        """The newest value of a curve."""
        curve = self.curves.get((task, split, value))
        return curve.values[-1] if curve else None

    def _on_run(self, t: float, fields: Mapping[str, Any]) -> None:
        self.attempt += 1
        self.name = str(fields.get("name", ""))
        self.tasks = tuple(fields.get("tasks") or ())
        self.stages = tuple(fields.get("stages") or ())
        self.device = str(fields.get("device", ""))
        self.done = None
        self.phases = {str(name): PhaseView() for name in fields.get("phases") or PHASES}

    def _on_phase(self, t: float, fields: Mapping[str, Any]) -> None:
        phase = self.phases.setdefault(str(fields.get("phase")), PhaseView())
        try:
            phase.state = PhaseState(fields.get("state", ""))
        except ValueError:
            return
        phase.detail = str(fields.get("detail") or "")
        if phase.state is PhaseState.STARTED:
            phase.started, phase.finished = t, None
        else:
            phase.finished = t

    def _on_progress(self, t: float, fields: Mapping[str, Any]) -> None:
        phase = self.phases.setdefault(str(fields.get("phase")), PhaseView())
        measured = phase.total, phase.unit
        phase.done, phase.total = _number(fields.get("done")), _number(fields.get("total"))
        phase.unit = str(fields.get("unit") or "")
        phase.progress_at = t
        wait = fields.get("data_wait")
        self.data_wait = wait if isinstance(wait, int | float) else None
        another = measured != (phase.total, phase.unit)  # it goes on with something else
        if phase.progress_since is None or another or phase.done < phase.progress_since[1]:
            phase.progress_since = (t, phase.done)

    def _on_metric(self, t: float, fields: Mapping[str, Any]) -> None:
        self.stage = str(fields.get("stage") or "")
        epoch, step = _number(fields.get("epoch")), _number(fields.get("step"))
        self.epoch = int(epoch)
        for name, value in (fields.get("values") or {}).items():
            if value is None or isinstance(value, int | float):
                key = (fields.get("task"), str(fields.get("split")), str(name))
                self.curves.setdefault(key, Curve()).append(self.stage, epoch, step, t, value)

    def _on_resumed(self, t: float, fields: Mapping[str, Any]) -> None:
        stage, step = str(fields.get("stage")), _number(fields.get("step"))
        for curve in self.curves.values():
            curve.drop_after(stage, step)
        self.done = None

    def _on_rollout(self, t: float, fields: Mapping[str, Any]) -> None:
        self.rollouts.append(
            RolloutRef(
                task=str(fields.get("task")),
                step=int(_number(fields.get("step"))),
                path=str(fields.get("path")),
                nrmse=fields.get("nrmse"),
                persistence=fields.get("persistence"),
                attempt=self.attempt,
                t=t,
            )
        )

    def _on_system(self, t: float, fields: Mapping[str, Any]) -> None:
        self.system = fields

    def _on_checkpoint(self, t: float, fields: Mapping[str, Any]) -> None:
        self.checkpoint = fields

    def _on_published(self, t: float, fields: Mapping[str, Any]) -> None:
        self.published.append(str(fields.get("path")))

    def _on_done(self, t: float, fields: Mapping[str, Any]) -> None:
        self.done = fields

    def _notice(self, t: float, fields: Mapping[str, Any], *, severe: bool) -> None:
        code, message, hint = (str(fields.get(key) or "") for key in ("code", "message", "hint"))
        self.notices.append(Notice(t, severe, code, message, hint))


_HANDLERS: dict[str, Callable[[RunView, float, Mapping[str, Any]], None]] = {
    EventType.RUN: RunView._on_run,
    EventType.PHASE: RunView._on_phase,
    EventType.PROGRESS: RunView._on_progress,
    EventType.METRIC: RunView._on_metric,
    EventType.RESUMED: RunView._on_resumed,
    EventType.ROLLOUT: RunView._on_rollout,
    EventType.SYSTEM: RunView._on_system,
    EventType.CHECKPOINT: RunView._on_checkpoint,
    EventType.PUBLISHED: RunView._on_published,
    EventType.WARNING: lambda view, t, fields: view._notice(t, fields, severe=False),
    EventType.ERROR: lambda view, t, fields: view._notice(t, fields, severe=True),
    EventType.DONE: RunView._on_done,
}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
