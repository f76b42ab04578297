"""Neighbours: the nearest, round the box where it is periodic, and those along a mesh's edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups.data.geometry import along_edges, gathered, nearest
from ups.tasks import task_spec

BOX = np.array([1.0, 1.0], np.float32)


def brute(positions: np.ndarray, box: np.ndarray | None, count: int) -> np.ndarray:
    """Square distances [P, count] to the nearest others, ascending."""
    offset = positions[:, None] - positions[None]
    if box is not None:
        offset -= box * np.round(offset / box)
    square = (offset**2).sum(axis=-1)
    np.fill_diagonal(square, np.inf)
    return np.sort(square, axis=1)[:, :count]


def found(positions: np.ndarray, neighbours: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    offset = positions[neighbours] - positions[:, None]
    if box is not None:
        offset -= box * np.round(offset / box)
    return np.sort((offset**2).sum(axis=-1), axis=1)


@settings(deadline=None, max_examples=20)
@given(points=st.integers(9, 600), seed=st.integers(0, 99), periodic=st.booleans(), clustered=st.booleans())
def test_nearest_are_the_nearest(points: int, seed: int, periodic: bool, clustered: bool) -> None:
    positions = np.random.default_rng(seed).random((points, 2)).astype(np.float32)
    if clustered:
        positions **= 4
    box = BOX if periodic else None
    neighbours = nearest(positions, box)
    assert not (neighbours == np.arange(points)[:, None]).any()
    assert np.allclose(found(positions, neighbours, box), brute(positions, box, 8), atol=1e-6)


def test_few_points_are_filled_up_with_themselves() -> None:
    neighbours = nearest(np.array([[0.1, 0.1], [0.2, 0.2]], np.float32), None, 3)
    assert neighbours.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_edges_give_each_node_its_neighbours_shortest_first() -> None:
    #  2 ─ 3     a square of two triangles, the right side twice as far
    #  │ ╲ │
    #  0 ─ 1
    positions = np.array([[0, 0], [2, 0], [0, 1], [2, 1]], np.float32)
    triangles = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    assert along_edges(triangles, positions, 3).tolist() == [[2, 1, 0], [3, 0, 2], [0, 3, 1], [1, 2, 3]]
    assert along_edges(triangles, positions, 1).tolist() == [[2], [3], [0], [1]]


def test_batch_is_padded_to_its_largest_sample() -> None:
    spec = task_spec("darcy2d_mesh")
    positions = [np.full((2, 2), 0.5, np.float32), np.full((3, 2), 0.7, np.float32)]
    neighbours = [np.array([[1], [0]], np.int32), np.array([[1], [2], [0]], np.int32)]
    batch = gathered(spec, positions, neighbours, [np.array([True, False]), np.zeros(3, np.bool_)])
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.positions[0, 2].tolist() == [0.0, 0.0]
    assert batch.neighbours[0].tolist() == [[1], [0], [2]]
    assert batch.boundary[0].tolist() == [True, False, False]
    assert batch.positions[1, 2] == pytest.approx([0.7, 0.7])
