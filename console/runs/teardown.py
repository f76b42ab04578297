"""Teardown: artifacts first, then the instance, then its absence; each step visible.

It works when the box can no longer be reached: the sync is skipped with a word on what is lost.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from console.api import TeardownStep
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import destroy, lock_path
from console.fleet.locks import FileLock
from console.fleet.model import InstanceState
from console.fleet.providers.base import Provider
from console.runs.launch import remote_directory
from console.runs.mirror import Mirror
from console.runs.registry import Registry
from console.runs.transport import Transport
from ups.errors import UpsError
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256

STOP_PATIENCE_S = 45.0
"""A run that is told to stop may take so long to write its checkpoint and publish."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """Takes instances of one provider down."""

    ledger: Ledger
    registry: Registry
    provider: Provider
    locks: Path
    store: Callable[[], ObjectStore]

    def steps(self, entry: Entry, cause: str) -> Iterator[TeardownStep]:
        """Sync, destroy, verify. Two actors cannot take the same instance down: the second waits.

        Raises:
            TeardownNotVerifiedError: the instance may still exist.
        """
        yield TeardownStep("sync", f"tearing down {entry.provider_id or entry.label}")
        with FileLock(lock_path(self.locks, entry.label)):
            entry = self.ledger.entry(entry.label)
            if entry.state is not InstanceState.DESTROYED and entry.run and entry.attempt:
                yield from self._sync(entry)
            for text in destroy(self.ledger, self.provider, entry, cause=cause):
                yield TeardownStep("destroy" if text.startswith("destroy") else "verify", text)
        yield TeardownStep("destroyed", f"{entry.provider_id or entry.label} is gone", done=True)

    def _sync(self, entry: Entry) -> Iterator[TeardownStep]:
        assert entry.run is not None
        assert entry.attempt is not None
        local = self.registry.find(entry.run).attempt(entry.attempt)
        try:
            if entry.provider_id is None:
                return
            transport = self.provider.transport(entry.provider_id)
            remote = remote_directory(entry.run, entry.attempt)
            yield from _stop_run(transport, remote)
            mirror = Mirror(transport, remote, local)
            while mirror.pull():
                pass
        except UpsError as error:
            yield TeardownStep("sync", f"! not everything could be fetched: {error.message}")
        try:
            count, size = publish(self.store(), local, f"runs/{entry.run}/attempt-{entry.attempt}")
            yield TeardownStep("sync", f"artifacts are in the store: {count} files, {size / 1e6:.1f} MB")
        except UpsError as error:
            yield TeardownStep("sync", f"! the store failed, artifacts stay in {local.root}: {error.message}")


def _stop_run(transport: Transport, remote: str) -> Iterator[TeardownStep]:
    if not transport.terminate(remote):
        return
    yield TeardownStep("sync", "the run was told to stop and saves its checkpoint")
    until = time.monotonic() + STOP_PATIENCE_S
    while transport.process_of(remote) is not None:
        if time.monotonic() > until:
            yield TeardownStep("sync", "! it does not stop by itself: its last epoch is lost")
            return
        time.sleep(0.1)


def publish(store: ObjectStore, local: RunDirectory, prefix: str) -> tuple[int, int]:
    """Bring the store's copy of a run directory up to date; returns (files, bytes) it then has.

    The box publishes by itself; this covers what it could not, and costs nothing where it did.
    """
    present = {info.key: info for info in store.list(f"{prefix}/")}
    count = total = 0
    for path in sorted(local.root.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        key = f"{prefix}/{path.relative_to(local.root).as_posix()}"
        size = path.stat().st_size
        there = present.get(key)
        copy = store.local_path(key) if there is not None and there.bytes == size else None
        if copy is None or file_sha256(copy) != file_sha256(path):
            store.upload(path, key)
        count, total = count + 1, total + size
    return count, total
