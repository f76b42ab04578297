"""Reads the lines of `events.jsonl` fast: nearly all of them are metrics, which have known fields.

A metric of the usual form is decoded into a structure in a tenth of the time that a dictionary takes;
every other line is read by `ups.events`, with the same result.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from ups.events import Event, EventReader, EventType, decode

_METRIC = b'"metric"'
_METRIC_TYPE = str(EventType.METRIC)
_USUAL_TYPE = b'"type":"metric"'
_HEAD = 96
"""Bytes of a line in which its type is looked for; where it stands later, the line is read the long way."""


class Block:
    """Some lines of the file in one piece; taken apart only where somebody wants one as it stands there."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @cached_property
    def lines(self) -> list[bytes]:
        """Without their ends; the last one is empty."""
        return self.content.split(b"\n")


class MetricLine(msgspec.Struct, gc=False):
    """A `metric` event; has what `Event` has, and the fields that every metric has by their names."""

    seq: int
    t: float
    type: str
    values: dict[str, float | None] = msgspec.field(default_factory=dict)
    split: str = "train"
    task: str | None = None
    stage: str = ""
    epoch: float = 0.0
    step: float = 0.0
    forecast: Any = None
    """What `ups.evaluation.forecast` wrote of the task, where it did."""
    block: Any = msgspec.field(default=None, name="(block)")
    """The `Block` that it was read from."""
    index: int = msgspec.field(default=0, name="(index)")
    """Of its line there."""

    @property
    def line(self) -> bytes:
        """As it stands in the file; empty where it was not read from one."""
        return self.block.lines[self.index] if self.block is not None else b""

    @property
    def fields(self) -> Mapping[str, Any]:
        """All of its fields, also those that this version does not know."""
        event = decode(self.line)
        return event.fields if event is not None else {}

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "t": self.t, "type": self.type, **self.fields}


AnyEvent = Event | MetricLine
"""What a line of `events.jsonl` becomes."""

_decoder = msgspec.json.Decoder(MetricLine)
_BLOCK_BYTES = 1 << 15
"""Decoded in one call, while nobody else computes; where a line is of another form, each goes by itself."""


def decode_line(line: bytes) -> AnyEvent | None:
    """The event of a line, or None where the line is torn or no event."""
    if _METRIC in line[:_HEAD]:
        try:
            metric = _decoder.decode(line)
        except (msgspec.DecodeError, ValueError):  # of another form, or not quite JSON
            return decode(line)
        if metric.type == EventType.METRIC:
            metric.block = Block(line)
            return metric
    return decode(line)


def decode_events(content: bytes) -> list[AnyEvent]:
    """The events among whole lines; anything else is passed over."""
    found: list[AnyEvent] = []
    begin = 0
    while begin < len(content):
        end = content.rfind(b"\n", begin, begin + _BLOCK_BYTES) + 1 or content.find(b"\n", begin) + 1
        end = end or len(content)
        found += _of_block(Block(content[begin:end]))
        begin = end
    return found


def decode_metrics(content: bytes) -> list[MetricLine] | None:
    """The metrics that whole lines are, without the lines themselves; None where some are something else."""
    lines = content.count(b"\n")
    if content.count(_USUAL_TYPE) != lines:  # else all would be decoded twice
        return None
    metrics = _metrics(content)
    return metrics if [metric.type for metric in metrics].count(_METRIC_TYPE) == lines else None


def _metrics(content: bytes) -> list[MetricLine]:
    try:
        return _decoder.decode_lines(content)
    except (msgspec.DecodeError, ValueError):
        return []


def _of_block(block: Block) -> list[AnyEvent]:
    metrics = _metrics(block.content)
    if len(metrics) != block.content.count(b"\n"):  # one is torn, empty or of another form
        return [event for line in block.lines if line and (event := decode_line(line)) is not None]
    others = False
    for index, metric in enumerate(metrics):
        metric.block, metric.index = block, index
        others = others or metric.type != _METRIC_TYPE
    if not others:
        return [*metrics]
    events = (event if event.type == _METRIC_TYPE else decode(event.line) for event in metrics)
    return [event for event in events if event is not None]


class EventLines:
    """What is new in an `events.jsonl`, a portion at a time."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        """Args:
        path: of the file.
        offset: bytes that are passed over; a line begins behind them.
        """
        self._reader = EventReader(path, offset=offset)

    @property
    def offset(self) -> int:
        """Bytes that were read."""
        return self._reader.offset

    def read(self, *, limit_bytes: int = 2 * 1024 * 1024) -> list[AnyEvent]:
        """The events appended since the last call, about so many bytes of them; [] where there are none."""
        return decode_events(self.read_lines(limit_bytes=limit_bytes))

    def read_lines(self, *, limit_bytes: int) -> bytes:
        """The same as whole lines."""
        return self._reader.read_bytes(limit_bytes=limit_bytes)


def last_event(path: Path) -> Event | None:
    """The newest whole event of an events.jsonl, read from its end."""
    return next(newest_events(path), None)


def newest_events(path: Path, limit_bytes: int = 65536) -> Iterator[Event]:
    """The events in the last so many bytes of an events.jsonl, the newest first."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - limit_bytes))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return
    yield from (event for event in map(decode, reversed(lines)) if event is not None)
