"""How a grid is cut into patches: one rule for the models and for the latent caches. Free of torch."""

import itertools
import math
from collections.abc import Iterator, Sequence

Edges = tuple[int, ...]
"""Cells of a patch along each axis."""


def edges_of(patch: int | Sequence[int], dims: int) -> Edges:
    """The edges of a patch that is given by one edge for all axes, or by one for each."""
    return (patch,) * dims if isinstance(patch, int) else tuple(patch)


def compact(edges: Edges) -> int | Edges:
    """One number where all edges are equal, else the edges."""
    return edges[0] if len(set(edges)) == 1 else edges


def cut(grid: Sequence[int], edges: Edges) -> tuple[int, ...]:
    """Patches along each axis."""
    return tuple(cells // edge for cells, edge in zip(grid, edges, strict=True))


def divides(grid: Sequence[int], edges: Edges) -> bool:
    """Whether whole patches cover the grid."""
    return len(grid) == len(edges) and not any(cells % edge for cells, edge in zip(grid, edges, strict=True))


def choose(grid: Sequence[int], *, tokens: int, cells: int) -> Edges:
    """The patch of a grid that nobody gave.

    The smallest with equal edges, where that has at most `cells` cells; else the smallest of any
    shape, the most compact first, so that a grid loses as little as its number of tokens allows.

    Args:
        grid: cells along each axis.
        tokens: most patches.
        cells: cells of a patch that is kept whole; a larger one is projected.
    """
    fitting = (edge for edge in _divisors(math.gcd(*grid)) if _count(grid, (edge,) * len(grid)) <= tokens)
    equal = next(fitting, None)
    if equal is not None and equal ** len(grid) <= cells:
        return (equal,) * len(grid)
    shapes = itertools.product(*(tuple(_divisors(length)) for length in grid))
    return min((shape for shape in shapes if _count(grid, shape) <= tokens), key=_preference)


def divisors(grid: Sequence[int]) -> list[int]:
    """The edges of patches with equal edges that cover a grid."""
    return list(_divisors(math.gcd(*grid)))


def _preference(edges: Edges) -> tuple[int, int, tuple[int, ...]]:
    """Few cells, then a small perimeter, then the longer edge first."""
    return math.prod(edges), sum(edges), tuple(-edge for edge in edges)


def _count(grid: Sequence[int], edges: Edges) -> int:
    return math.prod(cut(grid, edges))


def _divisors(number: int) -> Iterator[int]:
    return (edge for edge in range(1, number + 1) if number % edge == 0)
