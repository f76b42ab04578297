"""How several processes share a model: copies, or shards (FSDP2) where one device is too small.

Either way each process computes its own samples of every micro-batch, and the gradients of all are
those of the whole one. Checkpoints and judgements are made of whole weights, so that they do not
depend on how many processes shared them, or how.
"""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.ranks import Ranks
from ups.training.distributed import Group
from ups.training.exchange import exchange
from ups.training.flat import FlatGradients, same_everywhere, spread
from ups.training.objective import Objective
from ups.training.optim import alone
from ups.training.state import TrainingState, optimizer_of
from ups.training.tensors import whole_state
from ups.training.trainee import Trainee


class Parallel(Protocol):
    """How the parameters of an objective are laid out, and how its gradients are exchanged."""

    @property
    def can_rehearse(self) -> bool:
        """Whether memory that runs out can be noticed in a pass that exchanges nothing."""
        ...

    def place(self, objective: nn.Module, module: nn.Module) -> bool:
        """Lay out the parameters of `module`, a part of the objective, in place.

        Returns:
            Whether they are other parameters now.
        """
        ...

    def exchanging(self, objective: nn.Module) -> nn.Module:
        """A placed objective whose gradients are averaged over the processes."""
        ...

    def apart(self, objective: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Inside, backward passes of an exchanging objective only add up this process's gradients."""
        ...

    def average(self, values: Tensor) -> Tensor:
        """Average the gradients of a step, unless its last backward pass has done that.

        Args:
            values: [k] of this process.

        Returns:
            [k] their sums over all processes.
        """
        ...

    def spread(self, compute: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> Sequence[Tensor]:
        """What `compute` makes of each of `stacks` [k, m, n], which are the same in all processes."""
        ...

    def gathered(self, module: nn.Module) -> nn.Module:
        """The placed module with whole weights and plain tensors; all processes have to ask for it."""
        ...


class Alone:
    """One process."""

    can_rehearse = False

    def place(self, objective: nn.Module, module: nn.Module) -> bool:
        return False

    def exchanging(self, objective: nn.Module) -> nn.Module:
        return objective

    def apart(self, objective: nn.Module) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def average(self, values: Tensor) -> Tensor:
        return values

    def spread(self, compute: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> Sequence[Tensor]:
        return alone(compute, stacks)

    def gathered(self, module: nn.Module) -> nn.Module:
        return module


class ProcessorCopies(Alone):
    """Every process has all weights, on a processor: gradients are exchanged once they are all there."""

    can_rehearse = True

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._exchange = exchange(ranks)
        self._gradients: FlatGradients | None = None

    def exchanging(self, objective: nn.Module) -> nn.Module:
        same_everywhere(objective)
        trained = (parameter for parameter in objective.parameters() if parameter.requires_grad)
        self._gradients = FlatGradients(trained, self._exchange)
        return objective

    def average(self, values: Tensor) -> Tensor:
        assert self._gradients is not None
        return self._gradients.average(values)

    def spread(self, compute: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> Sequence[Tensor]:
        return spread(compute, stacks, self._exchange, self._ranks)


class Copies(Alone):
    """DistributedDataParallel: every process has all weights; gradients travel while others are computed."""

    can_rehearse = True

    def exchanging(self, objective: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # its new name is not in every torch that we accept
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            # a micro-batch is of one task: it uses no other task's parameters; buffers never change
            return nn.parallel.DistributedDataParallel(
                objective, find_unused_parameters=True, broadcast_buffers=False
            )

    def average(self, values: Tensor) -> Tensor:
        dist.all_reduce(values)
        return values

    @contextlib.contextmanager
    def apart(self, objective: nn.Module) -> Iterator[None]:
        assert isinstance(objective, nn.parallel.DistributedDataParallel)
        with objective.no_sync():
            yield


class Shards:
    """FSDP2 (`fully_shard`): every process holds a share of each parameter, gradient and average.

    A transformer block is gathered while it is computed; all the rest while the objective is.
    """

    can_rehearse = False  # a pass gathers weights: a process that drops out of it leaves the others waiting

    def __init__(self, processes: int, device: str) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        self._processes = processes
        self._mesh = init_device_mesh(torch.device(device).type, (processes,))
        self._device = device
        # FSDP's modules cannot be copied: what a gathered one is made from
        self._templates: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    def place(self, objective: nn.Module, module: nn.Module) -> bool:
        from torch.distributed.fsdp import fully_shard

        self._templates[module] = copy.deepcopy(module).cpu()
        fixed = set(objective.parameters()) - set(module.parameters())
        layout: dict[str, Any] = {
            "mesh": self._mesh, "shard_placement_fn": self._placement, "ignored_params": fixed,
        }  # fmt: skip
        for part in _blocks(module):
            fully_shard(part, **layout)
        fully_shard(objective, **layout)
        return True

    def exchanging(self, objective: nn.Module) -> nn.Module:
        return objective

    @contextlib.contextmanager
    def apart(self, objective: nn.Module) -> Iterator[None]:
        from torch.distributed.fsdp import FSDPModule

        assert isinstance(objective, FSDPModule)
        objective.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            objective.set_requires_gradient_sync(True)

    def average(self, values: Tensor) -> Tensor:
        dist.all_reduce(values)
        return values

    def spread(self, compute: Callable[[Tensor], Tensor], stacks: Sequence[Tensor]) -> Sequence[Tensor]:
        return alone(compute, stacks)

    def gathered(self, module: nn.Module) -> nn.Module:
        plain = copy.deepcopy(self._templates[module])
        plain.load_state_dict(whole_state(module))
        return plain.to(self._device).train(module.training)

    def _placement(self, parameter: nn.Parameter) -> Any:
        """Along the first axis that can be cut evenly: stacked matrices are few."""
        from torch.distributed.tensor import Shard

        even = (axis for axis, size in enumerate(parameter.shape) if size % self._processes == 0)
        return Shard(next(even, 0))


def parallel(config: TrainConfig, group: Group, device: str) -> Parallel:
    """What a config asks for, for these processes."""
    processes = group.ranks.world_size
    if processes == 1:
        return Alone()
    if config.distributed.strategy == "fsdp2":
        return Shards(processes, device)
    return Copies() if device.startswith("cuda") else ProcessorCopies(group.ranks)


def lay_out(state: TrainingState, trainee: Trainee, config: TrainConfig, by: Parallel) -> nn.Module:
    """Lay a state out over the processes, in place; returns the objective of its module to train with."""
    objective = _module(trainee.objective(state.module))
    if state.ema is not None:
        by.place(_module(trainee.objective(state.ema)), state.ema)
    if by.place(objective, state.module):
        averages = state.optimizer.state()
        state.optimizer = optimizer_of(config, trainee, state.module, state.precision)
        state.optimizer.load(averages)
    state.optimizer.spread = by.spread
    return by.exchanging(objective)


def gather(state: TrainingState, by: Parallel) -> None:
    """Take a state that is no longer trained together again: whole weights in every process."""
    state.module = by.gathered(state.module)
    if state.ema is not None:
        state.ema = by.gathered(state.ema)


def _module(objective: Objective) -> nn.Module:
    assert isinstance(objective, nn.Module)
    return objective


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The transformer blocks."""
    return [part for name, part in module.named_modules() if name.rpartition(".")[0].endswith("blocks")]
