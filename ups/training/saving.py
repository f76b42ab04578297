"""Checkpoints that training does not wait for.

At an epoch's end training copies its state into the memory of the host and goes on; a thread writes the
copy. There is one copy: a save that comes while the one before is still being written waits for it. It is
never left out instead, since any epoch may be the best one, and which it was must not depend on a disk.
"""

import errno
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType

import torch
from torch import Tensor

from ups.errors import StoreError, UpsError
from ups.events import EventType
from ups.rundir import RunDirectory
from ups.training.job import EventSink
from ups.training.state import Snapshot, Tensors

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class _HostMemory:
    """The memory of one copy, used again for each; page-locked where the state is on a GPU."""

    _held: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def copy(self, tensors: Tensors) -> Tensors:
        """A copy of all tensors, which holds until the next one is made."""
        copied = {
            file: {name: self._copied((file, name), tensor) for name, tensor in content.items()}
            for file, content in tensors.items()
        }
        if any(tensor.is_cuda for content in tensors.values() for tensor in content.values()):
            torch.cuda.synchronize()
        return copied

    def _copied(self, key: tuple[str, str], tensor: Tensor) -> Tensor:
        held = self._held.get(key)
        if held is None or held.shape != tensor.shape or held.dtype != tensor.dtype:
            held = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._held[key] = held
        return held.copy_(tensor.detach(), non_blocking=True)


class Saver:
    """Writes the checkpoints of a stage in a thread of its own, one at a time.

    Leaving it waits for the last one. Of several processes only the main one's is given anything.
    """

    def __init__(self, run_dir: RunDirectory, sink: EventSink) -> None:
        """
        Args:
            run_dir: of the run.
            sink: told of each checkpoint once it is there, from the other thread.
        """
        self._run_dir, self._sink = run_dir, sink
        self._memory = _HostMemory()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, of: Snapshot, *, since: float) -> None:
        """Copy a snapshot and let it be written; waits while an earlier one is.

        Args:
            of: tensors may change once this returns.
            since: when training began to wait for this checkpoint, by `time.perf_counter`.

        Raises:
            StoreError: the earlier one could not be written.
        """
        self.wait()
        copied = replace(of, tensors=self._memory.copy(of.tensors))
        waited = time.perf_counter() - since
        self._writing = self._thread.submit(self._write, copied, waited)

    def check(self) -> None:
        """Raises what the last checkpoint could not be written for, if that is known by now."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            StoreError: it could not be.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except (UpsError, OSError):
            if error is None:
                raise
        finally:
            self._thread.shutdown()

    def _write(self, of: Snapshot, waited: float) -> None:
        began = time.perf_counter()
        try:
            written, best = of.write(self._run_dir.checkpoints)
        except OSError as problem:
            raise _unwritten(of, problem) from problem
        self._sink.write(
            EventType.CHECKPOINT, stage=of.stage, epoch=of.epoch,
            path=str(written.path.relative_to(self._run_dir.root)),
            sha256=written.sha256, bytes=written.num_bytes,
            best=best and of.content["score"] is not None,
            files=written.state["files"],
            waited=round(waited, 6), seconds=round(time.perf_counter() - began, 6),
        )  # fmt: skip


def _unwritten(of: Snapshot, problem: OSError) -> StoreError:
    why = "no space left" if problem.errno in _FULL else problem.strerror or str(problem)
    return StoreError(
        f"the checkpoint {of.stage}-{of.epoch:04d} cannot be written: {why}",
        hint=f"{'free some space' if problem.errno in _FULL else 'mend that'} and resume the run: it goes on"
        " from the checkpoint before",
    )
