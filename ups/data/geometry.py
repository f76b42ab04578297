"""Where the points of a batch lie and which are neighbours. Numpy alone, so that training needs no scipy.

Samples differ in size; a batch is padded to its largest. Padded points are not in the mask, lie at
the domain's lower corner, and are their own neighbours; fields hold zeros there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ups.data.points import Indices
from ups.tasks import TaskSpec

Floats = NDArray[np.float32]

NEIGHBOURS = 8
"""Of a point: enough for its second differences in the plane."""
_CHUNK = 1 << 22
"""Distances held at a time."""
_BIN_SHARE = 0.6
"""Points in a bin, as a share of the neighbours wanted: then the next bins nearly always hold them."""


@dataclass(frozen=True, slots=True, eq=False)
class PointGeometry:
    """The points of a batch."""

    positions: Floats
    """[B, P, D] in the unit of the domain."""
    mask: NDArray[np.bool_]
    """[B, P] false where a sample has no such point."""
    neighbours: Indices
    """[B, P, K] points of the same sample; a point that has fewer than K is its own neighbour."""
    boundary: NDArray[np.bool_]
    """[B, P] nodes on the domain's boundary."""


def periods(spec: TaskSpec) -> Floats | None:
    """[D] length of the domain along each axis, where it is periodic."""
    return np.array([high - low for low, high in spec.domain], np.float32) if spec.periodic else None


def nearest(positions: Floats, box: Floats | None, count: int = NEIGHBOURS) -> Indices:
    """The nearest other points [P, count] of each of [P, D], in no order.

    Points are put into bins about as wide as the neighbours are far, so that time grows as the number of
    points does; those whose neighbours are farther than the next bin are compared with all.

    Args:
        positions: the points.
        box: [D] lengths of a periodic domain: distances are those to the nearest image.
        count: neighbours of each; points that have fewer are filled up with themselves.
    """
    points, dims = positions.shape
    found = min(count, points - 1)
    result = np.repeat(np.arange(points, dtype=np.int32)[:, None], count, axis=1)
    if found < 1:
        return result
    low = positions.min(axis=0) if box is None else np.zeros(dims, np.float32)
    length = np.maximum(positions.max(axis=0) - low, 1e-30) if box is None else box
    bins = int((points / _BIN_SHARE / count) ** (1 / dims))
    everyone = np.arange(points)
    if bins < 4:
        return _closest(positions, everyone, None, box, result, found)[0]
    fractions = ((positions - low) / length).astype(np.float32)
    candidates = _around(np.mod(fractions, 1) if box is not None else fractions, bins, box is not None)
    _, farthest = _closest(positions, everyone, candidates, box, result, found)
    far = np.flatnonzero(farthest > (length.min() / bins) ** 2)
    return _closest(positions, far, None, box, result, found)[0]


def _around(fractions: Floats, bins: int, periodic: bool) -> Indices:
    """[P, M] the points in the bin of each point and in those next to it; −1 where there are fewer than M."""
    dims = fractions.shape[1]
    place = np.minimum((fractions * bins).astype(np.int64), bins - 1)
    strides = bins ** np.arange(dims)
    own = place @ strides
    filled = np.bincount(own, minlength=bins**dims)
    order = np.argsort(own, kind="stable")
    # one bin more than there are, always empty, stands for what lies outside
    table = np.full((bins**dims + 1, filled.max()), -1, np.int32)
    rank = np.arange(len(own)) - np.repeat(np.cumsum(filled) - filled, filled)
    table[own[order], rank] = order
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    near = place[:, None] + steps
    inside = ((near >= 0) & (near < bins)).all(axis=-1)
    which = np.where(inside | periodic, np.mod(near, bins) @ strides, bins**dims)
    around: Indices = table[which].reshape(len(own), -1)
    return around


def _closest(
    positions: Floats,
    rows: NDArray[np.int64],
    candidates: Indices | None,
    box: Floats | None,
    result: Indices,
    found: int,
) -> tuple[Indices, Floats]:
    """Put the `found` nearest of each row's candidates (None: of all points) into `result` [P, count].

    Returns:
        `result`, and the square distance [rows] to the farthest of those found.
    """
    farthest = np.zeros(len(rows), np.float32)
    width = len(positions) if candidates is None else candidates.shape[1]
    chunk = max(1, _CHUNK // width)
    for first in range(0, len(rows), chunk):
        own = rows[first : first + chunk]
        others = np.arange(len(positions), dtype=np.int32)[None] if candidates is None else candidates[own]
        square = np.zeros((len(own), width), np.float32)
        for axis in range(positions.shape[1]):
            offset = positions[own, None, axis] - positions[others, axis]
            if box is not None:
                offset -= box[axis] * np.rint(offset / box[axis])
            square += np.square(offset, out=offset)
        square[(others < 0) | (others == own[:, None])] = np.inf
        if found < width:
            chosen = np.argpartition(square, found - 1, axis=1)[:, :found]
        else:
            chosen = np.broadcast_to(np.arange(found), (len(own), found))
        farthest[first : first + chunk] = np.take_along_axis(square, chosen, axis=1).max(axis=1)
        result[own, :found] = np.take_along_axis(np.broadcast_to(others, square.shape), chosen, axis=1)
    return result, farthest


def along_edges(triangles: Indices, positions: Floats, count: int = NEIGHBOURS) -> Indices:
    """The nodes [P, count] at the other ends of each node's edges, the shortest edges first."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    points = len(positions)
    codes = np.unique(np.concatenate([ends, ends[:, ::-1]]).astype(np.int64) @ [points, 1])  # both ways, once
    ends = np.stack(np.divmod(codes, points), axis=1)
    length = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    ends = ends[np.lexsort((length, ends[:, 0]))]
    degree = np.bincount(ends[:, 0], minlength=points)
    rank = np.arange(len(ends)) - np.repeat(np.cumsum(degree) - degree, degree)
    kept = rank < count
    result = np.repeat(np.arange(points, dtype=np.int32)[:, None], count, axis=1)
    result[ends[kept, 0], rank[kept]] = ends[kept, 1]
    return result


Scalar = TypeVar("Scalar", bound=np.generic)


def padded(parts: Sequence[NDArray[Scalar]], points: int) -> NDArray[Scalar]:
    """Arrays [P_b, …] as one [B, points, …], with zeros beyond a sample's own points."""
    result = np.zeros((len(parts), points, *parts[0].shape[1:]), parts[0].dtype)
    for row, part in enumerate(parts):
        result[row, : len(part)] = part
    return result


def gathered(
    spec: TaskSpec,
    positions: Sequence[Floats],
    neighbours: Sequence[Indices],
    boundary: Sequence[NDArray[np.bool_]],
) -> PointGeometry:
    """One batch's geometry from its samples' arrays [P_b, …]."""
    sizes = np.array([len(part) for part in positions])
    points = int(sizes.max())
    mask = np.arange(points) < sizes[:, None]
    corner = np.array([low for low, _ in spec.domain], np.float32)
    together = np.where(mask[..., None], padded(positions, points), corner).astype(np.float32)
    own = np.arange(points, dtype=np.int32)[None, :, None]
    linked = np.where(mask[..., None], padded(neighbours, points), own).astype(np.int32)
    return PointGeometry(together, mask, linked, padded(boundary, points).astype(np.bool_))
