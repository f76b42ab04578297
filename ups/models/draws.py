"""Random numbers of samples: noise, drop-path masks, dropout, the same however a batch is shared out.

Where several processes compute one batch, each draws the numbers of the whole batch from the same
stream and keeps those of its own samples. Alone, a process draws just what it needs.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Rows:
    """Those samples of a batch that a process computes."""

    first: int
    end: int
    """One behind the last."""
    total: int
    """Samples of the batch."""


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)


@contextlib.contextmanager
def drawing_for(rows: Rows | None) -> Iterator[None]:
    """Inside, draws are for these samples of a batch; None means that the batch is whole."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def normal_like(samples: Tensor) -> Tensor:
    """Standard normal numbers [B, …] of the shape, type and device of `samples`."""
    return _drawn(
        len(samples),
        lambda count: torch.randn(count, *samples.shape[1:], dtype=samples.dtype, device=samples.device),
    )


def uniform(count: int, *shape: int, device: torch.device) -> Tensor:
    """Numbers [count, *shape] in [0, 1), `count` being the samples."""
    return _drawn(count, lambda samples: torch.rand(samples, *shape, device=device))


def integers(high: int, count: int, *, device: torch.device) -> Tensor:
    """Whole numbers [count] below `high`, one for each sample."""
    return _drawn(count, lambda samples: torch.randint(high, (samples,), device=device))


def dropout(samples: Tensor, share: float) -> Tensor:
    """`samples` [B, …] with a share of the values set to zero and the others scaled up for it."""
    if _rows.get() is None:
        return functional.dropout(samples, share)
    return samples * _drawn(
        len(samples), lambda count: functional.dropout(samples.new_ones(count, *samples.shape[1:]), share)
    )


def _drawn(count: int, draw: Callable[[int], Tensor]) -> Tensor:
    rows = _rows.get()
    if rows is None:
        return draw(count)
    assert count == rows.end - rows.first, f"{count} samples drawn for, {rows} computed"
    return draw(rows.total)[rows.first : rows.end]
