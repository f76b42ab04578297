"""The field-space networks: cells folded and back, and what an untrained one changes."""

import pytest
import torch

from ups.models.refinement import ResidualRefinement, _Groups, refinement
from ups.models.spec import GridTask, OperatorSpec

TASKS = (GridTask("burgers1d", (32,), 4, 0.05), GridTask("reaction_diffusion2d", (8, 12), 4, 0.05))


def spec(*tasks: GridTask) -> OperatorSpec:
    return OperatorSpec(
        tasks, latent_dim=32, hidden_dim=32, depth=1, num_heads=2, mlp_ratio=2.0, qk_norm=True,
        drop_path=0.0, dropout=0.0, refinement_channels=4, refinement_layers=3,
    )  # fmt: skip


@pytest.mark.parametrize(("task", "cells"), list(zip(TASKS, (2, 4), strict=True)), ids=("1-D", "2-D"))
def test_folding_is_undone(task: GridTask, cells: int) -> None:
    groups = _Groups(task)
    field = torch.randn(2, *task.grid, 3)
    folded = groups.fold(field)

    assert groups.cells == cells
    assert folded.shape == (2, *(length // 2 for length in task.grid), 3 * cells)
    torch.testing.assert_close(groups.unfold(folded), field)


def test_neighbours_make_a_group() -> None:
    groups = _Groups(TASKS[1])
    x, y = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    folded = groups.fold((100 * x + y)[None, ..., None])

    assert folded[0, 1, 2].tolist() == [204.0, 205.0, 304.0, 305.0]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task)
def test_untrained_it_changes_nothing(task: GridTask) -> None:
    network = refinement(task, spec(task))
    assert network is not None
    channels = len(task.spec.fields)

    correction = network(torch.randn(2, *task.grid, 2 * channels), torch.randn(2, 32))

    torch.testing.assert_close(correction, torch.zeros(2, *task.grid, channels))


def test_dilation_stays_within_a_small_domain() -> None:
    small, large = (GridTask("burgers1d", (cells,), 4, 0.05) for cells in (16, 128))
    dilations = []
    for task in (small, large):
        network = refinement(task, spec(task))
        assert isinstance(network, ResidualRefinement)
        dilations.append(network.dilations)
    assert dilations == [[1, 1, 1, 1, 1], [1, 2, 4, 8, 12]]
