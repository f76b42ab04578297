"""The points on which a batch's fields live, as tensors, and how they move."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ups.tasks import Modality, TaskSpec


@dataclass(frozen=True, slots=True)
class Geometry:
    """The points of a batch, padded to its largest sample. Fields hold zeros at padded points."""

    positions: Tensor
    """[B, P, D] in the unit of the domain."""
    mask: Tensor
    """[B, P] bool, false where a sample has no such point."""
    neighbours: Tensor
    """[B, P, K] points of the same sample; where a point has fewer, it is its own neighbour."""
    boundary: Tensor
    """[B, P] bool, nodes on the domain's boundary."""

    def __len__(self) -> int:
        return len(self.positions)

    def to(self, device: torch.device | str) -> "Geometry":
        return Geometry(
            self.positions.to(device), self.mask.to(device), self.neighbours.to(device),
            self.boundary.to(device),
        )  # fmt: skip

    def rows(self, chosen: slice) -> "Geometry":
        """Some of the samples."""
        return Geometry(
            self.positions[chosen], self.mask[chosen], self.neighbours[chosen], self.boundary[chosen]
        )

    def at(self, positions: Tensor) -> "Geometry":
        """The same points with the same neighbours at other positions [B, P, D]."""
        return replace(self, positions=positions)


def carried(geometry: Geometry, before: Tensor, after: Tensor, dt: Tensor, spec: TaskSpec) -> Geometry:
    """Where the points are after a step: nodes stay; particles move, by the trapezoidal rule.

    Particles keep their neighbours, which is near enough for a few steps. One whose velocity is not finite
    stays where it is: a rollout that explodes is an error to be counted, not a reason to stop.

    It is the most accurate rule (second order) that uses what a step has, the velocities at its two
    ends, and it is unbiased on closed streamlines, where Euler's rule spirals outwards.

    Args:
        geometry: at the beginning of the step.
        before: state [B, P, C] at the beginning of the step, the velocity among its channels.
        after: state at its end.
        dt: [B] time of the step.
        spec: the task; in a periodic domain particles that leave come in at the other side.
    """
    if spec.modality is not Modality.PARTICLES:
        return geometry
    velocity = [spec.fields.index(name) for name in spec.vector_fields]
    moved = geometry.positions + 0.5 * dt[:, None, None] * (before + after)[..., velocity]
    if spec.periodic:
        low, length = _box(moved, spec)
        moved = low + torch.remainder(moved - low, length)
    return geometry.at(torch.where(moved.isfinite(), moved, geometry.positions))


def offsets(to: Tensor, origin: Tensor, spec: TaskSpec) -> Tensor:
    """`to` − `origin` [..., D], on a periodic domain the shortest such."""
    offset = to - origin
    if not spec.periodic:
        return offset
    _, length = _box(offset, spec)
    return offset - length * torch.round(offset / length)


def fractions(positions: Tensor, spec: TaskSpec) -> Tensor:
    """Positions [..., D] as fractions of the domain."""
    low, length = _box(positions, spec)
    return (positions - low) / length


def interpolate(
    values: Tensor, geometry: Geometry, queries: Tensor, spec: TaskSpec, *, count: int = 4, chunk: int = 512
) -> Tensor:
    """A field at arbitrary positions, weighted by the inverse square distance to the nearest points.

    Args:
        values: [B, P, C] at the geometry's points.
        geometry: the points.
        queries: [B, Q, D].
        spec: the task.
        count: points that a value is made of.
        chunk: queries at a time, which bounds the distances in memory.

    Returns:
        [B, Q, C]; at a point of the geometry its own value.
    """
    count = min(count, int(geometry.mask.sum(dim=1).min()))
    parts = []
    for part in torch.split(queries, chunk, dim=1):
        square = offsets(geometry.positions[:, None], part[:, :, None], spec).square().sum(dim=-1)
        square = square.masked_fill(~geometry.mask[:, None], torch.inf)
        near = square.topk(count, dim=-1, largest=False)
        weight = 1 / near.values.clamp_min(1e-12)
        rows = torch.arange(len(values), device=values.device)[:, None, None]
        parts.append((values[rows, near.indices] * (weight / weight.sum(-1, keepdim=True))[..., None]).sum(2))
    return torch.cat(parts, dim=1)


def _box(like: Tensor, spec: TaskSpec) -> tuple[Tensor, Tensor]:
    low = like.new_tensor([low for low, _ in spec.domain])
    return low, like.new_tensor([high for _, high in spec.domain]) - low
