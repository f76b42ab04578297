"""The mirror: a copy of a run directory that grows by byte offset.

The length of the copy is where it resumes, so nothing is lost or doubled over any number of cuts.
The copy of events.jsonl always ends on a line boundary. Everything works alike for a box that is
gone from the network but whose files can still be read.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from console.runs.transport import Transport
from ups.errors import StoreError
from ups.events import Event, EventType, decode_lines
from ups.rundir import RunDirectory

_TAIL = 4096
_CHUNK = 8 * 1024 * 1024


class Mirror:
    """Copies `remote` (a directory on the instance) into `local`."""

    def __init__(self, transport: Transport, remote: str, local: RunDirectory) -> None:
        self._transport = transport
        self._remote = remote
        self.local = local
        self._checkpoints: dict[bool, str] = {}
        """The best checkpoint (True), and the last one where that is not the best."""
        self._fetched_to = 0

    def pull(self) -> bool:
        """Copy what is new; returns whether anything was.

        Raises:
            StoreError: the remote file is not the one that was mirrored, or the disk is full.
        """
        self.local.root.mkdir(parents=True, exist_ok=True)
        grown = self._pull_events()
        grown = self._pull_bytes("run.log", self.local.log_path) or grown
        self._pull_bytes("watchdog.jsonl", self.local.root / "watchdog.jsonl")
        for event in self._new_events():
            self._fetch_for(event)
        self._fetch_checkpoints()
        return grown

    def _pull_events(self) -> bool:
        path = self.local.events_path
        offset = path.stat().st_size if path.exists() else 0
        remote = f"{self._remote}/events.jsonl"
        size = self._transport.size(remote)
        if size is None or size == offset:
            return False
        start = max(0, offset - _TAIL)
        if size < offset or self._transport.read(remote, start, offset - start) != _read(path, start):
            raise StoreError(
                f"the events of {self._remote} are not those that were mirrored",
                hint="another attempt wrote there; `ups-console runs` shows both",
            )
        content = self._transport.read(remote, offset, _CHUNK)
        whole = content[: content.rfind(b"\n") + 1]
        return _append(path, whole)

    def _pull_bytes(self, name: str, path: Path) -> bool:
        offset = path.stat().st_size if path.exists() else 0
        return _append(path, self._transport.read(f"{self._remote}/{name}", offset, _CHUNK))

    def _new_events(self) -> Iterator[Event]:
        content = _read(self.local.events_path, self._fetched_to)
        self._fetched_to += len(content)
        return decode_lines(content.split(b"\n"))

    def _fetch_for(self, event: Event) -> None:
        path = event.fields.get("path")
        if event.type == EventType.ROLLOUT and isinstance(path, str):
            self._fetch(path)
        elif event.type == EventType.CHECKPOINT and isinstance(path, str):
            self._fetch("datasets.json")  # a new attempt has to go on with the same data
            best = bool(event.fields.get("best"))
            self._checkpoints = {True: path} if best else {**self._checkpoints, False: path}
        elif event.type == EventType.DONE or event.type == EventType.PUBLISHED:
            self._fetch("report.json")

    def _fetch_checkpoints(self) -> None:
        """The newest checkpoint and the best one; older ones are pruned here as on the box."""
        wanted = set(self._checkpoints.values())
        for path in wanted:
            self._fetch(path)
        if wanted and self.local.checkpoints.is_dir():
            for entry in self.local.checkpoints.iterdir():
                if not any(_below(path, f"checkpoints/{entry.name}") for path in wanted):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _fetch(self, path: str) -> None:
        """A file or a whole directory below the run directory; missing ones were pruned meanwhile."""
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise StoreError(f"an event names a path outside of its run: {path!r}")
        files = [path] if self._transport.size(f"{self._remote}/{path}") is not None else []
        listed = self._transport.list(f"{self._remote}/{path}") if not files else []
        for name in files or [f"{path}/{file.path}" for file in listed]:
            self._fetch_file(name)

    def _fetch_file(self, name: str) -> None:
        target = self.local.root / name
        remote = f"{self._remote}/{name}"
        size = self._transport.size(remote)
        if size is None or (target.exists() and target.stat().st_size == size and name != "report.json"):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        try:
            with partial.open("wb") as file:
                while chunk := self._transport.read(remote, file.tell(), _CHUNK):
                    file.write(chunk)
            if partial.stat().st_size == self._transport.size(remote):
                partial.replace(target)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            partial.unlink(missing_ok=True)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _append(path: Path, content: bytes) -> bool:
    if not content:
        return False
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    return True
