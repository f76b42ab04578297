"""Every shipped training config builds at the sizes of the published data, and at small ones."""

import math
from pathlib import Path

import pytest
import torch

from ups.config import TrainConfig, load_train_config
from ups.models.operator import LatentOperator
from ups.models.spec import GridTask, choose_patch, operator_spec
from ups.tasks import Modality, task_spec

FOLDER = Path(__file__).parents[3] / "configs"
CONFIGS = [FOLDER / "local_2task.yaml", *sorted(FOLDER.glob("train_*.yaml"))]
PUBLISHED = {
    "advection1d": (1024,), "burgers1d": (1024,), "darcy2d": (128, 128),
    "reaction_diffusion2d": (128, 128), "navier_stokes2d": (512, 512),
}  # fmt: skip


def grid_tasks(config: TrainConfig, grids: dict[str, tuple[int, ...]]) -> tuple[GridTask, ...]:
    names = [name for name in config.data.task if task_spec(name).modality is Modality.GRID]
    return tuple(GridTask(name, grids[name], choose_patch(config, name, grids[name]), 0.05) for name in names)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("small", [False, True], ids=["published", "small"])
def test_config_builds(path: Path, small: bool) -> None:
    config = load_train_config(path, ["operator.patch={}"] if not small else [])
    grids = {name: (256,) if len(grid) == 1 else (64, 64) for name, grid in PUBLISHED.items()}
    tasks = grid_tasks(config, grids if small else PUBLISHED)
    assert all(task.num_tokens <= config.latent.tokens for task in tasks)
    with torch.device("meta"):
        model = LatentOperator(operator_spec(config, tasks))
    for task in tasks:
        codec = model.head(task.task).target
        assert codec.basis.shape == (config.latent.dim, math.prod(task.edges) * len(task.spec.fields))


def test_only_what_cannot_be_kept_whole_is_projected() -> None:
    config = load_train_config(FOLDER / "train_pdebench_5task_production.yaml")
    projected = {
        task.task: task.edges
        for task in grid_tasks(config, PUBLISHED)
        if task.patch_cells * len(task.spec.fields) > config.latent.dim
    }
    assert projected == {"reaction_diffusion2d": (16, 8), "navier_stokes2d": (64, 32)}
