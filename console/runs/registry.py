"""The runs below the home: where each keeps its attempts, and how it stands.

runs/{run}/attempt-{n}/    the mirror of a run directory
runs/{run}/note.txt        the user's note
runs/{run}/sweep.json      what it was launched together with
"""

import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.api import RunStatus
from console.fleet.ledger import Entry, Ledger
from console.fleet.model import InstanceState
from console.runs.event_lines import last_event, newest_events
from ups.errors import NotFoundError, StoreError
from ups.events import LOST_AFTER_SECONDS, EventReader, EventType, PhaseState
from ups.rundir import RunDirectory

_DONE = {status.value: status for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.STOPPED)}
_BEFORE_RUNNING = (
    InstanceState.INTENDED,
    InstanceState.REQUESTED,
    InstanceState.AMBIGUOUS,
    InstanceState.STARTING,
    InstanceState.REACHABLE,
)
_STARTUP_S = 120.0
"""A run that wrote nothing for so long, and that nobody is launching any more, is lost."""


@dataclass(frozen=True, slots=True)
class RunHandle:
    """A run and its attempts on this console."""

    run: str
    root: Path

    def attempts(self) -> list[RunDirectory]:
        """The mirrored attempts in order; at least one."""
        found = sorted(self.root.glob("attempt-*"), key=lambda path: int(path.name.removeprefix("attempt-")))
        return [RunDirectory(path) for path in found]

    def attempt(self, number: int) -> RunDirectory:
        return RunDirectory(self.root / f"attempt-{number}")

    @property
    def latest(self) -> RunDirectory:
        return self.attempts()[-1]

    def has_finished(self, phase: str) -> bool:
        """Whether some attempt has, as far as it was mirrored."""
        for directory in self.attempts():
            reader = EventReader(directory.events_path)
            while events := reader.read():
                told = (event.fields for event in events if event.type == EventType.PHASE)
                if any(f.get("phase") == phase and f.get("state") == PhaseState.FINISHED for f in told):
                    return True
        return False

    @property
    def note_path(self) -> Path:
        return self.root / "note.txt"


class Registry:
    """Finds runs by id, or by an unambiguous beginning of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self) -> None:
        """Raises StoreError where no run could be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise _not_writable(self.root, error) from error

    def new(self) -> RunHandle:
        """A run id that sorts by time and is short enough to type; its directory makes it ours.

        Raises:
            StoreError: the directory cannot be made.
        """
        while True:
            run = f"{time.strftime('%m%d')}-{secrets.token_hex(2)}"
            try:
                (self.root / run).mkdir(parents=True)
            except FileExistsError:  # of another launch, perhaps one at this very moment
                continue
            except OSError as error:
                raise _not_writable(self.root, error) from error
            return RunHandle(run, self.root / run)

    def all(self) -> list[RunHandle]:
        """All runs, the newest first."""
        if not self.root.is_dir():
            return []
        found = [path for path in self.root.iterdir() if (path / "attempt-1" / "run.yaml").exists()]
        found.sort(key=lambda path: (path / "attempt-1" / "run.yaml").stat().st_mtime, reverse=True)
        return [RunHandle(path.name, path) for path in found]

    def last_sign(self, run: str, attempt: int) -> float | None:
        """Unix seconds of the newest mirrored event of an attempt."""
        event = last_event(self.root / run / f"attempt-{attempt}" / "events.jsonl")
        return event.t if event else None

    def last_system(self, run: str, attempt: int) -> Mapping[str, Any] | None:
        """Fields of the newest mirrored `system` event of an attempt, None where its end holds none."""
        path = self.root / run / f"attempt-{attempt}" / "events.jsonl"
        found = (event.fields for event in newest_events(path) if event.type == EventType.SYSTEM)
        return next(found, None)

    def find(self, name: str) -> RunHandle:
        """Raises NotFoundError where no run, or more than one, has that id or beginning."""
        handles = self.all()
        if name in ("last", "latest") and handles:
            return handles[0]
        matching = [handle for handle in handles if handle.run == name] or [
            handle for handle in handles if handle.run.startswith(name) and name
        ]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise NotFoundError(f"{name!r} could be any of {', '.join(h.run for h in matching)}")
        raise NotFoundError(f"there is no run {name!r}", hint="`ups-console runs` lists them")


def _not_writable(root: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the home may not be written: {root}: {error.strerror or error}",
        hint="set UPS_HOME to a directory with space that you may write",
    )


def status_of(
    directory: RunDirectory,
    entry: Entry | None,
    *,
    process_alive: bool | None,
    now: float,
    launching: bool = False,
    patience_s: float = LOST_AFTER_SECONDS,
) -> RunStatus:
    """How an attempt stands. Only a `done` event makes a success.

    Args:
        directory: the mirror.
        entry: its instance in the ledger, None where it is not known here.
        process_alive: whether the run's process lives; None where that cannot be seen.
        now: Unix seconds.
        launching: somebody is renting, shipping or starting it right now.
        patience_s: how long nothing may be heard of it where its process cannot be seen.
    """
    event = last_event(directory.events_path)
    if event is not None and event.type == EventType.DONE:
        return _DONE.get(str(event.fields.get("status")), RunStatus.FAILED)
    if launching:
        return RunStatus.PENDING
    if event is None and entry is not None and entry.state in _BEFORE_RUNNING:
        return RunStatus.PENDING if now - entry.created < _STARTUP_S else RunStatus.LOST
    if entry is None or not entry.living:
        refused = entry is not None and entry.state in (InstanceState.REFUSED, InstanceState.ABANDONED)
        return RunStatus.FAILED if refused else RunStatus.LOST
    if process_alive:
        return RunStatus.RUNNING if event is not None else RunStatus.PENDING
    if process_alive is False:
        return RunStatus.LOST
    # By the mirror's age, not the event's time: the clocks of box and laptop may differ.
    last = directory.events_path.stat().st_mtime if event is not None else entry.created
    if now - last > patience_s:
        return RunStatus.LOST
    return RunStatus.RUNNING if event is not None else RunStatus.PENDING


def instance_of(ledger: Ledger, run: str) -> Entry | None:
    """The instance of the newest attempt."""
    return next(iter(ledger.of_run(run)), None)
