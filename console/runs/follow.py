"""Following a run: keep the mirror growing, hand out what is new, tear down when it ends.

Any number of followers may look at one run. One of them, the holder of the mirror's lock, copies;
the others read the copy. When the holder dies, the next one takes over.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from console.api import FollowBatch, RunStatus
from console.errors import UnreachableError
from console.fleet.ledger import Entry, Ledger
from console.fleet.locks import FileLock, is_locked
from console.fleet.providers.base import Provider
from console.rows import transition
from console.runs.cursor import AttemptFiles, FilesCursor
from console.runs.event_lines import last_event
from console.runs.launch import launch_lock, remote_directory, rent_options
from console.runs.mirror import Mirror
from console.runs.registry import RunHandle, instance_of, status_of
from console.runs.teardown import Teardown
from console.runs.transport import Transport
from ups.errors import UpsError
from ups.events import LOST_AFTER_SECONDS

UNREACHABLE_PATIENCE_S = 3600.0
"""A box that nobody can reach is given up after so long without a sign of life."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows runs of one provider."""

    ledger: Ledger
    provider: Provider
    teardown: Teardown
    locks: Path
    interval_s: float = 0.2
    sleep: Callable[[float], None] = time.sleep

    def follow(self, handle: RunHandle, *, log: bool = True) -> Iterator[FollowBatch]:
        """Batches until the run has ended and, unless it is kept, its instance is gone.

        Args:
            handle: the run.
            log: hand out the log's bytes; else only that there are more, and what there was already as
                `items`.
        """
        cursor = Cursor(self.ledger, handle, log=log)
        lock = FileLock(self.locks / f"mirror-{handle.run}.lock")
        mirrors: dict[int, Mirror] = {}
        try:
            status = self.look(handle, lock, mirrors)
            yield cursor.read(status)
            while True:
                status = self.look(handle, lock, mirrors)
                batch = cursor.read(status)
                if batch.count or batch.log or batch.transitions:
                    yield batch
                elif status.ended and not batch.log_grew:
                    break
                else:
                    yield batch  # even if empty: whoever follows gets a turn to leave
                    self.sleep(self.interval_s)
            yield from self._end(handle, cursor, status)
        finally:
            cursor.close()
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

    def is_over(self, handle: RunHandle, *, patience_s: float = UNREACHABLE_PATIENCE_S) -> bool:
        """Whether a run has ended for certain, or gave no sign of life for `patience_s` seconds.

        A box that cannot be reached for a while may be at work all the same: that is no end.
        """
        entry = instance_of(self.ledger, handle.run)
        try:
            status = self.catch_up(handle)
            if status is not RunStatus.LOST:
                return status.ended
            transport = self.transport_of(entry)
            if transport is not None and entry is not None:
                return transport.process_of(remote_directory(handle.run, entry.attempt or 1)) is None
        except UpsError:
            pass
        if entry is None:
            return True
        event = last_event(handle.latest.events_path)
        sign = max(entry.changed, event.t if event is not None else 0.0)
        return self.ledger.now() - sign >= patience_s

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
        mirrors[number].transport = transport
        try:
            while mirrors[number].pull() and status.ended:
                pass  # while a run goes on, what is waiting comes with the next look
        except UnreachableError:  # what is missing comes with a later look
            return status
        # Once its process is gone a run writes no more: what `done` it left is in the mirror now.
        return self.status(handle, entry, transport) if status.ended else status

    def _end(self, handle: RunHandle, cursor: "Cursor", status: RunStatus) -> Iterator[FollowBatch]:
        entry = instance_of(self.ledger, handle.run)
        if entry is None or not entry.living:
            yield cursor.read(status)
            return
        hold_s = rent_options(handle, entry).hold_on_failure_s
        if hold_s and status in (RunStatus.FAILED, RunStatus.LOST) and entry.keep_until is None:
            self.ledger.hold(entry.label, self.ledger.now() + hold_s)  # the guard ends it then
        elif not entry.kept(self.ledger.now()):
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
            with contextlib.suppress(UnreachableError):
                alive = transport.process_of(remote_directory(handle.run, entry.attempt or 1)) is not None
        rented = self.provider.capabilities.rented
        return status_of(
            handle.latest,
            entry,
            process_alive=alive,
            now=time.time(),
            launching=is_locked(launch_lock(self.locks, handle.run)),
            patience_s=UNREACHABLE_PATIENCE_S if rented else LOST_AFTER_SECONDS,
        )


class Cursor:
    """What a follower has handed out already, over all attempts."""

    def __init__(self, ledger: Ledger, handle: RunHandle, *, log: bool = True) -> None:
        self._ledger = ledger
        self._handle = handle
        self._files = FilesCursor(log=log, ahead=not log)
        self._transitions: dict[str, int] = {}

    def close(self) -> None:
        """Have nothing read ahead any more."""
        self._files.close()

    def read(self, status: RunStatus) -> FollowBatch:
        attempts = [AttemptFiles.below(directory.root) for directory in self._handle.attempts()]
        found = self._files.read(attempts)
        batch = FollowBatch(status, found.events, found.log, log_grew=found.log_grew, items=found.items)
        if found.more:  # the ledger is asked once they are read, not for every portion
            return batch
        for entry in reversed(self._ledger.of_run(self._handle.run)):
            for row in self._ledger.history(entry.label, after=self._transitions.get(entry.label, 0)):
                self._transitions[entry.label] = row.id
                batch.transitions.append(transition(row))
        return batch
