"""A run directory that lies anywhere, such as one that somebody sent: read and followed, never changed.

Neither a home nor run.yaml is needed: the events say it all.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from console.follow_api import FollowBatch, RunStatus
from console.runs.cursor import PORTION, AttemptFiles, FilesCursor, Portion
from ups.errors import DataError, NotFoundError
from ups.events import LOST_AFTER_SECONDS, EventType, decode

EVENTS_NAME = "events.jsonl"
_FIRST_PORTION = 128 << 10
"""Small, so that the first chart comes soon; each portion after it is twice as large."""
_LONGEST_LINE = 64 << 20
_LINGER_S = 4.0
"""A reader goes on looking for so long after something new came."""
_LOOK_S = 0.25
_ENDS = {status.value: status for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.STOPPED)}


def find_attempts(path: Path) -> list[AttemptFiles]:
    """The attempts at `path`: an events file, a run directory, or a directory of attempts.

    Raises:
        NotFoundError: there is nothing at `path`.
        DataError: it is no run, cannot be read, or holds no event.
    """
    try:
        if not path.exists():
            raise NotFoundError(
                f"there is nothing at {path}", hint="name a run directory or its events.jsonl"
            )
        found = _found(path)
        for attempt in found:
            _check(attempt.events)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return found


def _found(path: Path) -> list[AttemptFiles]:
    if path.is_file():
        return [AttemptFiles(path, AttemptFiles.below(path.parent).logs if path.name == EVENTS_NAME else ())]
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a directory")
    if (path / EVENTS_NAME).is_file():
        return [AttemptFiles.below(path)]
    numbered = {child: child.name.removeprefix("attempt-") for child in path.glob("attempt-*")}
    attempts = sorted((child for child, number in numbered.items()
                       if number.isdigit() and (child / EVENTS_NAME).is_file()),
                      key=lambda child: int(numbered[child]))  # fmt: skip
    if attempts:
        return [AttemptFiles.below(child) for child in attempts]
    raise DataError(f"{path} is no run directory: no {EVENTS_NAME} is in it, or in an attempt-N below it",
                    hint="name the directory that holds events.jsonl, or that file")  # fmt: skip


def _check(events: Path) -> None:
    """Raises DataError where no whole event is among the first lines of a file."""
    with events.open("rb") as file:
        content = file.read(_FIRST_PORTION)
        if not content:
            raise DataError(f"{events} is empty: no event was written yet",
                            hint="open it again when the run has begun")  # fmt: skip
        while b"\n" not in content:
            more = file.read(PORTION)
            content += more
            if len(content) > _LONGEST_LINE:
                raise DataError(f"{events} holds no events: its first line is longer than "
                                f"{_LONGEST_LINE >> 20} MiB")  # fmt: skip
            if not more:
                raise DataError(f"{events} holds no whole event: its only line is torn",
                                hint="open it again when the run has written more")  # fmt: skip
        lines = content.split(b"\n")[:-1]
        # A damaged beginning must not hide the events behind it.
        whole = _any_event(lines) or _any_event(file.read(PORTION).split(b"\n"))
    if not whole:
        hint = "an events file has one JSON object a line, with seq, t and type"
        if lines and lines[0].lstrip().startswith(b"{"):
            hint += "; a newer ups-console may have written this one"
        raise DataError(f"{events} holds no events", hint=hint)


def _any_event(lines: Sequence[bytes]) -> bool:
    return any(decode(line) is not None for line in lines if line)


class OpenedRun:
    """A run at some path, as something that Live can show. One reader at a time."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises what `find_attempts` raises."""
        self.path = path.absolute()
        self.run = name_of(self.path)
        self._attempts = find_attempts(self.path)
        self._cursor = FilesCursor(log=False, ahead=True)
        self._now, self._sleep = now, sleep
        self._portion = _FIRST_PORTION

    def directories(self) -> list[Path]:
        """Where its files are, attempt by attempt."""
        return [attempt.events.parent for attempt in self._attempts]

    def logs(self) -> list[Path]:
        """Its logs, in the order in which they were written."""
        return [path for attempt in self._attempts for path in attempt.logs]

    def read_ahead(self) -> None:
        """Have another process begin to read, before anybody asks for it; where there is much to be read."""
        self._cursor.reader(self._attempts[0].events)

    def close(self) -> None:
        """Have nothing read ahead any more."""
        self._cursor.close()

    def has_more(self) -> bool:
        """Whether something was written that was not handed out; looks, and reads nothing."""
        return any(_size(path) > self._cursor.offset(path) for path in self._files())

    def batches(self, is_cancelled: Callable[[], bool]) -> Iterator[FollowBatch]:
        """What is new, portion by portion, until nothing has come for a few seconds.

        Raises:
            DataError: the file became shorter: it is another one now.
        """
        quiet_s, paused = 0.0, False
        while not is_cancelled():
            self._check_grown()
            before = self._read_bytes
            batch = self._read()
            yield batch
            came = self._read_bytes > before
            if came:
                quiet_s = 0.0
            elif batch.status.ended or quiet_s >= _LINGER_S:
                return
            # What there was is read in one go up to a look that finds nothing, which tells that it is all.
            paused = not came or (paused and not self.has_more())
            if paused:
                self._sleep(_LOOK_S)
                quiet_s += _LOOK_S

    @property
    def _read_bytes(self) -> int:
        return sum(map(self._cursor.offset, self._files()))

    def _read(self) -> FollowBatch:
        if self.has_more():
            found = self._cursor.read(self._attempts, limit_bytes=self._portion)
            self._portion = min(2 * self._portion, PORTION)
        else:
            found = Portion([], b"", log_grew=False)
        return FollowBatch(self._status(), found.events, log_grew=found.log_grew, items=found.items)

    def _status(self) -> RunStatus:
        """As its end tells; without an end by when it was last written."""
        events = self._attempts[-1].events
        last = None
        if not self._portion_waits(events):
            from console.runs.event_lines import last_event  # late: what decodes lines is not needed sooner

            last = last_event(events)
        if last is not None and last.type == EventType.DONE:
            return _ENDS.get(str(last.fields.get("status")), RunStatus.FAILED)
        try:
            age_s = self._now() - events.stat().st_mtime
        except OSError:
            return RunStatus.LOST
        return RunStatus.RUNNING if age_s < LOST_AFTER_SECONDS else RunStatus.LOST

    def _portion_waits(self, events: Path) -> bool:
        return _size(events) - self._cursor.offset(events) > PORTION

    def _files(self) -> Sequence[Path]:
        return [path for attempt in self._attempts for path in (attempt.events, *attempt.logs)]

    def _check_grown(self) -> None:
        for attempt in self._attempts:
            if _size(attempt.events) < self._cursor.offset(attempt.events):
                raise DataError(f"{attempt.events} was cut or replaced", hint="open it again")


def name_of(path: Path) -> str:
    """What people would call it: the run's id where it lies as in a home, else the directory's name."""
    folder = path.parent if path.is_file() and path.name == EVENTS_NAME else path
    folder = folder.parent if folder.name.startswith("attempt-") else folder
    return "".join(char if char.isprintable() else "�" for char in folder.name or str(path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
