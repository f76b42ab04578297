"""Which of the processes that work together this one is, as `torchrun` tells it. Free of torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ups.errors import TrainingError, UsageError


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among several; by default the only one."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Number among those of its machine: which GPU it takes."""
    local_world_size: int = 1
    """Processes of its machine."""
    machine: int = 0
    """Number of its machine among all; the main process is on the first."""
    machines: int = 1
    """On which processes of the training are."""
    launched: bool = False
    """torchrun started it: its parent lives on when it is restarted."""
    restarts: int = 0
    """How often torchrun has started all of them anew."""
    most_restarts: int = 0
    start: str = ""
    """What all processes that were started together call this start, where they had to agree on that."""

    @property
    def leads_machine(self) -> bool:
        """The one that brings data to its machine and has files of its own there."""
        return self.local_rank == 0

    @property
    def is_main(self) -> bool:
        """The one that writes events, checkpoints and reports."""
        return self.rank == 0

    @property
    def will_be_restarted(self) -> bool:
        """Whether torchrun starts all of them anew when one of them dies."""
        return self.restarts < self.most_restarts

    def device(self, kind: str) -> str:
        """The device of this process: its own of the machine's GPUs."""
        return f"cuda:{self.local_rank}" if kind == "cuda" and self.world_size > 1 else kind

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ranks":
        """What torchrun has set; the only process where it has set nothing.

        Raises:
            UsageError: only a part of it is set, or it makes no sense.
        """
        if "RANK" not in environment and "WORLD_SIZE" not in environment:
            return ALONE
        try:
            found = cls(
                rank=int(environment["RANK"]),
                world_size=int(environment["WORLD_SIZE"]),
                local_rank=int(environment["LOCAL_RANK"]),
                local_world_size=int(environment.get("LOCAL_WORLD_SIZE", 1)),
                machine=int(environment.get("GROUP_RANK", 0)),
                machines=int(environment.get("GROUP_WORLD_SIZE", 1)),
                launched="TORCHELASTIC_RUN_ID" in environment,
                restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", 0)),
                most_restarts=int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)),
            )
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"RANK, WORLD_SIZE and LOCAL_RANK do not say which process this is: {error}",
                hint="start with torchrun, which sets them, or unset them all",
            ) from None
        if not 0 <= found.rank < found.world_size:
            raise UsageError(f"RANK {found.rank} is none of {found.world_size} processes")
        return found


ALONE = Ranks()
"""The only process."""


class LostProcessError(TrainingError):
    """A process that works with this one died without a word; starting all of them anew goes on."""
