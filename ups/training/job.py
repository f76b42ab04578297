"""What training is given and what it gives back. Free of torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ups.events import EventType
from ups.ranks import ALONE, Ranks
from ups.rundir import RunDirectory, RunSpec


class EventSink(Protocol):
    """Where events go; `ups.events.EventWriter` is one."""

    def write(self, kind: EventType, **fields: Any) -> Any:
        """Append one event."""


class _Silence:
    def write(self, kind: EventType, **fields: Any) -> None:
        pass


SILENCE: EventSink = _Silence()
"""Takes the events of processes whose training another one tells."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One run's training: what, where, on which data."""

    spec: RunSpec
    run_dir: RunDirectory
    datasets: Mapping[str, Mapping[str, Path]]
    """task → split → converted file; needs the trained split and `val` of every task."""
    device: str
    """torch device, such as `cpu` or `cuda`."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked at each epoch's end, of the main process alone."""
    ranks: Ranks = ALONE
    """Which of the processes that train together this one is."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training ended."""

    status: Literal["finished", "stopped"]
    checkpoint: Path
    """The best checkpoint, by validation."""
    epochs: int
    steps: int
    samples: int
    score: float | None
    """Mean validation nRMSE of the tasks at that checkpoint."""
