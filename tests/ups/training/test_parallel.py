"""Copies of a model in several processes have the gradients of one, however they exchange them."""

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

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
        by.average()
    return [parameter.grad for parameter in net.parameters()]


def expected() -> Gradients:
    torch.manual_seed(0)
    net = Net()
    for rank in range(PROCESSES):
        for part in range(2):
            (net(samples(rank, part), rank) / PROCESSES).backward()
    return [parameter.grad for parameter in net.parameters()]


def work(rank: int, folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), PROCESSES)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=120)
    )
    matrices = torch.arange(4.0 * 2 * 3).view(4, 2, 3)  # two, two and none
    asked: list[int] = []

    def compute(own: Tensor) -> Tensor:
        asked.append(len(own))
        return own + 1

    found = {
        "copies": gradients_of(Copies, rank), "processor": gradients_of(ProcessorCopies, rank),
        "spread": spread(compute, matrices), "asked": asked,
    }  # fmt: skip
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


@pytest.mark.parametrize("kind", ["copies", "processor"])
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
        assert torch.equal(torch.as_tensor(in_process["spread"]), torch.arange(1.0, 25.0).view(4, 2, 3))
    assert [in_process["asked"] for in_process in found] == [[2], [2], []]
