"""Numpy batches → augmented tensors: every pair is moved by a random symmetry of its equation."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ups.data.sampling import Batch
from ups.evaluation.points import on_device
from ups.models.geometry import Geometry
from ups.physics import shift_cells, symmetries, vector_channels
from ups.tasks import TaskSpec
from ups.training.batch import TensorBatch


def to_device(batch: Batch, device: str) -> TensorBatch:
    """The batch as tensors on a device, as it is."""

    def column(value: float) -> Tensor:
        return torch.full((len(batch),), value, device=device)

    return TensorBatch(
        batch.spec,
        torch.from_numpy(batch.inputs).to(device),
        torch.from_numpy(batch.targets).to(device),
        torch.from_numpy(batch.parameters).to(device),
        column(batch.dt),
        column(float(batch.stride)),
        None if batch.geometry is None else on_device(batch.geometry, device),
    )


def augmented(batch: TensorBatch, random: np.random.Generator) -> TensorBatch:
    """The batch under one random mirror or exchange of axes, each periodic sample shifted on its own."""
    spec = batch.spec
    if batch.geometry is not None:
        return _augmented_points(batch, batch.geometry, spec, random)
    inputs, targets = batch.inputs, batch.targets
    grid = tuple(inputs.shape[1:-1])
    maps = symmetries(spec, grid)
    chosen = maps[int(random.integers(len(maps)))] if len(maps) > 1 else maps[0]
    inputs = chosen.apply(inputs, vector_channels(spec, spec.input_fields or spec.fields))
    targets = _per_state(lambda states: chosen.apply(states, vector_channels(spec, spec.fields)), targets)
    if spec.periodic:
        cells = torch.from_numpy(random.integers(np.array(grid), size=(len(inputs), len(grid))))
        cells = cells.to(inputs.device)
        steps = cells.repeat_interleave(targets.shape[1], dim=0)
        inputs, targets = shift_cells(inputs, cells), _per_state(lambda s: shift_cells(s, steps), targets)
    return TensorBatch(batch.spec, inputs, targets, batch.parameters, batch.dt, batch.stride)


def _augmented_points(
    batch: TensorBatch, geometry: Geometry, spec: TaskSpec, random: np.random.Generator
) -> TensorBatch:
    """The points moved by one random symmetry, and in a periodic box each sample by its own shift."""
    maps = symmetries(spec, (1,) * spec.spatial_dims)
    chosen = maps[int(random.integers(len(maps)))] if len(maps) > 1 else maps[0]
    positions = chosen.move(geometry.positions, spec.domain)
    if spec.periodic:
        low, high = (positions.new_tensor(bounds) for bounds in zip(*spec.domain, strict=True))
        shift = torch.from_numpy(random.random((len(batch), 1, spec.spatial_dims), np.float32))
        moved = positions - low + shift.to(positions.device) * (high - low)
        positions = low + torch.remainder(moved, high - low)
    return replace(
        batch,
        inputs=chosen.turn(batch.inputs, vector_channels(spec, spec.input_fields or spec.fields)),
        targets=chosen.turn(batch.targets, vector_channels(spec, spec.fields)),
        geometry=geometry.at(positions),
    )


def _per_state(change: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Apply a change of fields [B, *S, C] to each state of windows [B, K, *S, C]."""
    return change(windows.flatten(0, 1)).view(windows.shape)
