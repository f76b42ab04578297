"""How a grid is cut: at most so many patches, whole where they can be."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from ups.patches import choose, compact, cut, divides, edges_of

LENGTHS = st.sampled_from([1, 7, 8, 12, 16, 48, 64, 101, 128])


@settings(deadline=None, max_examples=80)
@given(st.lists(LENGTHS, min_size=1, max_size=3), st.integers(1, 256), st.integers(1, 256))
def test_choice_covers_the_grid_with_few_enough_patches(grid: list[int], tokens: int, cells: int) -> None:
    edges = choose(grid, tokens=tokens, cells=cells)
    assert divides(grid, edges)
    assert math.prod(cut(grid, edges)) <= tokens


def test_equal_edges_are_preferred_where_they_are_kept_whole() -> None:
    assert choose((64, 64), tokens=128, cells=128) == (8, 8)
    assert choose((64, 64), tokens=128, cells=32) == (8, 4)


def test_length_without_divisors_is_cut_along_the_other_axis_or_not_at_all() -> None:
    assert choose((101, 64), tokens=64, cells=1) == (101, 1)
    assert choose((101,), tokens=64, cells=1) == (101,)


def test_one_number_stands_for_equal_edges() -> None:
    assert compact((4, 4)) == 4
    assert compact((4, 2)) == (4, 2)
    assert edges_of(4, 2) == (4, 4)
    assert edges_of([4, 2], 2) == (4, 2)
