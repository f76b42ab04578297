"""The mirror: a copy of a run directory that grows by byte offset.

The length of the copy is where it resumes, so nothing is lost or doubled over any number of cuts.
The copy of events.jsonl always ends on a line boundary. Everything works alike for a box that is
gone from the network but whose files can still be read.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from console.errors import UnreachableError
from console.fleet.locks import FileLock
from console.runs.transport import Piece, Span, Transport
from ups.errors import StoreError, UpsError
from ups.events import Event, EventType, decode
from ups.rundir import RunDirectory
from ups.store import file_sha256

_BESIDE_CHECKPOINTS = ("datasets.json", "stages.json")
"""A new attempt goes on with the same data, and with what the stages before have reached."""
_REWRITTEN = ("report.json",)
_TAIL = 4096
_CHUNK = 8 * 1024 * 1024
_SLICE_S = 0.4
"""Large files are fetched for so long at a time: meanwhile events and log do not grow here."""
_SMALLEST_CHUNK = 128 * 1024
_NAMING = re.compile(rb'"type": ?"(?:rollout|checkpoint|done|published)"')
"""What every line of an event that names files holds."""


class Mirror:
    """Copies `remote` (a directory on the instance) into `local`."""

    def __init__(
        self,
        transport: Transport,
        remote: str,
        local: RunDirectory,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        """May be replaced: an instance that comes back may have another address."""
        self._remote = remote
        self.local = local
        self._announced: dict[str, str] = {}
        """Checkpoint → the sha256 of its state.json that its last event told."""
        self._behind = False
        """Whether there are other checkpoints on the box than here."""
        self._begun: dict[str, int] = {}
        """Files that are half here, and their sizes there."""
        self._clock = clock
        self._chunk = 8 * _SMALLEST_CHUNK
        """Bytes that take about half a slice."""
        self._slice_ends = 0.0
        self._fetched_to = 0

    def pull(self) -> bool:
        """Copy what is new; returns whether more is waiting.

        The growing files come in one round trip, some megabytes of each; other files for a part of a second.
        The next pull goes on where this one was, also after a cut.
        Whoever else pulls the same run, in this process or another, has its turn before or after.

        Raises:
            StoreError: the remote file is not the one that was mirrored, or the disk is full.
            UnreachableError: the instance cannot be reached, or not any more.
        """
        self.local.root.mkdir(parents=True, exist_ok=True)
        # A follower and whoever tears down may both be at it: one after the other they double nothing.
        with FileLock(self.local.root.parent / f".{self.local.root.name}.lock"):
            return self._pull()

    def _pull(self) -> bool:
        events = _length(self.local.events_path)
        compared = max(0, events - _TAIL)
        spans = [Span(f"{self._remote}/events.jsonl", compared, events - compared + _CHUNK)]
        for path in self._grown_by_bytes():
            spans.append(Span(f"{self._remote}/{path.name}", _length(path), _CHUNK))
        first, *others = self.transport.pieces(spans)
        self._append_events(first, compared, events)
        for path, piece in zip(self._grown_by_bytes(), others, strict=True):
            _append(path, piece.content)
        try:
            self._slice_ends = self._clock() + _SLICE_S
            self._fetch_what_events_name()
            self._fetch_checkpoints()
        except _SliceOverError:
            return True
        return any(
            piece.size is not None
            and len(piece.content) == span.limit
            and piece.size > span.offset + span.limit
            for span, piece in zip(spans, [first, *others], strict=True)
        )

    def _grown_by_bytes(self) -> tuple[Path, ...]:
        return (self.local.log_path, self.local.root / "watchdog.jsonl")

    def _append_events(self, piece: Piece, compared: int, length: int) -> None:
        path = self.local.events_path
        if piece.size is None:
            return
        known, new = piece.content[: length - compared], piece.content[length - compared :]
        if piece.size < length or known != _read(path, compared, length - compared):
            raise StoreError(
                f"the events of {self._remote} are not those that were mirrored",
                hint="another attempt wrote there; `ups-console runs` shows both",
            )
        if len(new) == _CHUNK and b"\n" not in new:  # one line longer than that must not stop us
            new = self.transport.read(f"{self._remote}/events.jsonl", length)
        _append(path, new[: new.rfind(b"\n") + 1])

    def _fetch_what_events_name(self) -> None:
        """An event counts as seen when its files are here: a cut on the way is made good by the next pull."""
        for end, event in _naming_events(self.local.events_path, self._fetched_to):
            try:
                if event is not None:
                    self._fetch_for(event)
            except (UnreachableError, _SliceOverError):
                raise
            except UpsError:
                self._fetched_to = end
                raise
            self._fetched_to = end

    def _fetch_for(self, event: Event) -> None:
        path = event.fields.get("path")
        if event.type == EventType.ROLLOUT and isinstance(path, str):
            self._fetch(path)
        elif event.type == EventType.CHECKPOINT and isinstance(path, str):
            self._announced[_inside(path)] = str(event.fields.get("sha256"))
            self._behind = True
        elif event.type == EventType.DONE or event.type == EventType.PUBLISHED:
            self._fetch("report.json")

    def _fetch_checkpoints(self) -> None:
        """All that the box keeps: the last one and each stage's best, without which a stage cannot begin.

        What was pruned there goes here only once all of them have come.
        """
        if not self._behind:
            return
        # Read before the checkpoints: what it says that a stage has reached is then among them.
        beside = {name: self.transport.read(f"{self._remote}/{name}", 0) for name in _BESIDE_CHECKPOINTS}
        files = [
            file
            for file in self.transport.list(f"{self._remote}/checkpoints")
            if not file.path.startswith(".")
        ]
        kept = {PurePosixPath(file.path).parts[0] for file in files}
        for name in kept:
            self._forget_earlier(name)
        whole = [self._fetch_file(_inside(f"checkpoints/{file.path}"), file.bytes) for file in files]
        if not files or not all(whole):
            return
        for name, content in beside.items():
            if content:
                _replace(self.local.root / name, content)
        for entry in self.local.checkpoints.iterdir():
            if entry.name not in kept:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._behind = False

    def _forget_earlier(self, name: str) -> None:
        """Remove a checkpoint in whose place, after a restart, another one of that name has been written."""
        path = self.local.checkpoints / name
        told, state = self._announced.get(f"checkpoints/{name}"), path / "state.json"
        if told is not None and state.exists() and file_sha256(state) != told:
            shutil.rmtree(path)

    def _fetch(self, path: str) -> bool:
        """A file or a whole directory below the run directory; missing ones were pruned meanwhile.

        Returns whether all that is there is here.
        """
        size = self.transport.size(f"{self._remote}/{_inside(path)}")
        if size is not None:
            return self._fetch_file(path, size)
        files = self.transport.list(f"{self._remote}/{path}")
        here = [self._fetch_file(f"{path}/{file.path}", file.bytes) for file in files]
        return all(here)

    def _fetch_file(self, name: str, size: int) -> bool:
        target = self.local.root / name
        if target.exists() and target.stat().st_size == size and name not in _REWRITTEN:
            return True
        partial = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("ab" if self._begun.get(name) == size else "wb") as file:
                self._begun[name] = size
                while chunk := self._timed_chunk(name, file.tell()):
                    file.write(chunk)
                    if self._clock() >= self._slice_ends and file.tell() < size:
                        raise _SliceOverError
            del self._begun[name]
            if partial.stat().st_size != size:  # it is being written again
                partial.unlink()
                return False
            partial.replace(target)
        except (UnreachableError, _SliceOverError):
            raise
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error
        except UpsError:
            partial.unlink(missing_ok=True)
            raise
        return True

    def _timed_chunk(self, name: str, offset: int) -> bytes:
        """Bytes of a file there; the next time more or fewer, by how long these took."""
        began = self._clock()
        chunk = self.transport.read(f"{self._remote}/{name}", offset, self._chunk)
        took = self._clock() - began
        if took < _SLICE_S / 4:
            self._chunk = min(2 * self._chunk, _CHUNK)
        elif took > _SLICE_S / 2:
            self._chunk = max(self._chunk // 2, _SMALLEST_CHUNK)
        return chunk


class _SliceOverError(Exception):
    """A file is not whole yet, and it is the turn of others."""


def _naming_events(path: Path, start: int) -> Iterator[tuple[int, Event | None]]:
    """Events from `start` on that name files, each with the offset behind it; None at the end of a stretch.

    Of ten thousand lines few do: the others are not decoded.
    """
    while content := _read(path, start, _CHUNK):
        length = content.rfind(b"\n") + 1
        if not length:
            content = _read(path, start)
            length = content.rfind(b"\n") + 1
            if not length:
                return
        for first, last in _lines_with(content[:length], _NAMING):
            yield start + last, decode(content[first:last])
        start += length
        yield start, None


def _lines_with(content: bytes, word: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    """Where lines lie that hold the word."""
    last = 0
    while found := word.search(content, last):
        last = content.find(b"\n", found.end()) + 1
        yield content.rfind(b"\n", 0, found.start()) + 1, last


def _inside(path: str) -> str:
    """The path itself; raises StoreError where it leads out of the run directory."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise StoreError(f"an event names a path outside of its run: {path!r}")
    return path


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, offset: int, limit: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def _replace(path: Path, content: bytes) -> None:
    """Give a file another content, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


def _append(path: Path, content: bytes) -> None:
    if not content:
        return
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
