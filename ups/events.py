"""The run protocol: `events.jsonl`, the truth about a run.

One JSON object a line, appended by one process with a single `write()` each. Every event has `seq`
(0, 1, 2 … without gaps within an attempt), `t` (Unix seconds) and `type`. Readers keep and ignore
what they do not know, so that old consoles read new runs. Free of torch and numpy.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class EventType(StrEnum):
    """The known event types; fields of each in docs/architecture.md, written by `EventWriter`'s callers."""

    RUN = "run"
    PHASE = "phase"
    PROGRESS = "progress"
    METRIC = "metric"
    RESUMED = "resumed"
    PUBLISHED = "published"
    SYSTEM = "system"
    ROLLOUT = "rollout"
    CHECKPOINT = "checkpoint"
    WARNING = "warning"
    ERROR = "error"
    HEARTBEAT = "heartbeat"
    DONE = "done"


class PhaseState(StrEnum):
    """Where a phase of the pipeline stands."""

    STARTED = "started"
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"


PHASES = ("hydrate", "precompute", "train", "evaluate", "publish")
"""Of a run that trains."""
SMOKE_PHASE = "smoke"
"""Before `train`, in a run that asks for it."""
PREPROCESS_PHASES = ("preprocess", "publish")
"""Of one that converts published files."""

HEARTBEAT_SECONDS = 15.0
LOST_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `events.jsonl`."""

    seq: int
    t: float
    type: str
    """An `EventType` value, or a type that this version does not know."""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "t": self.t, "type": self.type, **self.fields}


def encode(seq: int, t: float, kind: str, fields: Mapping[str, Any]) -> bytes:
    """One line, newline included; non-finite numbers become `null`."""
    record = {"seq": seq, "t": t, "type": str(kind), **fields}
    try:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        line = json.dumps(finite(record), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return line.encode() + b"\n"


def finite(value: Any) -> Any:
    """The value with every non-finite number replaced by None, so that it is JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def decode(line: bytes | str) -> Event | None:
    """The event of a line, or None where the line is torn or no event."""
    try:
        # Decoded first: json.loads would look for UTF-16 and UTF-32 in every line.
        record = json.loads(line if isinstance(line, str) else line.decode())
        return Event(int(record.pop("seq")), float(record.pop("t")), str(record.pop("type")), record)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


class EventWriter:
    """The single writer of a run directory's `events.jsonl`; safe to call from several threads.

    Opening it again after a crash cuts a torn last line and goes on with the next `seq`.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.next_seq = _repair(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.last_write = clock()

    def write(self, kind: EventType, **fields: Any) -> Event:
        """Append one event with one `write()`."""
        with self._lock:
            event = Event(self.next_seq, round(self._clock(), 6), kind, fields)
            line = encode(event.seq, event.t, kind, fields)
            written = os.write(self._fd, line)
            if written != len(line):  # disk full: leave no torn line behind
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise OSError(28, "no space left for an event")
            self.next_seq += 1
            self.last_write = event.t
            return event

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _repair(path: Path) -> int:
    """Cut what follows the last whole event; return the next `seq`."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        while end:
            start = content.rfind(b"\n", 0, end - 1) + 1
            last = decode(content[start:end])
            if last is not None:
                file.truncate(end)
                return last.seq + 1
            end = start
        file.truncate(0)
    return 0


class EventReader:
    """Reads new whole lines of an `events.jsonl` that another process appends to.

    `offset` is the byte position after the last line returned; keep it to go on later.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def read(self, *, limit_bytes: int = 8 * 1024 * 1024) -> list[Event]:
        """The events appended since the last call; [] where there are none yet."""
        return list(decode_lines(self.read_lines(limit_bytes=limit_bytes)))

    def read_lines(self, *, limit_bytes: int) -> list[bytes]:
        """The same as they stand in the file, about so many bytes of them at most."""
        content = self.read_bytes(limit_bytes=limit_bytes)
        return content.split(b"\n") if content else []

    def read_bytes(self, *, limit_bytes: int) -> bytes:
        """The same in one piece, which ends with a line."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(limit_bytes)
                if len(content) == limit_bytes and b"\n" not in content:
                    content += file.readline()  # one line longer than the limit must not stop us
        except FileNotFoundError:
            return b""
        end = content.rfind(b"\n") + 1
        self.offset += end
        return content[:end]


_BLOCK_BYTES = 1 << 20


def lines_holding(path: Path, words: Sequence[bytes]) -> Iterator[bytes]:
    """The first line of a file and those that hold any of these words, in order; none where it is missing.

    Read block by block: a line that holds none costs nothing, so that a few events are found among millions.
    """
    try:
        with path.open("rb") as file:
            yield file.readline()
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                content = rest + block
                end = content.rfind(b"\n") + 1
                yield from _lines_of(content, end, words)
                rest = content[end:]
            yield from _lines_of(rest, len(rest), words)
    except FileNotFoundError:
        return


def _lines_of(content: bytes, end: int, words: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of the first `end` bytes, which are whole ones, that hold any of the words."""
    nexts = {word: content.find(word, 0, end) for word in words}
    while found := [at for at in nexts.values() if at >= 0]:
        first = min(found)
        start = content.rfind(b"\n", 0, first) + 1
        after = content.find(b"\n", first, end) + 1 or end
        yield content[start:after]
        for word, at in nexts.items():
            if 0 <= at < after:
                nexts[word] = content.find(word, after, end)


def decode_lines(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events among `lines`; anything else is passed over."""
    for line in lines:
        event = decode(line) if line else None
        if event is not None:
            yield event
