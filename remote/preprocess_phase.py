"""The phase of a run that converts published files: told in the run's events, and resumed with it."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from remote.environment import cores
from remote.journal import Journal, say
from remote.preprocess import Request, preprocess
from ups import catalog
from ups.data.convert import Labour
from ups.events import EventType, PhaseState
from ups.preprocess_job import PreprocessJob
from ups.rundir import RunDirectory
from ups.store import ObjectStore

_PHASE = "preprocess"
_DOWNLOADS = "raw"
"""In the run directory: what has come of files is found again when the run goes on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a job."""

    text: str
    summary: dict[str, Any]


def execute(
    job: PreprocessJob,
    directory: RunDirectory,
    store: ObjectStore,
    journal: Journal,
    check: Callable[[], None],
) -> Told:
    """Do what a job asks for, as far as the store does not have it yet.

    Args:
        job: the files, and what is taken of them.
        directory: the run's.
        store: where datasets and caches go.
        journal: hears of it.
        check: raises where somebody has asked to stop.

    Raises:
        UpsError: as `remote.preprocess.preprocess`.
    """
    work = directory.root / _DOWNLOADS
    request = Request(job, work, Labour(job.num_workers or cores()))
    outcomes = preprocess(request, store, _JournalVoice(journal, check))
    for outcome in outcomes:
        _announce(outcome.task, store, journal)
    shutil.rmtree(work, ignore_errors=True)
    return Told("; ".join(outcome.told for outcome in outcomes), {"datasets": list(map(asdict, outcomes))})


def _announce(task: str, store: ObjectStore, journal: Journal) -> None:
    """Tell where each split is now."""
    for split, entry in catalog.dataset(store, task).splits.items():
        key = catalog.dataset_key(task, split)
        journal.write(EventType.PUBLISHED, path=key, where=f"{store.url}/{key}", sha256=entry.sha256)


@dataclass(frozen=True, slots=True)
class _JournalVoice:
    """Everything is progress of one phase; its steps are lines of run.log."""

    journal: Journal
    check: Callable[[], None]

    def progress(self, what: str, done: int, total: int, *, unit: str = "samples") -> None:
        self.check()
        self.journal.progress(_PHASE, what, done, total, unit)

    def phase(self, phase: str, state: PhaseState, detail: str = "") -> None:
        self.check()
        say(f"{phase} {state}" + (f": {detail}" if detail else ""))

    def warn(self, code: str, message: str, hint: str = "") -> None:
        self.journal.warn(code, message, hint)
