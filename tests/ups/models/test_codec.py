"""The fixed encoder: an isometry that its decoder inverts."""

import pytest
import torch

from ups.models.codec import FieldCodec
from ups.models.spec import GridTask


@pytest.mark.parametrize(
    ("task", "grid", "patch", "channels"),
    [("advection1d", (32,), 8, 1), ("darcy2d", (16, 8), 4, 1), ("compressible_ns2d", (8, 8), 2, 4)],
)
def test_untrained_encoder_loses_nothing(task: str, grid: tuple[int, ...], patch: int, channels: int) -> None:
    codec = FieldCodec(GridTask(task, grid, patch, 0.1), channels, 32, role="state", mean_field=False)
    field = torch.randn(3, *grid, channels)
    tokens = codec.encode(field)
    assert tokens.shape == (3, (grid[0] // patch) * (grid[-1] // patch if len(grid) > 1 else 1), 32)
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
