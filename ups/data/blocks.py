"""Which split a sample belongs to: by initial condition, the same in every file of a task.

By index within a raw file, the first tenth is test, the next tenth val, the rest train. The files
of a task hold the same initial conditions under other parameters, so the same index is the same
block everywhere; the longest file says how long a tenth is. Where the content shows that different
indices start alike (a file that was cut or shuffled, a sample that is there twice), those indices
are one block, which takes the place of its first index. Free of torch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.source import Source
from ups.errors import DataError

Integers = NDArray[np.int64]

MIN_SAMPLES = 3
"""Fewest samples a file may have: one for each split."""


def initial_condition_blocks(sources: Sequence[Source], rows: int) -> Integers:
    """The block id of every index [longest source]: the smallest index that starts alike.

    Args:
        sources: everything that the dataset is to hold.
        rows: samples to read at a time.
    """
    parent = np.arange(max(source.samples for source in sources), dtype=np.int64)
    first_index: dict[bytes, int] = {}
    for source in sources:
        starts = source.initial_conditions(rows)
        if starts is None:
            continue
        index = 0
        for block in starts:
            for start in block:
                digest = hashlib.blake2b(start.tobytes(), digest_size=16).digest()
                _join(parent, index, first_index.setdefault(digest, index))
                index += 1
    return np.array([_root(parent, index) for index in range(len(parent))], dtype=np.int64)


def splits_of(blocks: Integers) -> dict[str, NDArray[np.bool_]]:
    """split → [longest source] whether an index belongs to it.

    Raises:
        DataError: a split would be empty, since too many samples start alike.
    """
    tenth = max(1, len(blocks) // 10)
    test, val = blocks < tenth, (blocks >= tenth) & (blocks < 2 * tenth)
    masks = {"train": ~(test | val), "val": val, "test": test}
    empty = [split for split, mask in masks.items() if not mask.any()]
    if empty:
        raise DataError(
            f"too many samples have the same initial condition: nothing is left for {' and '.join(empty)}",
            hint="a sample may not start like one of another split, or the test would be no test",
        )
    return masks


def _root(parent: Integers, index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = int(parent[index])
    return index


def _join(parent: Integers, one: int, other: int) -> None:
    a, b = _root(parent, one), _root(parent, other)
    parent[max(a, b)] = min(a, b)
