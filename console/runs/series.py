"""What a run's events add up to: phases, curves, rollouts, system use, its end.

A `RunView` is fed events in order, attempt after attempt, live or from a file: a screen that renders
it shows a recorded run exactly as it showed the live one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from console.runs.columns import Metrics, TrackKey, items_of, number
from console.runs.system_track import SystemTrack
from console.runs.track import CAPACITY, Track
from ups.events import PHASES, Event, EventType, PhaseState

if TYPE_CHECKING:
    import numpy as np

    from console.runs.event_lines import AnyEvent
    from ups.evaluation.forecast import Forecast

    Array = np.ndarray[Any, Any]


class Curve(Struct, frozen=True):
    """One value over the steps of a run, as it is now; gaps are NaN."""

    steps: "Array"
    """[n]."""
    values: "Array"
    low: "Array"
    """Least of the points that a row stands for, as `high` is the greatest; mostly it is one point."""
    high: "Array"
    epochs: "Array"
    times: "Array"
    """Unix seconds."""
    stages: "Array"
    """Index of each point's stage in `RunView.seen_stages`."""
    version: int
    """Another one when points were dropped or joined: what was made of them is to be made anew."""

    def __len__(self) -> int:
        return len(self.values)


class PhaseView(Struct):
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
    told_eta: float | None = None
    """Seconds to the end of the phase from then on, as the box has measured; None: it said nothing."""
    told_run_eta: float | None = None
    """Likewise of the whole run."""

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end of the phase at the rate so far; None before it is known."""
        if self.told_eta is not None:
            return self.told_eta
        if self.progress_since is None or self.progress_at is None or not self.total:
            return None
        t0, done0 = self.progress_since
        if self.done <= done0 or self.progress_at <= t0:
            return None
        return (self.total - self.done) * (self.progress_at - t0) / (self.done - done0)


class RolloutRef(Struct, frozen=True):
    """A rollout file that an event announced."""

    task: str
    step: int
    path: str
    """Relative to the run directory."""
    nrmse: float | None
    persistence: float | None
    attempt: int
    t: float


class Notice(Struct, frozen=True):
    """A warning or an error of the run."""

    t: float
    severe: bool
    code: str
    message: str
    hint: str
    task: str | None = None


class RunView:
    """Everything that a screen shows of one run; grows by `apply`."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Args:
        capacity: points that are kept of each curve, a power of two.
        """
        self._capacity = capacity
        self.name = ""
        self.tasks: tuple[str, ...] = ()
        self.stages: tuple[str, ...] = ()
        self.device = ""
        self.attempt = 0
        self.phases = {name: PhaseView() for name in PHASES}
        self.tracks: dict[TrackKey, Track] = {}
        self.seen_stages: list[str] = []
        """In the order in which they came."""
        self._stage_indices: dict[str, int] = {}
        self.forecasts: dict[str | None, Forecast] = {}
        """When each task, and None: their mean, meets its target at this rate."""
        self.rollouts: list[RolloutRef] = []
        self.notices: list[Notice] = []
        self.system: Mapping[str, Any] = {}
        """As the last event told it."""
        self.machine = SystemTrack()
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

    def apply_all(self, events: "Iterable[AnyEvent | Metrics]") -> None:
        """Take in events in order; metrics in a row are taken together, which is many times faster."""
        for item in items_of(events):
            if isinstance(item, Metrics):
                self._take_metrics(item)
            else:
                self._apply(item)

    def apply(self, event: "AnyEvent") -> None:
        """Take in the next event; unknown types only move the clock."""
        self.apply_all([event])

    def _apply(self, event: Event) -> None:
        self._note(event.seq, event.t, 1)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event.t, event.fields)

    def _note(self, seq: int, t: float, count: int) -> None:
        self.revision += count
        self.first_t = t if self.first_t is None else self.first_t
        self.last_t, self.last_seq = t, seq

    def curve(self, task: str | None, split: str, value: str) -> Curve | None:
        """The curve, None where no point of it came yet."""
        track = self.tracks.get((task, split))
        if track is None or value not in track.values:
            return None
        values, rows = track.values[value], len(track)
        return Curve(
            track.steps, values.mean[:rows], values.low[:rows], values.high[:rows], track.epochs, track.times,
            track.stages, track.version,
        )  # fmt: skip

    def has(self, task: str | None, split: str, value: str) -> bool:
        """Whether a point of the curve came."""
        track = self.tracks.get((task, split))
        return track is not None and value in track.values

    def latest(self, task: str | None, split: str, value: str) -> float | None:
        """The newest value of a curve; None where it was not finite."""
        track = self.tracks.get((task, split))
        return track.values[value].latest if track is not None and value in track.values else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end of the run, as far as the phase that goes on tells; None before it is known."""
        running = [phase for phase in self.phases.values() if phase.state is PhaseState.STARTED]
        if not running:
            return None
        told = running[0].told_run_eta
        return running[0].eta_seconds if told is None else told

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
        phase.done, phase.total = number(fields.get("done")), number(fields.get("total"))
        phase.unit = str(fields.get("unit") or "")
        phase.progress_at = t
        phase.told_eta, phase.told_run_eta = _measured(fields, "eta_s"), _measured(fields, "run_eta_s")
        wait = fields.get("data_wait")
        self.data_wait = wait if isinstance(wait, int | float) else None
        another = measured != (phase.total, phase.unit)  # it goes on with something else
        if phase.progress_since is None or another or phase.done < phase.progress_since[1]:
            phase.progress_since = (t, phase.done)

    def _take_metrics(self, metrics: Metrics) -> None:
        self.first_t = metrics.first_t if self.first_t is None else self.first_t
        self._note(metrics.last_seq, metrics.last_t, metrics.count)
        self.stage, self.epoch = metrics.stage, int(metrics.epoch)
        known = self._stage_indices
        for stage in metrics.stages:
            if stage not in known:
                known[stage] = len(self.seen_stages)
                self.seen_stages.append(stage)
        if metrics.forecasts:
            self._take_forecasts(metrics.forecasts)
        for key, points in metrics.tracks.items():
            if key not in self.tracks:
                self.tracks[key] = Track(self._capacity)
            self.tracks[key].extend(points, known)

    def _take_forecasts(self, told: Mapping[str | None, Any]) -> None:
        from ups.evaluation import forecast  # late: most runs tell none

        for task, words in told.items():
            if (read := forecast.read(words)) is not None:
                self.forecasts[task] = read

    def _on_resumed(self, t: float, fields: Mapping[str, Any]) -> None:
        stage, step = self._stage_indices.get(str(fields.get("stage"))), number(fields.get("step"))
        if stage is not None:
            for track in self.tracks.values():
                track.drop_after(stage, step)
        self.done = None

    def _on_rollout(self, t: float, fields: Mapping[str, Any]) -> None:
        self.rollouts.append(
            RolloutRef(
                task=str(fields.get("task")),
                step=int(number(fields.get("step"))),
                path=str(fields.get("path")),
                nrmse=fields.get("nrmse"),
                persistence=fields.get("persistence"),
                attempt=self.attempt,
                t=t,
            )
        )

    def _on_system(self, t: float, fields: Mapping[str, Any]) -> None:
        self.system = fields
        self.machine.take_in(t, fields)

    def _on_checkpoint(self, t: float, fields: Mapping[str, Any]) -> None:
        self.checkpoint = fields

    def _on_published(self, t: float, fields: Mapping[str, Any]) -> None:
        self.published.append(str(fields.get("path")))

    def _on_done(self, t: float, fields: Mapping[str, Any]) -> None:
        self.done = fields

    def _notice(self, t: float, fields: Mapping[str, Any], *, severe: bool) -> None:
        code, message, hint = (str(fields.get(key) or "") for key in ("code", "message", "hint"))
        task = fields.get("task")
        self.notices.append(Notice(t, severe, code, message, hint, task if isinstance(task, str) else None))


_HANDLERS: dict[str, Callable[[RunView, float, Mapping[str, Any]], None]] = {
    EventType.RUN: RunView._on_run,
    EventType.PHASE: RunView._on_phase,
    EventType.PROGRESS: RunView._on_progress,
    EventType.RESUMED: RunView._on_resumed,
    EventType.ROLLOUT: RunView._on_rollout,
    EventType.SYSTEM: RunView._on_system,
    EventType.CHECKPOINT: RunView._on_checkpoint,
    EventType.PUBLISHED: RunView._on_published,
    EventType.WARNING: lambda view, t, fields: view._notice(t, fields, severe=False),
    EventType.ERROR: lambda view, t, fields: view._notice(t, fields, severe=True),
    EventType.DONE: RunView._on_done,
}


def _measured(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    return float(value) if isinstance(value, int | float) else None
