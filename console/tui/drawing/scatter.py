"""Values at scattered points as a small plane: means of what falls into a pixel, gaps filled from beside."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_LARGEST_SIDE = 64
"""Pixels; a terminal shows no more of a third of its width."""


def bounds(positions: "Array") -> tuple["Array", "Array"]:
    """Lowest and highest corner [D] of positions [..., D]; points that are not finite do not count."""
    import numpy as np

    flat = positions.reshape(-1, positions.shape[-1])
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        flat = np.zeros((1, positions.shape[-1]))
    low, high = flat.min(axis=0), flat.max(axis=0)
    return low, np.where(high > low, high, low + 1.0)


def scatter(values: "Array", positions: "Array", low: "Array", high: "Array") -> "Array":
    """Values [P] at positions [P, D] within the box `low` … `high` as a plane [H, W].

    The first axis runs down and the second to the right, as those of a gridded field; further axes
    are looked through.
    """
    import numpy as np

    side = int(np.clip(np.sqrt(len(values)), 2, _LARGEST_SIDE))
    share = (positions - low) / (high - low)
    shown = np.isfinite(values) & np.isfinite(share).all(axis=1)
    pixel = np.clip(share[shown] * side, 0, side - 1).astype(np.intp)
    columns = pixel[:, 1] if pixel.shape[1] > 1 else np.zeros(len(pixel), np.intp)
    index = pixel[:, 0] * side + columns
    count = np.bincount(index, minlength=side * side).reshape(side, side).astype(float)
    total = np.bincount(index, values[shown], minlength=side * side).reshape(side, side)
    while count.any() and not count.all():
        wider_total, wider_count = _spread(total), _spread(count)
        empty = count == 0
        total, count = np.where(empty, wider_total, total), np.where(empty, wider_count, count)
    return np.asarray(total / np.where(count > 0, count, 1.0))


def _spread(plane: "Array") -> "Array":
    """Sums over each pixel and its eight neighbours."""
    import numpy as np

    padded = np.pad(plane, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
