"""A finished run played again, from its events alone: each comes when it came, at any speed.

Silences are shortened. Nothing is written, and nobody is asked for anything.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from console.api import FollowBatch, RunStatus
from console.runs.cursor import AttemptFiles
from console.runs.event_lines import AnyEvent, EventLines
from ups.errors import DataError
from ups.events import HEARTBEAT_SECONDS, EventReader, EventType, decode

LONGEST_SILENCE_S = HEARTBEAT_SECONDS + 5.0
"""Of a run that lives something comes more often; a longer silence is no part of it."""
SPEEDS = (1.0, 10.0, 60.0, 600.0, math.inf)
_LOOK_S = 0.1
_MOST = 2000
"""Events in one batch."""
_ENDS = {status.value: status for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.STOPPED)}


class ReplayClock:
    """A position in a recording, in seconds of it, which moves by itself. May be shared by threads."""

    def __init__(self, speed: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            speed: seconds of the run in a second; infinite is as fast as it can be read.
            now: seconds, which never go backwards.
        """
        self._now = now
        self._speed = speed
        self._paused = False
        self._from, self._at = 0.0, 0.0
        """Position, and the time at which it was there."""
        self.duration_s: float | None = None
        """Of the recording; None until that was read. The clock stands until then."""
        self.reached = 0.0
        """Position of the last event that was handed out."""

    def start(self, duration_s: float) -> None:
        """Begin to move, unless it does already."""
        if self.duration_s is None:
            self._at = self._now()
        self.duration_s = duration_s

    @property
    def position(self) -> float:
        """Events up to here are due; inclusive."""
        if self.duration_s is None:
            return -1.0
        if self._paused:
            return self._from
        if math.isinf(self._speed):
            return self.duration_s
        return min(self.duration_s, self._from + (self._now() - self._at) * self._speed)

    @property
    def share(self) -> float:
        """How much of the run was shown, 0 to 1."""
        if not self.duration_s:
            return 1.0 if self.duration_s == 0.0 else 0.0
        return max(0.0, min(1.0, self._shown / self.duration_s))

    @property
    def _shown(self) -> float:
        return self.reached if math.isinf(self._speed) and not self._paused else self.position

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Go on from here at another speed."""
        self._stand_at(self._shown)
        self._speed = speed

    @property
    def is_paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        """Stand still."""
        self._stand_at(self._shown)
        self._paused = True

    def go_on(self) -> None:
        """Move again."""
        self._stand_at(self._from if self._paused else self._shown)
        self._paused = False

    def seek(self, position: float) -> bool:
        """Go to a position inside the recording; True where events were handed out that lie behind it.

        Those have to be taken back: whoever shows them begins anew.
        """
        position = max(0.0, min(position, self.duration_s or 0.0))
        self._stand_at(position)
        return position < self.reached

    def seek_by(self, share: float) -> bool:
        """The same by a share of the recording, forwards or, below 0, backwards."""
        return self.seek(self._shown + share * (self.duration_s or 0.0))

    def _stand_at(self, position: float) -> None:
        self._from, self._at = max(0.0, position), self._now()


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of a run, each with its position: the seconds from the first one, silences shortened."""

    attempts: Sequence[AttemptFiles]

    def stamped(self) -> Iterator[tuple[float, AnyEvent]]:
        """(position, event) in order; positions never fall."""
        place = _Place()
        for attempt in self.attempts:
            reader, offset = EventLines(attempt.events), -1
            while reader.offset > offset:
                offset = reader.offset
                for event in reader.read():
                    yield place.of(event.t), event

    def duration_s(self) -> float:
        """Position of the last event; all are read, and only their times.

        Raises:
            DataError: there is none.
        """
        place, found = _Place(), False
        for attempt in self.attempts:
            reader, offset = EventReader(attempt.events), -1
            while reader.offset > offset:
                offset = reader.offset
                for t in _times(reader.read_lines(limit_bytes=2 << 20)):
                    place.of(t)
                    found = True
        if not found:
            raise DataError("there is no event to replay")
        return place.position


class _Place:
    """Adds up the time between events."""

    def __init__(self) -> None:
        self.position = 0.0
        self._last: float | None = None

    def of(self, t: float) -> float:
        """Position of the next event; one that is dated before the last comes with it."""
        if self._last is not None:
            self.position += max(0.0, min(t - self._last, LONGEST_SILENCE_S))
        self._last = t
        return self.position


class _Timed(msgspec.Struct, gc=False):
    """What has to be known of an event to place it: that it is one, and when it was."""

    seq: int
    t: float
    type: str


_decoder = msgspec.json.Decoder(_Timed)


def _times(lines: Sequence[bytes]) -> Iterator[float]:
    for line in lines:
        if not line:
            continue
        try:
            yield _decoder.decode(line).t
        except (msgspec.DecodeError, ValueError):
            event = decode(line)
            if event is not None:
                yield event.t


class Replay:
    """A recorded run as something that Live can show. Each call of `batches` begins at the first event."""

    def __init__(
        self,
        run: str,
        attempts: Sequence[AttemptFiles],
        clock: ReplayClock,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            run: what it is called.
            attempts: its files, in order.
            clock: says which events are due.
            sleep: waits for so many seconds.
        """
        self.run = run
        self.clock = clock
        self.recording = Recording(attempts)
        self._sleep = sleep

    def directories(self) -> list[Path]:
        """Where its files are, attempt by attempt."""
        return [attempt.events.parent for attempt in self.recording.attempts]

    def batches(self, is_cancelled: Callable[[], bool]) -> Iterator[FollowBatch]:
        """Events as they are due, each once and in order; empty where none is; until the last.

        Raises:
            DataError: there is no event.
        """
        if self.clock.duration_s is None:
            self.clock.start(self.recording.duration_s())
        stamped = self.recording.stamped()
        self.clock.reached, status = 0.0, RunStatus.RUNNING
        following = next(stamped, None)
        while following is not None and not is_cancelled():
            due = self.clock.position
            events: list[AnyEvent] = []
            while following is not None and following[0] <= due and len(events) < _MOST:
                reached, event = following
                events.append(event)
                status = _status_after(event)
                following = next(stamped, None)
            if events and not is_cancelled():
                self.clock.reached = reached
            if following is None and status is RunStatus.RUNNING:
                status = RunStatus.LOST
            yield FollowBatch(status, events)
            if following is not None and len(events) < _MOST:
                self._sleep(_LOOK_S)


def _status_after(event: AnyEvent) -> RunStatus:
    if event.type != EventType.DONE:
        return RunStatus.RUNNING
    return _ENDS.get(str(event.fields.get("status")), RunStatus.FAILED)
