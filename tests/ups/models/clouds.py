"""Small point clouds for tests of the point head."""

import numpy as np
import torch
from torch import Tensor

from ups.data.geometry import gathered, nearest, periods
from ups.evaluation.points import on_device
from ups.models.geometry import Geometry
from ups.models.operator import LatentOperator
from ups.models.spec import OperatorSpec, PointTask
from ups.tasks import task_spec

DARCY = PointTask("darcy2d_mesh", 8, 8, 0.0, message_passing_steps=2, use_coords=True)
PARTICLES = PointTask("particles_advect", 8, 8, 0.02, message_passing_steps=2, use_coords=True)


def cloud(task: str, sizes: tuple[int, ...], seed: int = 0) -> Geometry:
    """Random points of the unit square, so many in each sample."""
    spec, random = task_spec(task), np.random.default_rng(seed)
    positions = [random.random((size, 2)).astype(np.float32) for size in sizes]
    neighbours = [nearest(part, periods(spec)) for part in positions]
    boundary = [np.zeros(size, np.bool_) for size in sizes]
    return on_device(gathered(spec, positions, neighbours, boundary), "cpu")


def field(geometry: Geometry, channels: int, seed: int = 0) -> Tensor:
    """Random values [B, P, C], zero at padding."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*geometry.mask.shape, channels, generator=random) * geometry.mask[..., None]


def operator(*tasks: PointTask, disturbed: bool) -> LatentOperator:
    """A small operator; `disturbed` moves the layers that start at zero."""
    torch.manual_seed(0)
    model = LatentOperator(
        OperatorSpec(
            tasks=tasks, latent_dim=32, hidden_dim=32, depth=2, num_heads=2, mlp_ratio=2.0, qk_norm=True,
            drop_path=0.0, dropout=0.0, refinement_channels=6, refinement_layers=2,
        )
    ).eval()  # fmt: skip
    if disturbed:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def predict(model: LatentOperator, task: str, geometry: Geometry, inputs: Tensor) -> Tensor:
    count = len(geometry)
    spec = task_spec(task)
    parameters = torch.ones(count, len(spec.parameters))
    with torch.no_grad():
        return model(
            task, inputs, parameters, torch.full((count,), 0.02), torch.ones(count), geometry=geometry
        )
