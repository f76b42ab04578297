"""Whether bfloat16 is faster here: measured once per run, then kept in its checkpoints.

Without matrix units for it, bfloat16 on a CPU can be five times slower than float32.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.models.pdet import Block
from ups.models.spec import OperatorSpec

_WORTHWHILE = 0.9
"""bfloat16 must take less than this share of float32's time: it costs precision."""
_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Precision:
    """What is computed in bfloat16."""

    amp: bool
    """The transformer blocks."""
    muon_bfloat16: bool
    """The Newton–Schulz iteration of Muon."""

    @property
    def muon_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.muon_bfloat16 else torch.float32


def measure(config: TrainConfig, spec: OperatorSpec, device: str) -> Precision:
    """Decide by timing one block and one batched product on this machine."""
    backend = config.stages.operator.optimizer.muon_backend
    muon = backend == "bfloat16" or (backend == "auto" and _product_is_faster(spec, device))
    return Precision(config.training.amp and _block_is_faster(spec, device), muon)


def _block_is_faster(spec: OperatorSpec, device: str) -> bool:
    with torch.random.fork_rng(devices=[]):
        block = Block(spec, 0.0).to(device)
        tokens = torch.randn(4, _TOKENS, spec.hidden_dim, device=device)
        condition = torch.randn(4, spec.hidden_dim, device=device)
    angle = torch.zeros(_TOKENS, 1, spec.head_dim // 2, device=device)

    def run(dtype: torch.dtype) -> None:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
            out: Tensor = block(tokens, condition, (angle.cos(), angle.sin()))
        torch.autograd.backward(out.square().sum())

    return _faster(run, device)


def _product_is_faster(spec: OperatorSpec, device: str) -> bool:
    matrices = nn.init.normal_(torch.empty(6, spec.hidden_dim, 2 * spec.hidden_dim, device=device))

    def run(dtype: torch.dtype) -> None:
        half = matrices.to(dtype)
        for _ in range(2):
            half @ half.mT

    return _faster(run, device)


def _faster(run: Callable[[torch.dtype], None], device: str) -> bool:
    return _seconds(run, torch.bfloat16, device) < _WORTHWHILE * _seconds(run, torch.float32, device)


def _seconds(run: Callable[[torch.dtype], None], dtype: torch.dtype, device: str) -> float:
    """Best of three, after a warm-up."""
    times = []
    for _ in range(4):
        started = time.perf_counter()
        run(dtype)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
