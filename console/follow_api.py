"""What a run that is followed brings: all that a screen needs of the console's API to show one.

Apart from `console.api`, which has everything, because making its many classes takes longer than drawing.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ups.events import Event

if TYPE_CHECKING:
    from console.fleet.model import InstanceState
    from console.runs.columns import Item
    from console.runs.event_lines import AnyEvent


class RunStatus(StrEnum):
    """How a run stands; `succeeded` only where its `done` event says so."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        return self not in (RunStatus.PENDING, RunStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state with its time and cause."""

    t: float
    label: str
    before: "InstanceState | None"
    after: "InstanceState"
    cause: str


@dataclass(slots=True)
class FollowBatch:
    """What a `follow` step brought: new events, log bytes, transitions, and how the run stands.

    `log` is empty for whoever reads the log's files himself; `log_grew` tells him when.
    """

    status: RunStatus
    events: "list[AnyEvent]" = field(default_factory=list)
    log: bytes = b""
    log_grew: bool = False
    transitions: list[Transition] = field(default_factory=list)
    items: "list[Item]" = field(default_factory=list)
    """In place of `events`, with metrics in columns: for whoever only adds them up."""

    @property
    def count(self) -> int:
        """How many events it has."""
        return len(self.events) + sum(1 if isinstance(item, Event) else item.count for item in self.items)
