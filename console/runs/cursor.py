"""What is new in the files of a run: the events and logs of its attempts, a portion at a time."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from msgspec import Struct, field

from console.runs.ahead import AheadLines
from console.runs.columns import Item

if TYPE_CHECKING:
    from console.runs.event_lines import AnyEvent, EventLines

LAUNCH_LOG = "launch.log"
"""Beside run.log: what was said while the run was launched."""
PORTION = 1 << 19
"""Bytes of events read at once."""
_LOG_CHUNK = 1 << 20


class AttemptFiles(Struct, frozen=True):
    """Where one attempt keeps what a reader wants."""

    events: Path
    logs: tuple[Path, ...]

    @classmethod
    def below(cls, root: Path) -> "AttemptFiles":
        """Of a run directory."""
        return cls(root / "events.jsonl", (root / LAUNCH_LOG, root / "run.log"))


class Portion(Struct, frozen=True):
    """What a look at the files brought."""

    events: "list[AnyEvent]"
    log: bytes
    log_grew: bool
    """A log has changed, whether or not its bytes are handed out."""
    more: bool = False
    """Events wait that did not fit."""
    items: list[Item] = field(default_factory=list)
    """In place of `events`: what another process has read."""


class FilesCursor:
    """What a reader was handed already, over all attempts."""

    def __init__(self, *, log: bool = True, ahead: bool = False) -> None:
        """Args:
        log: hand out what is in the logs; else only that they grew.
        ahead: have long files read by another process, until `close`; their metrics come in columns.
        """
        self._hands_out_log = log
        self._ahead = ahead
        self._readers: dict[Path, EventLines | AheadLines] = {}
        self._log_offsets: dict[Path, int] = {}

    def read(self, attempts: Iterable[AttemptFiles], *, limit_bytes: int = PORTION) -> Portion:
        """What is new, in the order of the attempts; about so many bytes of each's events.

        An attempt is read once all of the one before it is.
        """
        events: list[AnyEvent] = []
        items: list[Item] = []
        log, log_grew, more = b"", False, False
        for attempt in attempts:
            if not more:
                reader = self.reader(attempt.events)
                before = reader.offset
                if _is_ahead(reader) and not events:  # else they come first
                    items = reader.take()
                if not _is_ahead(reader):
                    events.extend(reader.read(limit_bytes=limit_bytes))
                more = _is_ahead(reader) or reader.offset - before > limit_bytes // 2
            for path in attempt.logs:
                content, grew = self._read_log(path) if self._hands_out_log else (b"", self._grew(path))
                log, log_grew = log + content, log_grew or grew
        return Portion(events, log, log_grew, more, items)

    def reader(self, events: Path) -> "EventLines | AheadLines":
        """What reads an events file; begins to, where that is done ahead."""
        if events not in self._readers:
            if self._ahead:
                self._readers[events] = AheadLines(events)
            else:
                from console.runs.event_lines import EventLines

                self._readers[events] = EventLines(events)
        return self._readers[events]

    def close(self) -> None:
        """Have nothing read ahead any more."""
        for reader in self._readers.values():
            if isinstance(reader, AheadLines):
                reader.close()

    def offset(self, path: Path) -> int:
        """Bytes of an events or log file that were handed out, or seen."""
        reader = self._readers.get(path)
        return reader.offset if reader is not None else self._log_offsets.get(path, 0)

    def _grew(self, log: Path) -> bool:
        try:
            size = log.stat().st_size
        except FileNotFoundError:
            return False
        before, self._log_offsets[log] = self._log_offsets.get(log, 0), size
        return size != before

    def _read_log(self, log: Path) -> tuple[bytes, bool]:
        offset = self._log_offsets.get(log, 0)
        try:
            with log.open("rb") as file:
                file.seek(offset)
                content = file.read(_LOG_CHUNK)
        except FileNotFoundError:
            return b"", False
        self._log_offsets[log] = offset + len(content)
        return content, bool(content)


def _is_ahead(reader: "EventLines | AheadLines") -> TypeGuard[AheadLines]:
    return isinstance(reader, AheadLines) and reader.is_ahead
