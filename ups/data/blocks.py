"""Which split a sample belongs to: by initial condition, the same in every file of a task.

Every sample has an index, and the first tenth of the indices is test, the next tenth val, the rest
train. The files of a task hold the same initial conditions under other parameters, so in each of them
the indices are counted from 0: the same index is the same block everywhere, and the longest file says how
long a tenth is. Files under the same parameters hold different initial conditions: there the indices go
on from one file to the next. Where the content shows that different indices start alike (a file that
was cut or shuffled, a sample that is there twice), those indices are one block, which takes the place
of its first index. Free of torch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ups.data.source import Source
from ups.errors import DataError

Integers = NDArray[np.int64]

MIN_SAMPLES = 3
"""Fewest indices a dataset may have: one for each split."""


def first_indices(sources: Sequence[Source]) -> list[int]:
    """The index of each source's first sample: sources of the same parameters follow each other."""
    ends: dict[tuple[float, ...], int] = {}
    firsts = []
    for source in sources:
        first = ends.get(source.parameters, 0)
        firsts.append(first)
        ends[source.parameters] = first + source.samples
    return firsts


def initial_condition_blocks(sources: Sequence[Source], firsts: Sequence[int], rows: int) -> Integers:
    """The block id of every index [indices]: the smallest index that starts alike.

    Args:
        sources: everything that the dataset is to hold.
        firsts: `first_indices` of them.
        rows: samples to read at a time.
    """
    ends = [first + source.samples for first, source in zip(firsts, sources, strict=True)]
    parent = list(range(max(ends)))
    first_index: dict[bytes, int] = {}
    for source, index in zip(sources, firsts, strict=True):
        starts = source.initial_conditions(rows)
        if starts is None:
            continue
        for block in starts:
            for start in block:
                digest = hashlib.blake2b(np.ascontiguousarray(start).data, digest_size=16).digest()
                same = first_index.setdefault(digest, index)
                if same != index:
                    _join(parent, index, same)
                index += 1
    return np.array([_root(parent, index) for index in range(len(parent))], dtype=np.int64)


def splits_of(blocks: Integers) -> dict[str, NDArray[np.bool_]]:
    """split → [indices] whether an index belongs to it.

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


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _join(parent: list[int], one: int, other: int) -> None:
    a, b = _root(parent, one), _root(parent, other)
    parent[max(a, b)] = min(a, b)
