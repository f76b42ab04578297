"""What training is given and what it gives back. Free of torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ups.data.outline import Outline
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
    """task → split → converted file; needs the trained split and `val` of every task.

    The files of tasks that join later (`curriculum.joining_epochs`) need not be there yet."""
    device: str
    """torch device, such as `cpu` or `cuda`."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked at each epoch's end, of the main process alone."""
    enough: Callable[[float], str | None] = lambda needed_s: None
    """Asked at each epoch's end, of the main process alone: why training has to end there although it is not
    over, or None. It is told how many seconds a further epoch and the evaluation take. Once it has given a
    reason it goes on giving it."""
    ranks: Ranks = ALONE
    """Which of the processes that train together this one is."""
    outlines: Mapping[str, Outline] = field(default_factory=dict)
    """The train split of each task whose files may not be there yet."""
    control_samples: int | None = None
    """Most samples of a stage's control; null: as much compute as the stage has used."""
    arrived: Callable[[Sequence[str]], bool] = lambda tasks: True
    """Asked, of the main process alone, before the files of tasks that join are opened: whether they are
    complete. May wait for them, though not for many minutes: it is asked again, and in between whether to
    stop. Raises an UpsError where they will not come."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How training ended."""

    status: Literal["finished", "stopped", "enough"]
    """`enough`: `TrainingJob.enough` has ended it; its checkpoint is to be evaluated."""
    checkpoint: Path
    """The best checkpoint, by validation."""
    epochs: int
    steps: int
    samples: int
    score: float | None
    """Mean validation nRMSE of the tasks at that checkpoint."""
