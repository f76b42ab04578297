"""What copies of a model on processors exchange: all gradients in one piece, and what Muon computes of each.

An exchange there takes the very cores that compute, so nothing is gained by sending some gradients while
others are still computed.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ups.ranks import Ranks
from ups.training.exchange import Exchange

_ROOM = 64
"""Numbers that can be sent with the gradients: several losses of each micro-batch."""


class FlatGradients:
    """The gradients of some parameters, side by side in one buffer."""

    def __init__(self, parameters: Iterable[nn.Parameter], exchange: Exchange) -> None:
        """Nothing is sent yet.

        Args:
            parameters: of one dtype and device, in the same order in every process.
            exchange: how it is.
        """
        self._exchange = exchange
        self._parameters = list(parameters)
        sizes = [parameter.numel() for parameter in self._parameters]
        first = self._parameters[0]
        # behind the gradients it stands for each parameter in how many processes it has one
        sizes += [len(sizes), _ROOM]
        self._buffer = torch.zeros(sum(sizes), dtype=first.dtype, device=first.device)
        *parts, self._counts, self._values = torch.split(self._buffer, sizes)
        self._parts = [
            part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)
        ]

    @torch.no_grad()
    def average(self, values: Tensor) -> Tensor:
        """Replace each gradient by its mean over all processes, where one that has none counts as zero.

        A parameter that has a gradient in none keeps none: a micro-batch of one task uses no other task's.

        Args:
            values: [k] others that are exchanged with them.

        Returns:
            [k] their sums over all processes.
        """
        gradients, places = [], []
        for parameter, part in zip(self._parameters, self._parts, strict=True):
            if parameter.grad is None:
                part.zero_()
            else:
                gradients.append(parameter.grad)
                places.append(part)
        torch._foreach_copy_(places, gradients)
        self._counts.copy_(torch.tensor([parameter.grad is not None for parameter in self._parameters]))
        beside = self._values[: len(values)] if len(values) <= _ROOM else values.clone()
        beside.copy_(values)
        self._exchange.sum(self._buffer)
        if len(values) > _ROOM:
            self._exchange.sum(beside)
        total = beside.clone()
        anywhere = (self._counts > 0).tolist()
        self._buffer /= dist.get_world_size()
        for parameter, part, has in zip(self._parameters, self._parts, anywhere, strict=True):
            parameter.grad = part if has else None
        return total


def spread(
    compute: Callable[[Tensor], Tensor], stacks: Sequence[Tensor], exchange: Exchange, ranks: Ranks
) -> list[Tensor]:
    """What `compute` makes of each of some matrices, of which every process computes a share of each stack.

    Args:
        compute: [k, m, n] → [k, m, n], of each matrix for itself.
        stacks: [k, m, n] each, the same in every process.
        exchange: how the results come to the others, all at once.
        ranks: which of the processes this one is.

    Returns:
        [k, m, n] each, to be used before the next exchange.
    """
    sizes = [-(-len(stack) // ranks.world_size) for stack in stacks]
    shares = [stack[ranks.rank * size :][:size] for stack, size in zip(stacks, sizes, strict=True)]
    # of what cannot be shared evenly some processes have less, and send nothing in its place
    made = [stack.new_zeros(size, *stack.shape[1:]) for stack, size in zip(stacks, sizes, strict=True)]
    for own, share in zip(made, shares, strict=True):
        if len(share):
            own[: len(share)] = compute(share)
    gathered = exchange.gather(torch.cat([own.flatten() for own in made]))
    parts = torch.split(gathered, [own.numel() for own in made], dim=1)
    return [
        part.reshape(-1, *stack.shape[1:])[: len(stack)] for part, stack in zip(parts, stacks, strict=True)
    ]


def same_everywhere(module: nn.Module) -> None:
    """Give all processes the main one's parameters."""
    for parameter in module.parameters():
        dist.broadcast(parameter.detach(), src=0)
