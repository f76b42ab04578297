"""What is new in the files of a run: the events and logs of its attempts, a portion at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from console.runs.event_lines import AnyEvent, EventLines

LAUNCH_LOG = "launch.log"
"""Beside run.log: what was said while the run was launched."""
PORTION = 1 << 19
"""Bytes of events read at once."""
_LOG_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """Where one attempt keeps what a reader wants."""

    events: Path
    logs: tuple[Path, ...]

    @classmethod
    def below(cls, root: Path) -> "AttemptFiles":
        """Of a run directory."""
        return cls(root / "events.jsonl", (root / LAUNCH_LOG, root / "run.log"))


class FilesCursor:
    """What a reader was handed already, over all attempts."""

    def __init__(self) -> None:
        self._readers: dict[Path, EventLines] = {}
        self._log_offsets: dict[Path, int] = {}

    def read(
        self, attempts: Iterable[AttemptFiles], *, limit_bytes: int = PORTION
    ) -> tuple[list[AnyEvent], bytes]:
        """New events and log bytes, in the order of the attempts; about so many bytes of each's events."""
        events: list[AnyEvent] = []
        log = b""
        for attempt in attempts:
            reader = self._readers.setdefault(attempt.events, EventLines(attempt.events))
            events.extend(reader.read(limit_bytes=limit_bytes))
            for path in attempt.logs:
                log += self._read_log(path)
        return events, log

    def offset(self, path: Path) -> int:
        """Bytes of an events or log file that were handed out."""
        reader = self._readers.get(path)
        return reader.offset if reader is not None else self._log_offsets.get(path, 0)

    def _read_log(self, log: Path) -> bytes:
        offset = self._log_offsets.get(log, 0)
        try:
            with log.open("rb") as file:
                file.seek(offset)
                content = file.read(_LOG_CHUNK)
        except FileNotFoundError:
            return b""
        self._log_offsets[log] = offset + len(content)
        return content
