"""The symmetries of each task's equation: mirrors, exchanges of axes, shifts.

Fields are `[B, *S, C]` with one axis per spatial dimension.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ups.tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A signed permutation of the spatial axes, under which solutions stay solutions."""

    axes: tuple[int, ...]
    """Axis j of the image is axis `axes[j]` of the original."""
    mirrored: tuple[bool, ...]
    """Whether axis j of the image runs backwards."""

    @property
    def is_identity(self) -> bool:
        return self.axes == tuple(range(len(self.axes))) and not any(self.mirrored)

    def inverse(self) -> "Symmetry":
        """The symmetry that undoes this one."""
        axes = [0] * len(self.axes)
        mirrored = [False] * len(self.axes)
        for image, original in enumerate(self.axes):
            axes[original] = image
            mirrored[original] = self.mirrored[image]
        return Symmetry(tuple(axes), tuple(mirrored))

    def apply(self, field: Tensor, vector: Sequence[int] = ()) -> Tensor:
        """The image of a field [B, *S, C].

        Args:
            field: the field.
            vector: channels that are the components of a vector, axis by axis; they turn with the axes.
        """
        if self.is_identity:
            return field
        last = field.dim() - 1
        image = field.permute(0, *(axis + 1 for axis in self.axes), last)
        flipped = [axis + 1 for axis, mirror in enumerate(self.mirrored) if mirror]
        if flipped:
            image = image.flip(flipped)
        return self.turn(image, vector)

    def turn(self, field: Tensor, vector: Sequence[int]) -> Tensor:
        """The values [..., C] of an image: the components of a vector turn with the axes."""
        if self.is_identity or not vector:
            return field
        order = list(range(field.shape[-1]))
        signs = torch.ones(len(order), dtype=field.dtype, device=field.device)
        for axis, channel in enumerate(vector):
            order[channel] = vector[self.axes[axis]]
            signs[channel] = -1.0 if self.mirrored[axis] else 1.0
        return field[..., order] * signs

    def move(self, positions: Tensor, domain: Sequence[tuple[float, float]]) -> Tensor:
        """Where the points [..., D] of a field lie in its image."""
        if self.is_identity:
            return positions
        bounds = [
            (low + high if mirror else 0.0) for (low, high), mirror in zip(domain, self.mirrored, strict=True)
        ]
        signs = [-1.0 if mirror else 1.0 for mirror in self.mirrored]
        return positions.new_tensor(bounds) + positions[..., list(self.axes)] * positions.new_tensor(signs)


def symmetries(spec: TaskSpec, grid: Sequence[int]) -> tuple[Symmetry, ...]:
    """The mirror and axis-exchange symmetries of a task on a grid, the identity first.

    Axes are exchanged only where they have the same length in cells and in the domain: 8 maps of a
    square, 4 of a rectangle, 2 of an interval; only the identity where the task is not isotropic.
    """
    dims = len(grid)
    identity = Symmetry(tuple(range(dims)), (False,) * dims)
    if not spec.isotropic:
        return (identity,)
    lengths = [high - low for low, high in spec.domain]
    shapes = list(zip(grid, lengths, strict=True))
    found = [
        Symmetry(axes, mirrored)
        for axes in itertools.permutations(range(dims))
        if [shapes[axis] for axis in axes] == shapes
        for mirrored in itertools.product((False, True), repeat=dims)
    ]
    return (identity, *(symmetry for symmetry in found if not symmetry.is_identity))


def vector_channels(spec: TaskSpec, fields: Sequence[str]) -> tuple[int, ...]:
    """Positions, among `fields`, of the components of the task's vector; () where it has none."""
    if not set(spec.vector_fields) <= set(fields):
        return ()
    return tuple(list(fields).index(name) for name in spec.vector_fields)


def shift_cells(field: Tensor, cells: Tensor) -> Tensor:
    """Shift each sample of a periodic field by whole cells.

    Args:
        field: [B, *S, C].
        cells: [B, d] integers; sample b moves by `cells[b, a]` along axis a.
    """
    for axis in range(field.dim() - 2):
        length = field.shape[axis + 1]
        source = (torch.arange(length, device=field.device) - cells[:, axis : axis + 1]) % length  # [B, n]
        shape = [1] * field.dim()
        shape[0], shape[axis + 1] = source.shape
        field = field.gather(axis + 1, source.view(shape).expand(field.shape))
    return field
