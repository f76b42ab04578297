"""What processes on processors tell one another of tensors: over the network, or in memory that all see.

On one machine the memory is several times faster than gloo, which sends everything through sockets.
"""

import contextlib
import mmap
import os
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from ups.ranks import Ranks


class Exchange(Protocol):
    """Collective: all processes call the same in the same order, with tensors of the same shape and dtype."""

    def sum(self, values: Tensor) -> None:
        """Replace a contiguous tensor by the sum of all processes'; it is the same bits everywhere."""
        ...

    def gather(self, values: Tensor) -> Tensor:
        """[processes, …] the tensors [ …] of all processes, in the order of their ranks.

        To be read before the next exchange.
        """
        ...


class Network:
    """Over `torch.distributed`."""

    def sum(self, values: Tensor) -> None:
        dist.all_reduce(values)

    def gather(self, values: Tensor) -> Tensor:
        gathered = values.new_empty(dist.get_world_size(), *values.shape)
        dist.all_gather(list(gathered), values.contiguous())
        return gathered


@dataclass(slots=True)
class _Area:
    """Memory that all processes see."""

    slots: Tensor
    """[2, processes, n]: each process writes its own row. The two are used in turn: who writes the one that
    was read last but one knows that all have read it, since all have come to the meeting in between."""
    turn: int = 0


class SharedMemory:
    """Of processes on one machine, which meet over `torch.distributed`."""

    def __init__(self, ranks: Ranks) -> None:
        """Nothing is shared yet.

        Args:
            ranks: of all processes, which are on one machine.
        """
        self._ranks = ranks
        self._areas: dict[tuple[int, torch.dtype], _Area | None] = {}
        self._network = Network()
        self._meeting = torch.zeros(1)

    def sum(self, values: Tensor) -> None:
        told = self._told(values)
        if told is None:
            self._network.sum(values)
            return
        torch.sum(told, 0, out=values.view(-1))

    def gather(self, values: Tensor) -> Tensor:
        told = self._told(values)
        if told is None:
            return self._network.gather(values)
        return told.view(len(told), *values.shape)

    def _told(self, values: Tensor) -> Tensor | None:
        """[processes, n] what all have; to be read before the next exchange. None where nothing is shared."""
        key = values.numel(), values.dtype
        if key not in self._areas:
            self._areas[key] = self._made(*key)
        area = self._areas[key]
        if area is None:
            return None
        area.turn = 1 - area.turn
        slots = area.slots[area.turn]
        slots[self._ranks.rank].copy_(values.reshape(-1))
        dist.all_reduce(self._meeting)
        return slots

    def _made(self, numbers: int, dtype: torch.dtype) -> _Area | None:
        """Memory for tensors of so many numbers; None, in all processes, where one of them cannot see it."""
        size = 2 * self._ranks.world_size * numbers * dtype.itemsize
        with contextlib.ExitStack() as stack:
            box: list[str] = [""]
            if self._ranks.is_main:
                with contextlib.suppress(OSError, AttributeError):  # the latter where there is no such call
                    file = os.memfd_create("ups-exchange")  # has no name that a killed process would leave
                    stack.callback(os.close, file)
                    os.ftruncate(file, size)
                    box = [f"/proc/{os.getpid()}/fd/{file}"]
            dist.broadcast_object_list(box, src=0)
            mapped = None
            with contextlib.suppress(OSError, ValueError):
                mapped = _mapped(box[0], size)
            missing = torch.tensor(float(mapped is None))
            dist.all_reduce(missing)  # also: nobody closes what others have not opened yet
        if mapped is None or missing:
            return None
        return _Area(torch.frombuffer(mapped, dtype=dtype).view(2, self._ranks.world_size, numbers))


def _mapped(path: str, size: int) -> mmap.mmap:
    file = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(file, size)
    finally:
        os.close(file)


def exchange(ranks: Ranks) -> Exchange:
    """The fastest of these processes."""
    return SharedMemory(ranks) if ranks.local_world_size == ranks.world_size else Network()
