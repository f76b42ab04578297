"""What copies of a model on processors exchange: all gradients in one piece, and what Muon computes of each.

An exchange there takes the very cores that compute, so nothing is gained by sending some gradients while
others are still computed.
"""

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ups.ranks import Ranks
from ups.training.exchange import Exchange


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
        self._buffer = torch.zeros(sum(sizes) + len(sizes), dtype=first.dtype, device=first.device)
        *parts, self._counts = torch.split(self._buffer, [*sizes, len(sizes)])
        self._parts = [
            part.view_as(parameter) for part, parameter in zip(parts, self._parameters, strict=True)
        ]

    @torch.no_grad()
    def average(self) -> None:
        """Replace each gradient by its mean over all processes, where one that has none counts as zero.

        A parameter that has a gradient in none keeps none: a micro-batch of one task uses no other task's.
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
        self._exchange.sum(self._buffer)
        anywhere = (self._counts > 0).tolist()
        self._buffer /= dist.get_world_size()
        for parameter, part, has in zip(self._parameters, self._parts, anywhere, strict=True):
            parameter.grad = part if has else None


def spread(compute: Callable[[Tensor], Tensor], matrices: Tensor, exchange: Exchange, ranks: Ranks) -> Tensor:
    """What `compute` makes of each of some matrices, of which every process computes a share.

    Args:
        compute: [k, m, n] → [k, m, n], of each matrix for itself.
        matrices: [k, m, n], the same in every process.
        exchange: how its results come to the others.
        ranks: which of the processes this one is.
    """
    count = len(matrices)
    size = -(-count // ranks.world_size)
    first = min(ranks.rank * size, count)
    mine = matrices[first : first + size]
    own = matrices.new_zeros(size, *matrices.shape[1:])
    if len(mine):
        own[: len(mine)] = compute(mine)
    return exchange.gather(own).flatten(0, 1)[:count]


def same_everywhere(module: nn.Module) -> None:
    """Give all processes the main one's parameters."""
    for parameter in module.parameters():
        dist.broadcast(parameter.detach(), src=0)
