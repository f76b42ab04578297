"""Metrics in a row as columns: what curves keep of them, without the objects that they were read as.

Made wherever lines are read, also in another process; free of numpy, which that one need not load, and of
what decodes lines, which whoever gets them from there need not.
"""

import itertools
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from ups.events import Event, EventType

if TYPE_CHECKING:
    from console.runs.event_lines import AnyEvent, MetricLine

TrackKey = tuple[str | None, str]
"""(task, None for the aggregate; split)."""

_MOVES_CURVES = {EventType.RUN, EventType.RESUMED}
"""Events before which the metrics that came earlier have to be in the curves."""


class TrackColumns(Struct, frozen=True):
    """Points of one task and split, in order."""

    steps: "array[float]"
    """[n] within their stage, as are `epochs`."""
    epochs: "array[float]"
    times: "array[float]"
    """[n] Unix seconds."""
    stages: str | Sequence[str]
    """[n] name of each point's stage, or the one of all."""
    values: "dict[str, array[float]]"
    """Name → [n]; not finite where it was not, or was not told."""
    latest: dict[str, float | None]
    """Name → the newest one that was told; None where that was not finite."""

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def each_stage(self) -> Sequence[str]:
        """[n]."""
        return [self.stages] * len(self) if isinstance(self.stages, str) else self.stages

    def column(self, name: str) -> "array[float]":
        """[n] of a value; NaN throughout where it was never told."""
        told = self.values.get(name)
        return told if told is not None else array("d", [math.nan]) * len(self)

    @classmethod
    def of(cls, lines: "Sequence[MetricLine]") -> "TrackColumns":
        """Of lines in order."""
        told = [line.values for line in lines]
        columns = _columns(told)
        newest = {
            name: column[-1] if name in told[-1] else next(v[name] for v in reversed(told) if name in v)
            for name, column in columns.items()
        }
        stages = [line.stage for line in lines]
        return cls(
            array("d", [line.step for line in lines]),
            array("d", [line.epoch for line in lines]),
            array("d", [line.t for line in lines]),
            stages[0] if stages and stages.count(stages[0]) == len(stages) else stages,
            {name: _numbers(column) for name, column in columns.items()},
            {name: v if v is not None and math.isfinite(v) else None for name, v in newest.items()},
        )


class Metrics(Struct, frozen=True):
    """Some `metric` events that came one after the other, but for events that move no curve."""

    count: int
    first_t: float
    last_t: float
    """Of the newest event that had come by then, whatever its type, as is `last_seq`."""
    last_seq: int
    stage: str
    """Of the newest of them, as is `epoch`."""
    epoch: float
    stages: Sequence[str]
    """In the order in which they came."""
    tracks: Mapping[TrackKey, TrackColumns]
    forecasts: Mapping[str | None, Any]
    """Task → as its newest line with one says."""


def joined(parts: Sequence[Metrics]) -> Metrics:
    """Metrics that came one after the other, at least one part of them."""
    if len(parts) == 1:
        return parts[0]
    first, last = parts[0], parts[-1]
    of_track: dict[TrackKey, list[TrackColumns]] = defaultdict(list)
    forecasts: dict[str | None, Any] = {}
    for part in parts:
        forecasts.update(part.forecasts)
        for key, points in part.tracks.items():
            of_track[key].append(points)
    return Metrics(
        sum(part.count for part in parts), first.first_t, last.last_t, last.last_seq, last.stage, last.epoch,
        list(dict.fromkeys(itertools.chain.from_iterable(part.stages for part in parts))),
        {key: _joined_track(own) for key, own in of_track.items()},
        forecasts,
    )  # fmt: skip


def _joined_track(parts: Sequence[TrackColumns]) -> TrackColumns:
    named = {part.stages if isinstance(part.stages, str) else None for part in parts}
    stages: str | Sequence[str] | None = named.pop() if len(named) == 1 else None
    if stages is None:
        stages = [stage for part in parts for stage in part.each_stage]
    latest: dict[str, float | None] = {}
    for part in parts:
        latest.update(part.latest)
    return TrackColumns(
        _end_to_end([part.steps for part in parts]),
        _end_to_end([part.epochs for part in parts]),
        _end_to_end([part.times for part in parts]),
        stages,
        {name: _end_to_end([part.column(name) for part in parts]) for name in latest},
        latest,
    )


def _end_to_end(columns: "Sequence[array[float]]") -> "array[float]":
    whole = array("d")
    for column in columns:
        whole.extend(column)
    return whole


Item = Event | Metrics
"""What a run adds up from."""


def items_of(events: "Iterable[AnyEvent | Metrics]") -> list[Item]:
    """Events in order, metrics in columns; what moves no curve may come before metrics that it came after."""
    found: list[Item] = []
    waiting: list[MetricLine] = []
    last: AnyEvent | None = None
    for kind, alike in itertools.groupby(events, type):
        if kind is not Event and kind is not Metrics:
            waiting += cast("Iterable[MetricLine]", alike)
            last = waiting[-1]
            continue
        for event in cast("Iterable[Item]", alike):
            if isinstance(event, Metrics):
                if waiting and last is not None:
                    found.append(metrics_of(waiting, last))
                    waiting = []
                found.append(event)
                continue
            last = event
            line = _as_metric(event)
            if line is not None:
                waiting.append(line)
                continue
            if waiting and event.type in _MOVES_CURVES:
                found.append(metrics_of(waiting))
                waiting = []
            found.append(event)
    if waiting and last is not None:
        found.append(metrics_of(waiting, last))
    return found


def metrics_of(lines: "Sequence[MetricLine]", last: "AnyEvent | None" = None) -> Metrics:
    """Some metrics in order, at least one.

    Args:
        lines: as they were read.
        last: the newest event that had come by then; None: the last of them.
    """
    last = last if last is not None else lines[-1]
    tracks = {key: TrackColumns.of(own) for key, own in _by_track(lines).items()}
    stage = lines[-1].stage
    is_one = all(points.stages == stage for points in tracks.values())
    return Metrics(
        len(lines), lines[0].t, last.t, last.seq, stage, lines[-1].epoch,
        [stage] if is_one else list(dict.fromkeys([line.stage for line in lines])),
        tracks,
        {line.task: line.forecast for line in lines if line.forecast is not None},
    )  # fmt: skip


def _by_track(lines: "Sequence[MetricLine]") -> "dict[TrackKey, list[MetricLine]]":
    found: dict[TrackKey, list[MetricLine]] = defaultdict(list)
    for line in lines:
        found[line.task, line.split].append(line)
    return found


def _columns(told: Sequence[Mapping[str, float | None]]) -> dict[str, list[float | None]]:
    """Name → that value of each line, None where it does not tell it; in the order in which they came."""
    try:
        found = {name: [values[name] for values in told] for name in (told[0] if told else ())}
    except KeyError:
        found = {}
    if found and sum([len(values) for values in told]) == len(found) * len(told):
        return found
    names = dict.fromkeys(itertools.chain.from_iterable(told))
    return {name: [values.get(name) for values in told] for name in names}


def _numbers(column: Sequence[float | None]) -> "array[float]":
    try:
        return array("d", column)  # type: ignore[arg-type]
    except TypeError:
        return array("d", [math.nan if value is None else value for value in column])


def _as_metric(event: Event) -> "MetricLine | None":
    """A metric that was read the long way in its usual form; None for every other event."""
    if event.type != EventType.METRIC:
        return None
    from console.runs.event_lines import MetricLine

    fields = event.fields
    given, task = fields.get("values"), fields.get("task")
    values = {
        str(name): value
        for name, value in (given.items() if isinstance(given, Mapping) else ())
        if value is None or isinstance(value, int | float)
    }
    return MetricLine(
        event.seq, event.t, event.type, values, str(fields.get("split") or "train"),
        task if isinstance(task, str) else None, str(fields.get("stage") or ""),
        number(fields.get("epoch")), number(fields.get("step")), fields.get("forecast"),
    )  # fmt: skip


def number(value: object) -> float:
    """0 for what is none."""
    return float(value) if isinstance(value, int | float) else 0.0
