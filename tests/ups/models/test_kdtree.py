"""The k-d tree: balanced cells, numbered by where they lie."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ups.models.kdtree import build


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=3),
    depth=st.integers(0, 6),
    seed=st.integers(0, 50),
)
def test_cells_are_balanced_and_know_their_points(sizes: list[int], depth: int, seed: int) -> None:
    torch.manual_seed(seed)
    positions = torch.rand(len(sizes), max(sizes), 2)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    cells = build(positions, mask, depth)
    for row, size in enumerate(sizes):
        counts = torch.bincount(cells.index[row, :size], minlength=2**depth)
        assert counts.tolist() == cells.points[row].tolist()
        assert counts.max() - counts.min() <= 1
        assert (cells.index[row, size:] == 2**depth).all()


def test_halves_lie_on_either_side_along_one_axis_after_the_other() -> None:
    positions = torch.rand(1, 64, 2, generator=torch.Generator().manual_seed(0))
    cells = build(positions, torch.ones(1, 64, dtype=torch.bool), 2)
    quarter = [positions[0][cells.index[0] == number] for number in range(4)]
    left, right = torch.cat(quarter[:2]), torch.cat(quarter[2:])
    assert left[:, 0].max() <= right[:, 0].min()
    assert quarter[0][:, 1].max() <= quarter[1][:, 1].min()
    assert quarter[2][:, 1].max() <= quarter[3][:, 1].min()


def test_equal_positions_are_divided_all_the_same() -> None:
    cells = build(torch.zeros(1, 10, 2), torch.ones(1, 10, dtype=torch.bool), 4)
    assert cells.points.max() == 1


def test_pooling_takes_means_and_spreading_gives_them_back() -> None:
    positions = torch.tensor([[[0.1, 0.0], [0.2, 0.0], [0.8, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, True, False]])
    cells = build(positions, mask, 1)
    values = torch.tensor([[[1.0], [3.0], [5.0], [9.0]]])
    assert cells.pool(values).tolist() == [[[2.0], [5.0]]]
    assert cells.spread(cells.pool(values)).flatten().tolist() == [2.0, 2.0, 5.0, 0.0]
