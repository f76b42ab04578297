"""Points at which a decoded field is looked at, and what is seen there."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ups.models.codec import FieldCodec
from ups.models.queries import query_points, strata
from ups.models.spec import GridTask
from ups.physics import shift_cells

GRIDS = st.lists(st.integers(1, 40), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(GRIDS, st.integers(1, 300), st.integers(0, 99))
def test_each_stratum_is_hit_once(grid: list[int], num: int, seed: int) -> None:
    counts = strata(num, grid)
    points = query_points("stratified", num, grid, 2, torch.Generator().manual_seed(seed))
    assert math.prod(counts) == points.shape[1] <= num
    assert all(count <= cells for count, cells in zip(counts, grid, strict=True))
    corners = torch.cartesian_prod(*(torch.arange(count) for count in counts)).reshape(-1, len(grid))
    within = points * torch.tensor(counts) - corners
    assert within.min() > -1e-4
    assert within.max() < 1 + 1e-4


def test_strata_use_most_of_the_points_in_the_proportions_of_the_grid() -> None:
    assert strata(2048, (1024,)) == (1024,)
    assert strata(100, (1024,)) == (100,)
    assert strata(2048, (128, 128)) == (45, 45)
    assert strata(512, (64, 32)) == (32, 16)
    assert strata(3, (100, 1)) == (3, 1)


def test_uniform_points_fill_the_domain_and_follow_their_random_stream() -> None:
    first, again = (
        query_points("uniform", 500, (8, 8), 3, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.shape == (3, 500, 2)
    assert 0 <= first.min() < 0.05
    assert 0.95 < first.max() <= 1


CODECS = {
    "periodic 1-D": GridTask("burgers1d", (12,), 3, 0.1),
    "edges 2-D": GridTask("reaction_diffusion2d", (6, 4), (3, 2), 0.1),
    "periodic 2-D, pooled": GridTask("allen_cahn2d", (8, 12), 2, 0.1, pool=2),
    "periodic 3-D": GridTask("compressible_ns3d", (4, 2, 6), (2, 1, 2), 0.1),
}


def codec_of(task: GridTask) -> FieldCodec:
    codec = FieldCodec(task, len(task.spec.fields), 24, role="state", mean_field=False)
    codec.mean += 0.5
    codec.std *= 2.0
    return codec


def tokens_of(codec: FieldCodec, seed: int) -> torch.Tensor:
    return torch.randn(2, codec.task.num_tokens, 24, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("task", CODECS.values(), ids=CODECS)
def test_at_the_centres_of_cells_queries_see_the_decoded_field(task: GridTask) -> None:
    codec = codec_of(task)
    tokens = tokens_of(codec, 0)
    axes = [(torch.arange(cells) + 0.5) / cells for cells in task.grid]
    centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    seen = codec.decode_at(tokens, centres.expand(2, *centres.shape))
    torch.testing.assert_close(
        seen, codec.denormalise(codec.decode(tokens)).flatten(1, -2), atol=1e-4, rtol=1e-4
    )


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["periodic 1-D", "periodic 3-D"]), st.integers(0, 99))
def test_queries_move_with_a_field_on_a_periodic_domain(name: str, seed: int) -> None:
    task = CODECS[name]
    codec, random = codec_of(task), torch.Generator().manual_seed(seed)
    field = torch.randn(2, *task.grid, codec.channels, generator=random)
    grid = torch.tensor(task.grid)
    cells = torch.stack([torch.randint(int(length), (2,), generator=random) for length in grid], dim=1)
    points = torch.rand(2, 20, len(task.grid), generator=random)
    moved = (points + (cells / grid)[:, None]) % 1.0
    torch.testing.assert_close(
        codec.at(shift_cells(field, cells), moved), codec.at(field, points), atol=1e-4, rtol=1e-3
    )


def test_between_the_cells_and_beyond_the_edges() -> None:
    field = torch.tensor([0.0, 2.0, 4.0, 6.0]).view(1, 4, 1)
    points = torch.tensor([0.0, 0.25, 0.9, 1.0]).view(1, 4, 1)
    walls = GridTask("diffusion_sorption1d", (4,), 2, 0.1)
    round_about = GridTask("burgers1d", (4,), 2, 0.1)
    at_walls, at_seam = (
        FieldCodec(task, 1, 8, role="state", mean_field=False).at(field, points).flatten().tolist()
        for task in (walls, round_about)
    )
    assert at_walls == pytest.approx([0.0, 1.0, 6.0, 6.0])
    assert at_seam == pytest.approx([3.0, 1.0, 5.4, 3.0], abs=1e-5)
