"""One process of a training, as torchrun starts it: `-m tests.ups.training.worker JOB.pickle [TROUBLE]`.

TROUBLE, for tests of how trainings end, is what goes wrong in the last process of the first start:
`killed` or `unreadable` at a step, or `memory` in its first pass of a whole micro-batch.
"""

import os
import pickle
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ups.errors import DataError
from ups.events import EventWriter
from ups.training import objective, stream
from ups.training.job import TrainingJob
from ups.training.ranks import LostProcessError, Ranks
from ups.training.run import train

_AT_BATCH = 30
_WHOLE_SHARE = 2  # samples of the last of two processes in a micro-batch of four


def _reads_that(fail: Any) -> None:
    """Make a read of a batch in mid-epoch end in `fail`."""
    made = stream.epoch_batches
    drawn = 0

    def batches(*arguments: Any) -> Any:
        nonlocal drawn
        for group in made(*arguments):
            drawn += len(group)
            if drawn >= _AT_BATCH:
                fail()
            yield group

    import ups.training.loop as loop

    loop.epoch_batches = batches  # type: ignore[assignment]


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _unreadable() -> None:
    raise DataError("the file is torn", hint="fetch it again")


def _out_of_memory() -> None:
    whole = objective.OperatorObjective.forward

    def forward(self: Any, batch: Any, moment: Any) -> Any:
        if len(batch) >= _WHOLE_SHARE:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, batch, moment)

    objective.OperatorObjective.forward = forward  # type: ignore[method-assign]


_TROUBLES = {
    "": lambda: None, "killed": lambda: _reads_that(_killed),
    "unreadable": lambda: _reads_that(_unreadable), "memory": _out_of_memory,
}  # fmt: skip


def main(job_file: Path, trouble: str = "") -> int:
    ranks = Ranks.from_environment()
    job = TrainingJob(*pickle.loads(job_file.read_bytes()))
    job = replace(job, ranks=ranks)
    if ranks.restarts == 0 and ranks.rank == ranks.world_size - 1:
        _TROUBLES[trouble]()
    try:
        if not ranks.is_main:
            train(job, _Nowhere())
            return 0
        with EventWriter(job.run_dir.events_path) as sink:
            train(job, sink)
    except LostProcessError as error:
        print(f"lost: {error.message}")
        return 3
    except Exception as error:  # noqa: BLE001 - the process boundary
        (job.run_dir.root / f"error-{ranks.rank}").write_text(f"{type(error).__name__}: {error}")
        return 0 if not ranks.is_main else 7
    return 0


class _Nowhere:
    def write(self, *_: Any, **fields: Any) -> None:
        raise AssertionError("only the main process writes events")


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), *sys.argv[2:]))
