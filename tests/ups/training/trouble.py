"""What may go wrong in one process of several, on purpose."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ups.errors import DataError
from ups.models import tensor_file
from ups.ranks import Ranks
from ups.training import loop, objective, stream

_AT_BATCH = 14  # of ten an epoch: in the middle of the second
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


def _full_disk() -> None:
    """From the second epoch's checkpoint on."""
    written = tensor_file.write

    def write(path: Path, tensors: Any) -> tensor_file.Written:
        if path.parent.name.endswith("-0002"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(path, tensors)

    tensor_file.write = write


_TROUBLES: dict[str, Callable[[], None]] = {
    "": lambda: None, "killed": lambda: _reads_that(_killed),
    "unreadable": lambda: _reads_that(_unreadable), "memory": _out_of_memory,
    "disk": _full_disk,
}  # fmt: skip


def arrange(trouble: str, ranks: Ranks) -> None:
    """Let it go wrong in the last process of the first start: `killed`, `unreadable`, `memory`, `disk`.

    A trouble ending in `-main` meets the main process.
    """
    name, _, whom = trouble.partition("-")
    unlucky = 0 if whom == "main" else ranks.world_size - 1
    if ranks.restarts == 0 and ranks.rank == unlucky:
        _TROUBLES[name]()
