"""`training.compile`: the transformer's blocks under `torch.compile`, in place.

In place, so that weights keep their names: checkpoints, averages and copies know nothing of it (a copy is
not compiled). Block by block, because all blocks share one compiled function: a stack of twelve takes no
longer to compile than one of two, and the launches that compilation saves are nearly all in them.
"""

import os
from collections.abc import Callable, Iterable

import torch
from torch import nn

from ups.events import EventType
from ups.models.pdet import Block
from ups.training.batch import Moment, TensorBatch
from ups.training.job import EventSink
from ups.training.objective import Objective

DISABLE = "TORCHINDUCTOR_DISABLE"
"""Environment variable that overrides the config."""

_OFF = {"", "0", "false", "no", "off"}


def compile_blocks(module: nn.Module, rehearse: Callable[[], None], sink: EventSink) -> bool:
    """Compile every block of a module, unless the environment forbids it or no compiler works here.

    Where it is not compiled, a warning event says why, and the module is as it was.

    Args:
        module: what is trained.
        rehearse: runs the module forwards and backwards, so that compilation fails here or nowhere.
        sink: where the warning goes.

    Returns:
        Whether the blocks are compiled.
    """
    if os.environ.get(DISABLE, "").strip().lower() not in _OFF:
        _warn(sink, f"training.compile has no effect: {DISABLE} is set", "unset it to compile")
        return False
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    for block in blocks:
        block.compile()
    try:
        rehearse()
    except torch.OutOfMemoryError:
        return True  # it did compile; the first step finds out how small a micro-batch has to be
    except RuntimeError as error:  # what torch raises where no compiler is found, or the one found fails
        for block in blocks:
            block._compiled_call_impl = None  # as `nn.Module.compile` found it
        reason = str(error).strip().partition("\n")[0]
        _warn(
            sink,
            f"the run goes on without training.compile, which does not work here: {reason}",
            "torch.compile needs a C++ compiler on a CPU, and Triton with a C compiler on a GPU",
        )
        return False
    return True


def rehearsal(
    module: nn.Module, objective: Objective, batches: Iterable[TensorBatch], device: str
) -> Callable[[], None]:
    """The forward and backward pass of some micro-batches, without a trace.

    Neither gradients nor the random streams remember it.
    """

    def rehearse() -> None:
        module.train()
        devices = [torch.device(device)] if device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            try:
                for batch in batches:
                    loss, _ = objective(batch, Moment())
                    torch.autograd.backward(loss)
            finally:
                module.zero_grad(set_to_none=True)

    return rehearse


def _warn(sink: EventSink, message: str, hint: str) -> None:
    sink.write(EventType.WARNING, code="compile", message=message, hint=hint)
