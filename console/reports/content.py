"""What a report tells of a run, gathered from its mirror and the ledger; how it looks is not decided here."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from console.api import RunRow, RunStatus
from console.fleet.ledger import Entry, Ledger
from console.fleet.money import usd_so_far
from console.runs import decisions, history
from console.runs.event_lines import EventLines
from console.runs.registry import Registry, RunHandle
from console.runs.series import Notice, PhaseView, RolloutRef, RunView
from ups.errors import NotFoundError, UpsError
from ups.rundir import RunDirectory

if TYPE_CHECKING:
    from console.tui.drawing.rollout import Rollout


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One attempt: when, where, how it ended."""

    number: int
    device: str
    started: float | None
    ended: float | None
    status: str
    """What its `done` says; empty: it says nothing."""
    phases: Mapping[str, PhaseView]

    @property
    def seconds(self) -> float | None:
        return None if self.started is None or self.ended is None else self.ended - self.started


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance that the run had, and what it cost."""

    entry: Entry
    usd: float


@dataclass(frozen=True, slots=True)
class ShownRollout:
    """The newest rollout of a task, or why it cannot be shown."""

    task: str
    step: int
    rollout: "Rollout | None"
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """All that a report shows."""

    row: RunRow
    view: RunView
    """Of all attempts."""
    attempts: tuple[AttemptFacts, ...]
    instances: tuple[InstanceFacts, ...]
    evaluation: Mapping[str, Any]
    """The content of report.json; {} before the evaluation."""
    gates: Mapping[str, Any]
    config: str
    """The resolved config as YAML."""
    code_version: str
    rollouts: tuple[ShownRollout, ...]
    written: float
    """Unix seconds of the report itself."""
    problems: tuple[str, ...] = field(default_factory=tuple)
    """What could not be read."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Of the run; those of its curves where its events name none."""
        return self.view.tasks or tuple(dict.fromkeys(task for task, _ in self.view.tracks if task))

    @property
    def notices(self) -> list[Notice]:
        return self.view.notices


def gather(
    registry: Registry, handle: RunHandle, ledger: Ledger, status: RunStatus, now: float | None = None
) -> ReportContent:
    """Read everything that a report of a run shows.

    Args:
        registry: of all runs.
        handle: the run.
        ledger: has its instances.
        status: how the run stands.
        now: Unix seconds; None: of this machine.
    """
    written = time.time() if now is None else now
    view, attempts = RunView(), []
    directories = handle.attempts()
    for number, directory in enumerate(directories, 1):
        attempts.append(_read_attempt(directory, number, view))
    problems: list[str] = []
    config, code_version = "", ""
    try:
        spec = directories[0].read_spec()
        config = _as_yaml(spec.config.model_dump(mode="json"))
        code_version = spec.code_version
    except UpsError as error:
        problems.append(error.message)
    try:
        evaluation = decisions.read_report(handle.latest)
    except NotFoundError as error:
        evaluation = {}
        problems.append(error.message)
    instances = tuple(InstanceFacts(entry, usd_so_far(entry, written)) for entry in ledger.of_run(handle.run))
    return ReportContent(
        row=history.row(registry, handle, ledger, lambda _: status),
        view=view,
        attempts=tuple(attempts),
        instances=instances,
        evaluation=evaluation,
        gates=decisions.known_gates(handle),
        config=config,
        code_version=code_version,
        rollouts=tuple(_newest_rollouts(view.rollouts, directories)),
        written=written,
        problems=tuple(problems),
    )


def _read_attempt(directory: RunDirectory, number: int, view: RunView) -> AttemptFacts:
    """Add an attempt's events to the view of all."""
    lines, first, last = EventLines(directory.events_path), None, None
    while events := lines.read():
        first = events[0].t if first is None else first
        last = events[-1].t
        view.apply_all(events)
    status = str((view.done or {}).get("status") or "") if first is not None else ""
    phases = {name: phase for name, phase in view.phases.items() if phase.state is not None}
    return AttemptFacts(number, view.device, first, last, status, phases if first is not None else {})


def _as_yaml(config: Mapping[str, Any]) -> str:
    return str(
        yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    )


def _newest_rollouts(refs: Iterable[RolloutRef], directories: list[RunDirectory]) -> Iterable[ShownRollout]:
    from console.tui.drawing.rollout import read_rollout

    newest: dict[str, RolloutRef] = {ref.task: ref for ref in refs}
    for task, ref in newest.items():
        root = directories[min(ref.attempt, len(directories)) - 1].root
        path = (root / ref.path).resolve()
        try:
            if not _lies_in(path, root):
                raise ValueError(f"{ref.path} lies outside the run directory")
            fields = {"nrmse": ref.nrmse, "persistence": ref.persistence, "task": task, "step": ref.step}
            yield ShownRollout(task, ref.step, read_rollout(path, fields))
        except FileNotFoundError:
            yield ShownRollout(task, ref.step, None, f"{ref.path} was not mirrored")
        except Exception as error:  # noqa: BLE001  # a damaged file must not cost the report
            yield ShownRollout(task, ref.step, None, f"{ref.path} cannot be read: {error}")


def _lies_in(path: Path, root: Path) -> bool:
    return path.is_relative_to(root.resolve())
