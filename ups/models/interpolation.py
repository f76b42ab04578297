"""Between the cells of a grid: averages over blocks, and multilinear interpolation.

Fields are `[B, *S, C]`. Cell i of n covers [i, i + 1) / n of its axis and its value stands at the
centre (i + ½) / n, as in `ups.data.fields`. Beyond the outermost centres a periodic axis goes on
round the domain; any other keeps the value of its outermost cell.
"""

import itertools

import torch
from torch import Tensor


def pool(field: Tensor, factor: int) -> Tensor:
    """Means over blocks of `factor` cells along each axis: [B, *S, C] → [B, *(S / factor), C]."""
    if factor == 1:
        return field
    grid = field.shape[1:-1]
    split = [part for cells in grid for part in (cells // factor, factor)]
    blocks = field.reshape(field.shape[0], *split, field.shape[-1])
    return blocks.mean(dim=tuple(range(2, 2 * len(grid) + 1, 2)))


def upsample(field: Tensor, factor: int, *, periodic: bool) -> Tensor:
    """Multilinear interpolation to `factor` times as many cells along each axis."""
    if factor == 1:
        return field
    for axis in range(1, field.dim() - 1):
        cells = field.shape[axis]
        centres = (torch.arange(cells * factor, device=field.device) + 0.5) / (cells * factor)
        low, high, weight = _neighbours(centres.to(field.dtype), cells, periodic=periodic)
        shape = [1] * field.dim()
        shape[axis] = cells * factor
        field = torch.lerp(field.index_select(axis, low), field.index_select(axis, high), weight.view(shape))
    return field


def sample(field: Tensor, coordinates: Tensor, *, periodic: bool) -> Tensor:
    """Multilinear interpolation at points.

    Args:
        field: [B, *S, C].
        coordinates: [B, Q, d] in the unit domain, [0, 1] along each axis.
        periodic: whether the domain closes on itself.

    Returns:
        [B, Q, C]; at the centre of a cell its very value.
    """
    grid, dims = field.shape[1:-1], coordinates.shape[-1]
    axes = [_neighbours(coordinates[..., axis], grid[axis], periodic=periodic) for axis in range(dims)]
    flat = field.flatten(1, -2)  # [B, cells, C]
    total = torch.zeros(*coordinates.shape[:2], field.shape[-1], dtype=field.dtype, device=field.device)
    for corner in itertools.product((0, 1), repeat=dims):
        index = torch.zeros_like(axes[0][0])
        share = torch.ones_like(coordinates[..., 0])
        for side, cells, (low, high, weight) in zip(corner, grid, axes, strict=True):
            index = index * cells + (high if side else low)
            share = share * (weight if side else 1 - weight)
        values = flat.gather(1, index[..., None].expand(*index.shape, field.shape[-1]))
        total = total + share[..., None] * values
    return total


def _neighbours(coordinates: Tensor, cells: int, *, periodic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the cells below and above each coordinate, and the weight of the one above."""
    position = coordinates * cells - 0.5
    floor = position.floor()
    low = floor.long()
    high = low + 1
    if periodic:
        return low % cells, high % cells, position - floor
    return low.clamp(0, cells - 1), high.clamp(0, cells - 1), position - floor
