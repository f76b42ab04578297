"""Between the cells: means, interpolation, and what lies beyond the outermost centres."""

import pytest
import torch

from ups.models.interpolation import pool, sample, upsample


@pytest.mark.parametrize("grid", [(12,), (6, 4), (4, 6, 2)])
@pytest.mark.parametrize("periodic", [True, False])
def test_upsampling_and_sampling_at_the_fine_centres_agree(grid: tuple[int, ...], periodic: bool) -> None:
    field = torch.randn(2, *grid, 3)
    fine = upsample(field, 2, periodic=periodic)
    assert fine.shape == (2, *(2 * cells for cells in grid), 3)
    axes = [(torch.arange(2 * cells) + 0.5) / (2 * cells) for cells in grid]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    sampled = sample(field, points.expand(2, *points.shape), periodic=periodic)
    torch.testing.assert_close(sampled, fine.flatten(1, -2))


def test_a_pool_is_the_mean_of_its_block() -> None:
    field = torch.arange(16.0).view(1, 4, 4, 1)
    assert pool(field, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_linear_fields_come_back_from_a_pool_away_from_the_edges() -> None:
    field = torch.arange(32.0).view(1, 32, 1)
    again = upsample(pool(field, 4), 4, periodic=False)
    torch.testing.assert_close(again[0, 2:-2], field[0, 2:-2])
