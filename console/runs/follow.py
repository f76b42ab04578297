"""Following a run: keep the mirror growing, hand out what is new, tear down when it ends.

Any number of followers may look at one run. One of them, the holder of the mirror's lock, copies;
the others read the copy. When the holder dies, the next one takes over.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from console.api import FollowBatch, RunStatus
from console.fleet.ledger import Entry, Ledger
from console.fleet.locks import FileLock
from console.fleet.providers.base import Provider
from console.rows import transition
from console.runs.launch import remote_directory
from console.runs.mirror import Mirror
from console.runs.registry import RunHandle, instance_of, status_of
from console.runs.teardown import Teardown
from console.runs.transport import Transport
from ups.errors import UpsError
from ups.events import EventReader
from ups.rundir import RunDirectory

_LOG_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows runs of one provider."""

    ledger: Ledger
    provider: Provider
    teardown: Teardown
    locks: Path
    interval_s: float = 0.2
    sleep: Callable[[float], None] = time.sleep

    def follow(self, handle: RunHandle) -> Iterator[FollowBatch]:
        """Batches until the run has ended and, unless it is kept, its instance is gone."""
        cursor = Cursor(self.ledger, handle)
        lock = FileLock(self.locks / f"mirror-{handle.run}.lock")
        mirrors: dict[int, Mirror] = {}
        try:
            status = self.look(handle, lock, mirrors)
            yield cursor.read(status)
            while True:
                status = self.look(handle, lock, mirrors)
                batch = cursor.read(status)
                if batch.events or batch.log or batch.transitions:
                    yield batch
                elif status.ended:
                    break
                else:
                    yield batch  # empty: whoever follows gets a turn to leave
                    self.sleep(self.interval_s)
            yield from self._end(handle, cursor, status)
        finally:
            lock.release()

    def catch_up(self, handle: RunHandle) -> RunStatus:
        """How a run stands now; one that ended while nobody looked is mirrored before it is judged."""
        entry = instance_of(self.ledger, handle.run)
        status = self.status(handle, entry, self.transport_of(entry))
        if status is not RunStatus.LOST:
            return status
        lock = FileLock(self.locks / f"mirror-{handle.run}.lock")
        try:
            return self.look(handle, lock, {})
        finally:
            lock.release()

    def look(self, handle: RunHandle, lock: FileLock, mirrors: dict[int, Mirror]) -> RunStatus:
        """Copy what is new, if the mirror is ours to copy, and say how the run stands.

        Args:
            handle: the run.
            lock: of its mirror; taken when it is free.
            mirrors: attempt → its mirror, kept between looks.
        """
        entry = instance_of(self.ledger, handle.run)
        transport = self.transport_of(entry)
        status = self.status(handle, entry, transport)
        if entry is None or transport is None or not lock.try_acquire():
            return status
        number = entry.attempt or 1
        if number not in mirrors:
            mirrors[number] = Mirror(transport, remote_directory(handle.run, number), handle.attempt(number))
        while mirrors[number].pull():
            pass
        # Once its process is gone a run writes no more: what `done` it left is in the mirror now.
        return self.status(handle, entry, transport) if status.ended else status

    def _end(self, handle: RunHandle, cursor: "Cursor", status: RunStatus) -> Iterator[FollowBatch]:
        entry = instance_of(self.ledger, handle.run)
        if entry is not None and entry.living and not entry.keep:
            for _ in self.teardown.steps(entry, f"run {status}"):
                yield cursor.read(status)
        yield cursor.read(status)

    def transport_of(self, entry: Entry | None) -> Transport | None:
        """The way to the instance, None where there is none any more."""
        if entry is None or not entry.living or entry.provider_id is None:
            return None
        try:
            return self.provider.transport(entry.provider_id)
        except UpsError:
            return None

    def status(self, handle: RunHandle, entry: Entry | None, transport: Transport | None) -> RunStatus:
        """How the run's newest attempt stands."""
        alive: bool | None = None
        if transport is not None and entry is not None:
            alive = transport.process_of(remote_directory(handle.run, entry.attempt or 1)) is not None
        return status_of(handle.latest, entry, process_alive=alive, now=time.time())


class Cursor:
    """What a follower has handed out already, over all attempts."""

    def __init__(self, ledger: Ledger, handle: RunHandle) -> None:
        self._ledger = ledger
        self._handle = handle
        self._readers: dict[Path, EventReader] = {}
        self._log_offsets: dict[Path, int] = {}
        self._transitions: dict[str, int] = {}

    def read(self, status: RunStatus) -> FollowBatch:
        batch = FollowBatch(status)
        for directory in self._handle.attempts():
            reader = self._readers.setdefault(directory.root, EventReader(directory.events_path))
            batch.events.extend(reader.read())
            batch.log += self._read_log(directory)
        for entry in reversed(self._ledger.of_run(self._handle.run)):
            for row in self._ledger.history(entry.label, after=self._transitions.get(entry.label, 0)):
                self._transitions[entry.label] = row.id
                batch.transitions.append(transition(row))
        return batch

    def _read_log(self, directory: RunDirectory) -> bytes:
        offset = self._log_offsets.get(directory.root, 0)
        try:
            with directory.log_path.open("rb") as file:
                file.seek(offset)
                content = file.read(_LOG_CHUNK)
        except FileNotFoundError:
            return b""
        self._log_offsets[directory.root] = offset + len(content)
        return content
