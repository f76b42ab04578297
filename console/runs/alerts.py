"""What calls for a person: a run that ended or failed, an orphan, a budget that is used up.

Read from the ledger and the mirrors as they are now, so that whoever looks finds the same; each alert has a
key by which it is told once (`console.runs.announcing`).
"""

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from console.api import RunStatus
from console.fleet import money
from console.fleet.ledger import Entry
from console.fleet.model import RemoteInstance
from console.runs.event_lines import last_event
from console.runs.registry import Registry, status_of
from ups.events import EventType
from ups.rundir import RunDirectory


class AlertKind(StrEnum):
    """Why a person is called."""

    END = "end"
    FAILURE = "failure"
    ORPHAN = "orphan"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell; `title` says what, `text` the rest."""

    key: str
    """The same thing has the same key, whoever notices it."""
    kind: AlertKind
    title: str
    text: str


def alerts(
    entries: Iterable[Entry],
    registry: Registry,
    *,
    orphans: Iterable[RemoteInstance],
    cap_day_usd: float,
    now: float,
    known: Collection[str] = (),
) -> list[Alert]:
    """All that calls for a person now.

    Args:
        entries: of the ledger, the newest first.
        registry: the mirrors of the runs.
        orphans: instances of ours that the ledger does not know.
        cap_day_usd: what a day may cost.
        now: Unix seconds.
        known: keys that were told already; what they stand for is not read again.
    """
    all_entries = list(entries)
    found = [*_runs(all_entries, registry, now, known), *_orphans(orphans)]
    found += [*_run_caps(all_entries, now), *_day_cap(all_entries, cap_day_usd, now)]
    return [alert for alert in found if alert.key not in known]


def _runs(
    entries: Iterable[Entry], registry: Registry, now: float, known: Collection[str]
) -> Iterator[Alert]:
    newest: dict[str, Entry] = {}
    for entry in entries:
        if entry.run is not None and entry.box == 0:
            best = newest.setdefault(entry.run, entry)
            if (entry.attempt or 1) > (best.attempt or 1):
                newest[entry.run] = entry
    for run, entry in newest.items():
        key = f"run {run} {entry.attempt or 1}"
        if key in known:
            continue
        status = _ended(entry, registry, now)
        if status is not None:
            yield _of_run(key, run, entry, status, now)


def _ended(entry: Entry, registry: Registry, now: float) -> RunStatus | None:
    """How a run ended; None: it goes on, or nobody can know."""
    directory = RunDirectory(registry.root / str(entry.run) / f"attempt-{entry.attempt or 1}")
    event = last_event(directory.events_path)
    if entry.living and (event is None or event.type != EventType.DONE):
        return None  # a mirror may be old because nobody follows
    status = status_of(directory, entry, process_alive=None, now=now)
    return status if status.ended else None


def _of_run(key: str, run: str, entry: Entry, status: RunStatus, now: float) -> Alert:
    well = status in (RunStatus.SUCCEEDED, RunStatus.STOPPED)
    cost = f"${money.usd_so_far(entry, now):.2f} on {entry.what}"
    lost = status is RunStatus.LOST
    text = f"its instance is {entry.state} and no result came; {cost}" if lost else cost
    return Alert(key, AlertKind.END if well else AlertKind.FAILURE, f"run {run} {status}", text)


def _orphans(orphans: Iterable[RemoteInstance]) -> Iterator[Alert]:
    for remote in orphans:
        yield Alert(
            f"orphan {remote.provider} {remote.id}",
            AlertKind.ORPHAN,
            f"orphan {remote.id} at {remote.provider}",
            f"{remote.what}, ${remote.usd_per_hour:.2f}/h, and no run: `ups-console destroy {remote.id}`",
        )


def _run_caps(entries: Iterable[Entry], now: float) -> Iterator[Alert]:
    for entry in entries:
        if money.over_cap(entry, now):
            yield Alert(
                f"budget {entry.label}",
                AlertKind.BUDGET,
                f"run {entry.run} has used up its cap of ${entry.cap_usd:.2f}",
                "its instance is torn down",
            )


def _day_cap(entries: list[Entry], cap_usd: float, now: float) -> Iterator[Alert]:
    spent = money.usd_today(entries, now)
    if spent > 0 and spent >= cap_usd:
        day = time.strftime("%Y-%m-%d", time.localtime(now))
        yield Alert(
            f"budget {day}",
            AlertKind.BUDGET,
            f"today's cap of ${cap_usd:g} is used up",
            f"${spent:.2f} spent; what costs money is torn down",
        )
