"""Runs side by side: how well each has learned each task, in which keys they differ, what they cost."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import RunStatus
from console.errors import UnreachableError
from console.fleet.ledger import Ledger
from console.fleet.locks import FileLock
from console.fleet.money import usd_so_far
from console.runs import history
from console.runs.mirror import Mirror
from console.runs.registry import Registry, RunHandle
from console.runs.series import RunView
from console.runs.sweep import differences, read_mark
from console.runs.sweep_queue import Member
from console.sweep_api import ComparedRun, Comparison, MemberState, TaskStanding
from ups.errors import NotFoundError, UpsError
from ups.events import EventReader, PhaseState
from ups.rundir import RunSpec

if TYPE_CHECKING:
    from console.runs.follow import Follower

_TRAIN = "train"


def find(registry: Registry, names: Sequence[str]) -> list[RunHandle]:
    """The runs of these names, each once: ids, beginnings of ids, or sweeps; none: the newest sweep.

    Raises:
        NotFoundError: there is none of that name.
    """
    marks = [(handle, mark) for handle in registry.all() if (mark := read_mark(handle)) is not None]
    if not names:
        if not marks:
            raise NotFoundError("there is no sweep yet", hint="name the runs to compare")
        names = [marks[0][1].sweep]
    found: dict[str, RunHandle] = {}
    for name in names:
        members = sorted(((mark.number, handle) for handle, mark in marks if mark.sweep == name),
                         key=lambda pair: pair[0])  # fmt: skip
        for handle in [handle for _, handle in members] or [registry.find(name)]:
            found.setdefault(handle.run, handle)
    return list(found.values())


@dataclass(slots=True)
class _Looked:
    """One run, and how far it was read."""

    handle: RunHandle
    view: RunView = field(default_factory=RunView)
    readers: dict[Path, EventReader] = field(default_factory=dict)
    mirrors: dict[int, Mirror] = field(default_factory=dict)
    status: RunStatus = RunStatus.PENDING
    problem: str = ""

    def read(self) -> None:
        for directory in self.handle.attempts():
            reader = self.readers.setdefault(directory.root, EventReader(directory.events_path))
            self.view.apply_all(reader.read())


class Onlooker:
    """Looks at several runs, again and again; ends none. `close` it."""

    def __init__(
        self, handles: Sequence[RunHandle], ledger: Ledger, followers: "Mapping[str, Follower]", locks: Path
    ) -> None:
        """
        Args:
            handles: the runs.
            ledger: what they cost.
            followers: run → who can see its box; a run without one is read from its mirror.
            locks: where the locks of mirrors are.
        """
        self._runs = [_Looked(handle) for handle in handles]
        self._ledger = ledger
        self._followers = followers
        self._locks = {handle.run: FileLock(locks / f"mirror-{handle.run}.lock") for handle in handles}
        marks = [mark.sweep if (mark := read_mark(handle)) else "" for handle in handles]
        self._sweep = marks[0] if len(set(marks)) == 1 else ""
        self._differs = _differing(handles)

    def look(self) -> Comparison:
        """How they stand now; what is new on their boxes is mirrored first, where nobody else does it."""
        for run in self._runs:
            follower = self._followers.get(run.handle.run)
            run.problem = ""
            try:
                if follower is not None:
                    run.status = follower.look(run.handle, self._locks[run.handle.run], run.mirrors)
            except UnreachableError as error:
                run.problem = error.message
            except UpsError as error:
                run.problem = error.message
            run.read()
            if follower is None:
                run.status = _status_of_mirror(run.view)
        rows = [
            _row(run.view, run.handle, self._ledger, differs, str(run.status), run.problem)
            for run, differs in zip(self._runs, self._differs, strict=True)
        ]
        return _compared(rows, [run.view for run in self._runs], self._sweep)

    @property
    def over(self) -> bool:
        """Whether all of them have ended."""
        return all(run.status.ended for run in self._runs)

    @property
    def revision(self) -> tuple[object, ...]:
        """Changes with whatever there is to see, but time and money."""
        return tuple((run.view.revision, run.status, run.problem) for run in self._runs)

    def close(self) -> None:
        for lock in self._locks.values():
            lock.release()


def of_members(sweep: str, members: Sequence[Member], registry: Registry, ledger: Ledger) -> Comparison:
    """The runs of a sweep while it runs; those that wait are rows without a run."""
    rows = []
    for member in members:
        handle = RunHandle(member.run, registry.root / member.run) if member.run is not None else None
        state = str(member.state)
        if member.run is not None and member.state in (MemberState.FOLLOWED, MemberState.ENDED):
            state = str(member.status)
        elif member.state is MemberState.ENDED:
            state = "not started"
        problem = member.error.message if member.error is not None else ""
        row = _row(member.view, handle, ledger, member.plan.differs, state, problem, member.plan.config)
        rows.append(row)
    return _compared(rows, [member.view for member in members], sweep)


def _differing(handles: Sequence[RunHandle]) -> list[dict[str, Any]]:
    """Of each run the keys in which they differ; of one whose run.yaml cannot be read, none."""
    specs: list[RunSpec | None] = []
    for handle in handles:
        try:
            specs.append(handle.attempts()[0].read_spec())
        except UpsError:
            specs.append(None)
    differing = iter(differences([spec.config for spec in specs if spec is not None]))
    return [next(differing) if spec is not None else {} for spec in specs]


def _status_of_mirror(view: RunView) -> RunStatus:
    if view.done is None:
        return RunStatus.LOST
    try:
        return RunStatus(str(view.done.get("status")))
    except ValueError:
        return RunStatus.FAILED


def _row(
    view: RunView,
    handle: RunHandle | None,
    ledger: Ledger,
    differs: Mapping[str, Any],
    state: str,
    problem: str,
    config: str = "",
) -> ComparedRun:
    now = time.time()
    train = view.phases.get(_TRAIN)
    trains = train is not None and train.state is PhaseState.STARTED
    tests = history.test_tasks(handle) if handle is not None else {}
    if not problem and view.notices and view.notices[-1].severe:
        problem = view.notices[-1].message
    spent = ledger.of_run(handle.run) if handle is not None else []
    return ComparedRun(
        run=handle.run if handle is not None else None,
        config=config or view.name,
        state=state,
        stage=view.stage,
        epoch=view.epoch,
        progress=train.done / train.total if train is not None and train.total else None,
        eta_seconds=train.eta_seconds if train is not None and trains else None,
        seconds=view.last_t - view.first_t if view.first_t is not None and view.last_t is not None else None,
        usd=round(sum(usd_so_far(entry, now) for entry in spent), 4),
        differs=differs,
        tasks={task: _standing(view, task, tests.get(task, {}).get("one_step")) for task in view.tasks},
        problem=problem,
    )


def _standing(view: RunView, task: str, test: float | None) -> TaskStanding:
    curve = view.curve(task, "val", "nrmse")
    points = zip(curve.values.tolist(), curve.epochs.tolist(), strict=True) if curve is not None else ()
    best, epoch = min(
        ((value, epoch) for value, epoch in points if math.isfinite(value)), default=(None, None)
    )
    return TaskStanding(
        latest=view.latest(task, "val", "nrmse"),
        best=best,
        best_epoch=int(epoch) if epoch is not None else None,
        persistence=view.latest(task, "val", "persistence"),
        test=test,
    )


def _compared(rows: Sequence[ComparedRun], views: Sequence[RunView], sweep: str) -> Comparison:
    tasks = dict.fromkeys(task for view in views for task in view.tasks)
    keys = dict.fromkeys(key for row in rows for key in row.differs)
    return Comparison(tuple(rows), tuple(tasks), tuple(keys), sweep)


def looks(onlooker: Onlooker, pause_s: float) -> Iterator[Comparison]:
    """How the runs stand, whenever that has changed, until all have ended."""
    seen: tuple[object, ...] | None = None
    while True:
        comparison = onlooker.look()
        if onlooker.revision != seen:
            seen = onlooker.revision
            yield comparison
        if onlooker.over:
            return
        time.sleep(pause_s)
