"""Where bfloat16 is used: a property of the machine, so that two runs of one seed agree there.

A CPU without matrix units for it can be five times slower in bfloat16 than in float32; with them, and on
GPUs since Ampere, it is faster. Timing both would decide by the load of the moment, and a decision
that differs between two runs moves their curves apart.
"""

from dataclasses import dataclass

import torch

from ups.config import Optimizer, TrainConfig

_AMPERE = (8, 0)


@dataclass(frozen=True, slots=True)
class Precision:
    """What is computed in bfloat16; kept in the checkpoints."""

    amp: bool
    """The transformer blocks."""
    muon_bfloat16: bool
    """The Newton–Schulz iteration of Muon."""

    @property
    def muon_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.muon_bfloat16 else torch.float32


def choose(config: TrainConfig, optimizer: Optimizer, device: str) -> Precision:
    """The precision for a new stage on `device`."""
    fast, backend = has_fast_bfloat16(device), optimizer.muon_backend
    return Precision(config.training.amp and fast, backend == "bfloat16" or (backend == "auto" and fast))


def has_fast_bfloat16(device: str) -> bool:
    """Whether the device multiplies matrices faster in bfloat16 than in float32."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= _AMPERE
    # Not in every torch that we accept; without it float32 is the safe answer.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
