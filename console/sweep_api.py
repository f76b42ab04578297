"""The typed requests and answers of several runs at once, and of runs side by side."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from console.api import Check, FollowBatch, Launched, LaunchRequest, Level
from ups.errors import UpsError


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """Several runs that the user asks for at once: each config with each combination of the values."""

    configs: tuple[Path, ...]
    launch: LaunchRequest
    """How each of them is launched; config, patch and threads become the run's own."""
    axes: tuple[str, ...] = ()
    """`key.path=v1,v2`: YAML values; of several the product is run."""
    max_parallel: int | None = None
    """Runs at a time; None: one on this machine, elsewhere as many as the caps allow."""
    budget_usd: float | None = None
    """Cap of all of them together."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a sweep, before it is launched."""

    request: LaunchRequest
    config: str
    differs: Mapping[str, Any]
    """Dotted config key → its value, where not all runs of the sweep agree."""
    expected_seconds: float | None
    expected_usd: float | None
    """None: unknown."""
    cap_usd: float


@dataclass(frozen=True, slots=True)
class SweepPreflight:
    """What is known of all of them before paying."""

    checks: tuple[Check, ...]
    runs: tuple[PlannedRun, ...]
    parallel: int
    """So many run at a time at first; the others wait for their turn."""
    usd_per_hour: float
    """Of one."""
    expected_seconds: float | None
    """From the first start to the last end."""
    expected_usd: float | None
    """Of all; None where that of any is unknown."""
    cap_usd: float
    """Of all."""
    deadline_hours: float
    """Of each."""

    @property
    def ok(self) -> bool:
        return all(check.level is not Level.FAILED for check in self.checks)


class MemberState(StrEnum):
    """Where a run of a sweep stands in its queue."""

    QUEUED = "queued"
    LAUNCHING = "launching"
    FOLLOWED = "followed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SweepNews:
    """Something new of one run of a sweep."""

    number: int
    """Its place, from 1."""
    run: str | None
    said: str = ""
    """A step of its launch."""
    launched: Launched | None = None
    batch: FollowBatch | None = None
    error: UpsError | None = None
    """Why it could not be launched, or not followed to its end."""


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """How well a run has learned a task so far."""

    latest: float | None
    """Newest validation nRMSE."""
    best: float | None
    best_epoch: int | None
    persistence: float | None
    """The same of copying the last state."""
    test: float | None
    """One-step nRMSE on the test split; None before the evaluation."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run beside others."""

    run: str | None
    """None: it has not been launched."""
    config: str
    state: str
    """A `RunStatus`, or where it stands in the queue of its sweep."""
    stage: str
    epoch: int | None
    progress: float | None
    """Share of the training that is done."""
    eta_seconds: float | None
    """To the end of the training."""
    seconds: float | None
    """From the first to the last event."""
    usd: float
    differs: Mapping[str, Any]
    """Dotted config key → its value, where the runs do not agree; a key that it lacks is not there."""
    tasks: Mapping[str, TaskStanding]
    problem: str = ""
    """What went wrong last."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side."""

    runs: tuple[ComparedRun, ...]
    tasks: tuple[str, ...]
    """Of all of them, in the order of the first."""
    keys: tuple[str, ...]
    """Config keys in which they differ."""
    sweep: str = ""
    """Theirs, where it is one and the same."""


def written(value: Any) -> str:
    """A config value in a word, as people write it."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
