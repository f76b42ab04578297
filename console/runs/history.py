"""Past and present runs as rows: what was learned, how long it took, what it cost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from console.api import RunRow, RunStatus
from console.fleet.ledger import Ledger
from console.fleet.money import usd_so_far
from console.runs import decisions
from console.runs.event_lines import last_event
from console.runs.registry import Registry, RunHandle
from console.runs.sweep import read_mark
from ups.errors import NotFoundError, UpsError
from ups.events import decode
from ups.rundir import RunDirectory

StatusOf = Callable[[RunHandle], RunStatus]


def rows(registry: Registry, ledger: Ledger, status_of: StatusOf) -> list[RunRow]:
    """One row a run, the newest first; a damaged run directory is a row that says so."""
    return [row(handle, ledger, status_of) for handle in registry.all()]


def row(handle: RunHandle, ledger: Ledger, status_of: StatusOf) -> RunRow:
    """The history's row of a run."""
    attempts = handle.attempts()
    note = handle.note_path.read_text().strip() if handle.note_path.exists() else ""
    try:
        spec = attempts[0].read_spec()
        name, tasks, created = spec.name, spec.tasks, spec.created
    except UpsError as error:
        name, tasks, created, note = "?", (), attempts[0].root.stat().st_mtime, error.message
    now = time.time()
    tests, gates = test_tasks(handle), decisions.known_gates(handle)
    mark = read_mark(handle)
    return RunRow(
        run=handle.run,
        status=status_of(handle),
        config=name,
        tasks=tasks,
        attempts=len(attempts),
        usd=sum(usd_so_far(entry, now) for entry in ledger.of_run(handle.run)),
        created=created,
        seconds=_duration(attempts),
        one_step={task: values.get("one_step") for task, values in tests.items()},
        skill={task: bool(values.get("skill")) for task, values in tests.items()},
        note=note,
        verdict=str(gates.get("verdict") or ""),
        next_config=decisions.next_name_of(gates, name),
        sweep=mark.sweep if mark else "",
        differs=mark.differs if mark else {},
    )


def durations(registry: Registry, config: str) -> list[float]:
    """Seconds that earlier runs of a config took from their first event to a successful end."""
    found = []
    for handle in registry.all():
        attempts = handle.attempts()
        end = last_event(attempts[-1].events_path)
        if end is None or end.fields.get("status") != "succeeded" or len(attempts) > 1:
            continue
        if attempts[0].read_spec().name == config and (seconds := _duration(attempts)):
            found.append(seconds)
    return found[:5]


def test_tasks(handle: RunHandle) -> dict[str, dict[str, Any]]:
    """Task → its figures on the test split; {} before the evaluation."""
    try:
        tasks = decisions.read_report(handle.latest)["splits"]["test"]["tasks"]
    except (NotFoundError, KeyError, TypeError):
        return {}
    return dict(tasks)


def _duration(attempts: list[RunDirectory]) -> float | None:
    spans = []
    for attempt in attempts:
        first, last = _first_t(attempt.events_path), last_event(attempt.events_path)
        if first is not None and last is not None:
            spans.append(last.t - first)
    return sum(spans) if spans else None


def _first_t(path: Path) -> float | None:
    try:
        with path.open("rb") as file:
            event = decode(file.readline())
    except FileNotFoundError:
        return None
    return event.t if event else None
