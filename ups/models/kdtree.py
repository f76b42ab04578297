"""A balanced k-d tree over the points of every sample of a batch at once.

All cells of a level are halved together, along one axis after the other, so that a cell's number
says where in the domain, and where in its parent, it lies: bit by bit, lower half or upper. A tree
with room for more points than there are leaves some cells empty; with room for fewer, cells hold several.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cells:
    """Which cell each point is in."""

    index: Tensor
    """[B, P] int64; padded points are in the cell `count`, which nothing else is in."""
    count: int
    """Cells of a tree, a power of two."""
    points: Tensor
    """[B, count] points in each cell, as floats."""

    def pool(self, values: Tensor) -> Tensor:
        """[B, P, C] → [B, count, C]: each cell's mean, zero in empty ones."""
        batch, _, channels = values.shape
        room = self.count + 1
        flat = (self.index + room * torch.arange(batch, device=values.device)[:, None]).flatten()
        sums = values.new_zeros(batch * room, channels).index_add(0, flat, values.flatten(0, 1))
        return sums.view(batch, room, channels)[:, :-1] / self.points.clamp_min(1)[..., None]

    def spread(self, values: Tensor) -> Tensor:
        """[B, count, C] → [B, P, C]: to each point its cell's value, zero to padded ones."""
        padded = torch.cat([values, values.new_zeros(len(values), 1, values.shape[-1])], dim=1)
        return padded.gather(1, self.index[..., None].expand(-1, -1, values.shape[-1]))


@torch.no_grad()
def build(positions: Tensor, mask: Tensor, depth: int) -> Cells:
    """Divide points into 2^depth cells.

    Args:
        positions: [B, P, D].
        mask: [B, P] which are points.
        depth: times the points are halved.
    """
    batch, points, dims = positions.shape
    device = positions.device
    orders = [positions[..., axis].argsort(dim=1) for axis in range(dims)]
    sizes = mask.sum(dim=1, keepdim=True)  # [B, cells] of the level
    cell = torch.where(mask, 0, 1)  # [B, P]; the cell past the last is that of padded points
    place = torch.arange(points, device=device).expand(batch, points)
    for level in range(depth):
        by_axis = orders[level % dims]
        by_cell = cell.gather(1, by_axis).argsort(dim=1, stable=True)
        order = by_axis.gather(1, by_cell)  # sorted by cell, and by position within
        sorted_cell = cell.gather(1, order)
        starts = torch.cat([sizes.cumsum(dim=1) - sizes, sizes.sum(dim=1, keepdim=True)], dim=1)
        lower = torch.cat([(sizes + 1) // 2, torch.zeros_like(sizes[:, :1])], dim=1)
        upper = place - starts.gather(1, sorted_cell) >= lower.gather(1, sorted_cell)
        last = sorted_cell == sizes.shape[1]
        halved = torch.where(last, 2 * sorted_cell, 2 * sorted_cell + upper)
        cell = torch.empty_like(cell).scatter(1, order, halved)
        sizes = torch.stack([(sizes + 1) // 2, sizes // 2], dim=2).flatten(1)
    return Cells(cell, 2**depth, sizes.to(positions.dtype))
