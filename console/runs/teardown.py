"""Teardown: artifacts first, then the instance, then its absence; each step visible.

It works when the box can no longer be reached: the sync is skipped with a word on what is lost.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from console.api import TeardownStep
from console.errors import TeardownNotVerifiedError
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import ABSENCE_TIMEOUT_S, destroy
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import RemoteInstance
from console.fleet.providers.base import Provider
from console.fleet.reconcile import ABSENCE_INTERVAL_S
from console.runs.artifacts import publish
from console.runs.launch import remote_directory
from console.runs.mirror import Mirror
from console.runs.registry import Registry
from console.runs.transport import Transport
from ups.errors import UpsError
from ups.store import ObjectStore

STOP_PATIENCE_S = 45.0
"""A run that is told to stop may take so long to write its checkpoint and publish."""
FETCH_PATIENCE_S = 900.0
"""Fetching what a box still has may take so long; it costs money meanwhile."""
_LOG_BYTES = 64 * 1024 * 1024
"""Of the log of a box that has nothing else."""


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
        lock = FileLock(lock_path(self.locks, entry.label))
        if not lock.try_acquire():
            self.ledger.ask_to_end(entry.label, cause)
            yield TeardownStep("sync", "somebody is at work on it: asked to end, and waiting")
        with lock:
            entry = self.ledger.entry(entry.label)
            beside = self._beside(entry)
            if entry.living:
                yield from self.save(entry)
            for text in destroy(self.ledger, self.provider, entry, cause=cause):
                yield TeardownStep("destroy" if text.startswith("destroy") else "verify", text)
        yield TeardownStep("destroyed", f"{entry.provider_id or entry.label} is gone", done=not beside)
        for number, other in enumerate(beside, start=1):
            for step in self.steps(other, cause):
                yield replace(step, done=step.done and number == len(beside))

    def _beside(self, entry: Entry) -> list[Entry]:
        """The boxes that work for the first one of an attempt, and have no purpose without it."""
        if entry.run is None or entry.box:
            return []
        others = (other for other in self.ledger.of_run(entry.run) if other.attempt == entry.attempt)
        return [other for other in others if other.box and other.living]

    def save(self, entry: Entry) -> Iterator[TeardownStep]:
        """Stop the run of an instance, fetch what it has and publish that, as far as it goes."""
        if entry.run is None or entry.attempt is None:
            return
        try:
            local = self.registry.find(entry.run).attempt(entry.attempt)
        except UpsError as error:
            yield TeardownStep("sync", f"! nothing is fetched: {error.message}")
            return
        try:
            if entry.provider_id is None:
                return
            transport = self.provider.transport(entry.provider_id)
            remote = remote_directory(entry.run, entry.attempt)
            if entry.box:  # the first box has the run directory; here is a log
                log = transport.read(f"{remote}/run.log", 0, _LOG_BYTES)
                (local.root / f"box-{entry.box}.log").write_bytes(log)
                return
            yield from _stop_run(transport, remote)
            mirror = Mirror(transport, remote, local)
            until = time.monotonic() + FETCH_PATIENCE_S
            while mirror.pull():
                if time.monotonic() > until:
                    yield TeardownStep("sync", "! fetching takes too long: the rest is lost")
                    break
        except UpsError as error:
            yield TeardownStep("sync", f"! not everything could be fetched: {error.message}")
        try:
            count, size = publish(self.store(), local, f"runs/{entry.run}/attempt-{entry.attempt}")
            yield TeardownStep("sync", f"artifacts are in the store: {count} files, {size / 1e6:.1f} MB")
        except UpsError as error:
            yield TeardownStep("sync", f"! the store failed, artifacts stay in {local.root}: {error.message}")


def destroy_orphan(
    provider: Provider, remote: RemoteInstance, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[TeardownStep]:
    """Destroy an instance that the ledger does not know, and see that it is gone.

    Raises:
        TeardownNotVerifiedError: it may still exist, and still cost money.
    """
    pace = provider.capabilities.pace
    interval = 0.2 if provider.capabilities.immediate_list else ABSENCE_INTERVAL_S * pace
    problem, absent, waited = "", 0, 0.0
    while waited <= ABSENCE_TIMEOUT_S * pace:
        try:
            if absent == 0:
                provider.destroy(remote.id)
                yield TeardownStep("destroy", f"destroy sent to {remote.id}")
            listed = any(row.id == remote.id for row in provider.list())
            absent = 0 if listed or provider.get(remote.id) is not None else absent + 1
            problem = "it is still listed"
        except UpsError as error:
            problem = error.message
        if absent >= (1 if provider.capabilities.immediate_list else 2):
            yield TeardownStep("destroyed", f"{remote.id} is gone", done=True)
            return
        yield TeardownStep("verify", f"waiting until {provider.name} no longer has {remote.id}")
        sleep(interval)
        waited += interval
    raise TeardownNotVerifiedError(
        f"{remote.id} was told to go; {problem}",
        hint="destroy it again, or in the provider's own console",
    )


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
