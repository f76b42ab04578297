"""Tensors of which a process may hold only a shard (`DTensor`s), beside plain ones.

Recognised by what they can do: importing the class takes a second, and most runs have none.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a sharded one gathered, for which all processes have to ask."""
    gather: Any = getattr(tensor, "full_tensor", None)
    if gather is None:
        return tensor
    gathered: Tensor = gather()
    return gathered


def own(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, sharing its memory."""
    local: Any = getattr(tensor, "to_local", None)
    if local is None:
        return tensor
    held: Tensor = local()
    return held


def share_of(values: Tensor, like: Tensor) -> Tensor:
    """That part of whole `values` which lies where this process's part of `like` lies."""
    if not hasattr(like, "full_tensor"):
        return values
    from torch.distributed.tensor import distribute_tensor

    layout: Any = like
    # every process has all values: nothing needs to be sent
    shards: Any = distribute_tensor(
        values.to(like.device), layout.device_mesh, layout.placements, src_data_rank=None
    )
    return own(shards)


@torch.no_grad()
def whole_state(module: nn.Module) -> Mapping[str, Tensor]:
    """The whole tensors of a module's state; all processes have to ask for it."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}
