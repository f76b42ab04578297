"""Meshes and particles for prediction: from files to tensors, and on from where a step has moved them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ups.data.geometry import PointGeometry, nearest, periods
from ups.data.point_fields import PointFields
from ups.models.geometry import Geometry, carried
from ups.tasks import Modality, TaskSpec


def on_device(geometry: PointGeometry, device: torch.device | str) -> Geometry:
    """A batch's geometry as tensors."""
    return Geometry(
        torch.from_numpy(geometry.positions), torch.from_numpy(geometry.mask),
        torch.from_numpy(geometry.neighbours).long(), torch.from_numpy(geometry.boundary),
    ).to(device)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PointPaths:
    """Where the points of some trajectories truly are."""

    spec: TaskSpec
    before: Geometry
    """[B · T] at the beginning of each step, the steps of a trajectory one after another."""
    after: Tensor
    """[B, T, P, D] positions at the end of each step."""

    @property
    def steps(self) -> int:
        return self.after.shape[1]

    @property
    def initial(self) -> Geometry:
        """[B] at the beginning of the first step."""
        return self.before.rows(slice(None, None, self.steps))

    @property
    def ends(self) -> Geometry:
        """[B · T] the points at the end of each step, with the neighbours that they had at its beginning."""
        return self.before.at(self.after.flatten(0, 1))

    @property
    def mask(self) -> Tensor:
        """[B, P] which points a sample has."""
        return self.initial.mask


def paths(fields: PointFields, rows: np.ndarray, frames: np.ndarray) -> PointPaths:
    """The paths of some trajectories.

    Args:
        fields: the file.
        rows: [B] trajectories.
        frames: [T + 1] stored frames; of a static task [0, 0].
    """
    steps = len(frames) - 1
    known = fields.geometry(np.repeat(rows, steps), np.tile(frames[:-1], len(rows)))
    before = on_device(known, "cpu")
    start = before.positions.view(len(rows), steps, *before.positions.shape[1:])
    last = torch.zeros_like(start[:, :1])
    for index, row in enumerate(rows):
        end = torch.from_numpy(np.array(fields.positions_at(int(row), int(frames[-1])), np.float32))
        last[index, 0, : len(end)] = end
    return PointPaths(fields.spec, before, torch.cat([start[:, 1:], last], dim=1))


def moved(geometry: Geometry, before: Tensor, after: Tensor, dt: float, spec: TaskSpec) -> Geometry:
    """The points after a predicted step, among the neighbours that they then have.

    Args:
        geometry: at the beginning of the step.
        before: the state [B, P, C] there.
        after: the predicted state [B, P, C].
        dt: time of the step.
        spec: the task.
    """
    if spec.modality is not Modality.PARTICLES:
        return geometry
    there = carried(geometry, before, after, before.new_full((len(before),), dt), spec)
    neighbours = geometry.neighbours.cpu().clone()
    box = periods(spec)
    for row, (positions, mask) in enumerate(zip(there.positions.cpu(), geometry.mask.cpu(), strict=True)):
        count = int(mask.sum())
        found = nearest(positions[:count].numpy(), box, neighbours.shape[2])
        neighbours[row, :count] = torch.from_numpy(found)
    return Geometry(there.positions, there.mask, neighbours.to(there.neighbours.device), there.boundary)
