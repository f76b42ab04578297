"""Copies of a model in several processes have the gradients of one, however they exchange them."""

import mmap
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ups.ranks import Ranks
from ups.training import exchange
from ups.training.exchange import Exchange, Network, SharedMemory
from ups.training.flat import spread
from ups.training.parallel import Alone, Copies, ProcessorCopies

PROCESSES = 3
Gradients = list[Tensor | None]


class Net(nn.Module):
    """Uses `often` always, `odd` in all processes but the first, `never` nowhere; `fixed` is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.often, self.odd, self.never, self.fixed = (nn.Linear(4, 4) for _ in range(4))
        self.fixed.requires_grad_(False)

    def forward(self, x: Tensor, rank: int) -> Tensor:
        x = self.fixed(torch.tanh(self.often(x)))
        return (x if rank == 0 else self.odd(x)).square().mean()


def samples(rank: int, part: int) -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(10 * rank + part))


def gradients_of(kind: Callable[[], Alone], rank: int) -> Gradients:
    """Of two micro-batches, with weights that only the main process has."""
    torch.manual_seed(rank)
    net, by = Net(), kind()
    objective = by.exchanging(net)
    for _ in range(2):  # the second step finds what the first has left
        net.zero_grad(set_to_none=True)
        with by.apart(objective):
            objective(samples(rank, 0), rank).backward()
        objective(samples(rank, 1), rank).backward()
        few, many = by.average(torch.tensor([1.0 + rank, 2.0])), by.average(torch.full((100,), 1.0 + rank))
        assert few.tolist() == [sum(range(1, PROCESSES + 1)), 2.0 * PROCESSES]
        assert many.tolist() == [sum(range(1, PROCESSES + 1))] * 100
    return [parameter.grad for parameter in net.parameters()]


def expected() -> Gradients:
    torch.manual_seed(0)
    net = Net()
    for rank in range(PROCESSES):
        for part in range(2):
            (net(samples(rank, part), rank) / PROCESSES).backward()
    return [parameter.grad for parameter in net.parameters()]


def exchanged(by: Exchange, rank: int) -> list[Tensor]:
    """Sums and gathered tensors of two sizes in turn, one process late now and then."""
    random, found = torch.Generator().manual_seed(rank), []
    for turn in range(12):
        values = torch.randn(3 + turn % 2, 5, generator=random)
        if turn % PROCESSES == rank:
            time.sleep(0.01)
        found.append(by.gather(values).clone())
        by.sum(values)
        found.append(values)
    return found


def unseen(path: str, size: int) -> mmap.mmap:
    raise PermissionError(13, "not in this namespace", path)


def work(rank: int, folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), PROCESSES)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=120)
    )
    ranks = Ranks(rank=rank, world_size=PROCESSES, local_rank=rank, local_world_size=PROCESSES)
    apart = Ranks(rank=rank, world_size=PROCESSES, machine=rank, machines=PROCESSES)
    matrices = torch.arange(4.0 * 2 * 3).view(4, 2, 3)  # two, two and none
    others = torch.arange(3.0 * 5).view(3, 1, 5)
    asked: list[int] = []

    def compute(own: Tensor) -> Tensor:
        asked.append(len(own))
        return own + 1

    found = {
        "copies": gradients_of(Copies, rank),
        "processor": gradients_of(lambda: ProcessorCopies(ranks), rank),
        "machines": gradients_of(lambda: ProcessorCopies(apart), rank),
        "spread": spread(compute, [matrices, others], Network(), ranks), "asked": asked,
        "network": exchanged(Network(), rank), "memory": exchanged(memory := SharedMemory(ranks), rank),
        "is_shared": [area is not None for area in memory._areas.values()],
    }  # fmt: skip
    if rank == 1:
        exchange._mapped = unseen
    found["unseen"] = exchanged(memory := SharedMemory(ranks), rank)
    found["is_shared"] += [area is not None for area in memory._areas.values()]
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Gradients]]:
    folder = tmp_path_factory.mktemp("gang")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, folder)) for rank in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
        process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


@pytest.mark.parametrize("kind", ["copies", "processor", "machines"])
def test_gradients_of_copies_are_those_of_one_process(found: list[dict[str, Gradients]], kind: str) -> None:
    wanted = expected()
    assert sum(gradient is None for gradient in wanted) == 4  # of what is never used, and what is fixed
    for in_process in found:
        for ours, theirs in zip(in_process[kind], wanted, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs)


def test_matrices_are_computed_once_and_known_to_all(found: list[dict[str, Gradients]]) -> None:
    for in_process in found:
        matrices, others = map(torch.as_tensor, in_process["spread"])
        assert torch.equal(matrices, torch.arange(1.0, 25.0).view(4, 2, 3))
        assert torch.equal(others, torch.arange(1.0, 16.0).view(3, 1, 5))
    assert [in_process["asked"] for in_process in found] == [[2, 1], [2, 1], [1]]


@pytest.mark.parametrize("kind", ["network", "memory", "unseen"])
def test_what_is_exchanged_is_the_same_however_it_travels(
    found: list[dict[str, Gradients]], kind: str
) -> None:
    """`unseen`: one process cannot see the memory, and all use the network."""
    given = [torch.Generator().manual_seed(rank) for rank in range(PROCESSES)]
    for turn in range(12):
        values = torch.stack([torch.randn(3 + turn % 2, 5, generator=random) for random in given])
        for in_process in found:
            gathered, total = (torch.as_tensor(each) for each in in_process[kind][2 * turn : 2 * turn + 2])
            assert torch.equal(gathered, values)
            torch.testing.assert_close(total, values.sum(0))
            assert torch.equal(total, torch.as_tensor(found[0][kind][2 * turn + 1]))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no such memory here: all use the network")
def test_on_one_machine_memory_is_shared_unless_a_process_cannot_see_it(
    found: list[dict[str, Gradients]],
) -> None:
    assert [in_process["is_shared"] for in_process in found] == [[True, True, False, False]] * PROCESSES
