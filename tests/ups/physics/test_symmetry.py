"""Symmetries: groups of the right size, exact inverses, vectors that turn with the axes."""

import pytest
import torch

from ups.physics import restore_mean, shift_cells, spatial_mean, symmetries, vector_channels
from ups.tasks import task_spec


@pytest.mark.parametrize(
    ("task", "grid", "count"),
    [
        ("darcy2d", (8, 8), 8),
        ("darcy2d", (8, 4), 4),
        ("burgers1d", (8,), 2),
        ("advection1d", (8,), 1),
        ("diffusion_sorption1d", (8,), 1),
        ("compressible_ns3d", (4, 4, 4), 48),
    ],
)
def test_number_of_symmetries(task: str, grid: tuple[int, ...], count: int) -> None:
    found = symmetries(task_spec(task), grid)
    assert len(found) == len(set(found)) == count
    assert found[0].is_identity


@pytest.mark.parametrize(("task", "grid"), [("compressible_ns2d", (4, 4)), ("compressible_ns3d", (3, 3, 3))])
def test_inverse_undoes_a_symmetry_of_a_field_with_vectors(task: str, grid: tuple[int, ...]) -> None:
    spec = task_spec(task)
    field = torch.randn(2, *grid, len(spec.fields))
    vector = vector_channels(spec, spec.fields)
    assert vector == tuple(range(2, 2 + len(grid)))
    for symmetry in symmetries(spec, grid):
        torch.testing.assert_close(symmetry.inverse().apply(symmetry.apply(field, vector), vector), field)


def test_gradient_field_turns_with_its_potential() -> None:
    """∇(g·φ) = g·(∇φ): the rule by which velocities must transform."""
    potential = torch.randn(1, 6, 6, 1)

    def gradient(scalar: torch.Tensor) -> torch.Tensor:
        parts = [scalar.roll(-1, axis) - scalar.roll(1, axis) for axis in (1, 2)]
        return torch.cat(parts, dim=-1)

    for symmetry in symmetries(task_spec("navier_stokes2d"), (6, 6)):
        torch.testing.assert_close(
            gradient(symmetry.apply(potential)), symmetry.apply(gradient(potential), (0, 1))
        )


def test_burgers_mirror_flips_the_sign() -> None:
    spec = task_spec("burgers1d")
    mirror = symmetries(spec, (4,))[1]
    field = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)
    image = mirror.apply(field, vector_channels(spec, spec.fields))
    assert image.flatten().tolist() == [-4.0, -3.0, -2.0, -1.0]


def test_shift_moves_each_sample_by_its_own_cells() -> None:
    field = torch.arange(12.0).view(2, 6, 1)
    shifted = shift_cells(field, torch.tensor([[1], [4]]))
    torch.testing.assert_close(shifted[0], field[0].roll(1, 0))
    torch.testing.assert_close(shifted[1], field[1].roll(4, 0))


def test_restored_mean_is_that_of_the_state_before_for_conserved_channels_only() -> None:
    before, after = torch.randn(3, 8, 2), torch.randn(3, 8, 2)
    restored = restore_mean(after, before, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(spatial_mean(restored)[..., 0], spatial_mean(before)[..., 0])
    torch.testing.assert_close(restored[..., 1], after[..., 1])
