"""Points of the unit domain at which a decoded field is looked at."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ups.models import draws

Strategy = Literal["uniform", "stratified"]


def query_points(
    strategy: Strategy, num: int, grid: Sequence[int], batch: int, random: torch.Generator | None = None
) -> Tensor:
    """Random points [batch, Q, d] of the unit domain; stratified ones in the row-major order of their strata.

    Args:
        strategy: `uniform`: anywhere. `stratified`: one in each cell of a coarse grid, which covers the
            domain evenly with far less variance.
        num: points per sample. Stratified sampling takes as many as its strata, at most so many.
        grid: cells along each axis of the field.
        batch: samples; each gets its own points.
        random: where the numbers come from, on the CPU; null: `ups.models.draws`.
    """
    if strategy == "uniform":
        return _uniform(batch, num, len(grid), random=random)
    counts = strata(num, grid)
    corners = torch.cartesian_prod(*(torch.arange(float(count)) for count in counts))
    corners = corners.reshape(math.prod(counts), len(grid))
    offsets = _uniform(batch, *corners.shape, random=random)
    return (corners + offsets) / torch.tensor(counts)


def strata(num: int, grid: Sequence[int]) -> tuple[int, ...]:
    """Strata along each axis: at most `num` in all, no finer than the grid, in its proportions."""
    shrink = min(1.0, (num / math.prod(grid)) ** (1 / len(grid)))
    counts = [max(1, int(cells * shrink + 1e-9)) for cells in grid]
    # an axis too short to shrink (one stratum at least) takes its share from the longest
    while math.prod(counts) > num:
        counts[counts.index(max(counts))] -= 1
    return tuple(counts)


def _uniform(batch: int, *shape: int, random: torch.Generator | None) -> Tensor:
    if random is None:
        return draws.uniform(batch, *shape, device=torch.device("cpu"))
    return torch.rand(batch, *shape, generator=random)
