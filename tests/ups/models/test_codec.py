"""The encoder: an isometry where a patch fits a token, the best projection where it does not."""

import math

import pytest
import torch

from ups.models.codec import FieldCodec
from ups.models.spec import GridTask


@pytest.mark.parametrize(
    ("task", "grid", "patch", "channels"),
    [
        ("advection1d", (32,), 8, 1), ("darcy2d", (16, 8), 4, 1), ("darcy2d", (16, 8), (8, 2), 1),
        ("compressible_ns2d", (8, 8), 2, 4), ("compressible_ns3d", (8, 8, 8), (2, 1, 2), 5),
    ],
)  # fmt: skip
def test_untrained_encoder_loses_nothing(
    task: str, grid: tuple[int, ...], patch: int | tuple[int, ...], channels: int
) -> None:
    given = GridTask(task, grid, patch, 0.1)
    codec = FieldCodec(given, channels, 32, role="state", mean_field=False, refinement=8)
    field = torch.randn(3, *grid, channels)
    tokens = codec.encode(field)
    assert codec.lossless
    assert tokens.shape == (3, math.prod(grid) // math.prod(given.edges), 32)
    torch.testing.assert_close(codec.decode(tokens), field)
    torch.testing.assert_close(tokens.flatten(1).norm(dim=1), field.flatten(1).norm(dim=1))


def test_a_token_holds_one_patch() -> None:
    codec = FieldCodec(GridTask("darcy2d", (8, 8), 4, 0.0), 1, 16, role="input", mean_field=False)
    field = torch.zeros(1, 8, 8, 1)
    field[0, 5, 2] = 1.0
    assert codec.encode(field)[0].norm(dim=1).nonzero().flatten().tolist() == [2]


def test_basis_is_the_same_in_every_process_and_another_for_another_role() -> None:
    task = GridTask("advection1d", (16,), 4, 0.1)
    first, again, other = (
        FieldCodec(task, 1, 8, role=role, mean_field=False).basis for role in ("state", "state", "input")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def waves(count: int, cells: int, modes: int) -> torch.Tensor:
    """[count, cells, 1] of random waves."""
    random = torch.Generator().manual_seed(0)
    x = torch.arange(cells) / cells
    phases = torch.rand(count, modes, 1, generator=random)
    amplitudes = torch.randn(count, modes, 1, generator=random)
    numbers = torch.arange(1, modes + 1)[:, None]
    return (amplitudes * torch.sin(2 * torch.pi * (numbers * x + phases))).sum(dim=1)[..., None]


def projecting(pool: int = 1, cells: int = 64) -> FieldCodec:
    """Patches of 32 (pooled) cells on 8 dimensions."""
    task = GridTask("advection1d", (cells,), 32, 0.1, pool=pool)
    return FieldCodec(task, 1, 8, role="state", mean_field=False)


def error(codec: FieldCodec, field: torch.Tensor) -> float:
    return float((codec.decode(codec.encode(field)) - field).norm() / field.norm())


def test_large_patches_are_projected_as_well_as_any_basis_can() -> None:
    codec, fields = projecting(), waves(64, 64, 12)
    before = error(codec, fields)
    codec.fit(fields)
    patches = fields.reshape(-1, 32).double()
    singular = torch.linalg.svdvals(patches)
    best = float((singular[8:].square().sum() / singular.square().sum()).sqrt())
    assert not codec.lossless
    assert error(codec, fields) == pytest.approx(best, rel=1e-3)
    assert error(codec, fields) < 0.6 * before
    torch.testing.assert_close(codec.basis @ codec.basis.T, torch.eye(8), atol=1e-5, rtol=0)


def test_projection_loses_nothing_of_fields_that_few_directions_span() -> None:
    codec = projecting()
    codec.fit(waves(64, 64, 3))
    assert error(codec, waves(16, 64, 3)) < 1e-5


def test_fitting_twice_gives_the_same_basis_and_spreads_the_variance() -> None:
    first, again = projecting(), projecting()
    for codec in (first, again):
        codec.fit(waves(64, 64, 3))
    assert torch.equal(first.basis, again.basis)
    spread = first.encode(waves(64, 64, 3)).flatten(0, 1).std(dim=0)
    assert spread.max() < 5 * spread.min()


def test_fitted_basis_is_part_of_what_a_checkpoint_holds() -> None:
    codec, other = projecting(), projecting()
    codec.fit(waves(64, 64, 12))
    other.load_state_dict(codec.state_dict())
    assert torch.equal(other.encode(waves(2, 64, 12)), codec.encode(waves(2, 64, 12)))


def test_small_patches_need_no_fit() -> None:
    codec = FieldCodec(GridTask("advection1d", (16,), 4, 0.1), 1, 8, role="state", mean_field=False)
    before = codec.basis.clone()
    codec.fit(torch.randn(4, 16, 1))
    assert torch.equal(codec.basis, before)


def test_pooled_codec_keeps_what_is_smooth() -> None:
    codec = projecting(pool=4, cells=256)
    assert codec.encode(waves(1, 256, 1)).shape == (1, 2, 8)
    codec.fit(waves(64, 256, 2))
    assert error(codec, waves(8, 256, 2)) < 0.05


def test_refinement_changes_nothing_before_it_is_trained_and_then_both_ways() -> None:
    task = GridTask("burgers1d", (16,), 4, 0.1)
    plain = FieldCodec(task, 1, 8, role="state", mean_field=False)
    refined = FieldCodec(task, 1, 8, role="state", mean_field=False, refinement=4)
    field = torch.randn(2, 16, 1)
    assert torch.equal(refined.encode(field), plain.encode(field))
    assert torch.equal(refined.decode(plain.encode(field)), plain.decode(plain.encode(field)))
    with torch.no_grad():
        for parameter in refined.parameters():
            parameter += 0.1
    assert torch.equal(refined.project(field), plain.encode(field))  # what a latent cache holds
    assert not torch.allclose(refined.encode(field), plain.encode(field))
    assert not torch.allclose(refined.decode(plain.encode(field)), field)
