"""Predictions as a file, from which anyone can compute the report's figures again."""

import os
from pathlib import Path

import numpy as np
from torch import Tensor

from ups.config import Evaluation
from ups.data.split import open_split
from ups.errors import DataError
from ups.evaluation.predictor import load
from ups.evaluation.report import Progress
from ups.evaluation.rollout import one_step, roll, trajectories


def write(
    checkpoint: Path,
    file: Path,
    task: str,
    output: Path,
    *,
    settings: Evaluation | None = None,
    device: str = "cpu",
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Predict a whole converted file and write the arrays to an `.npz`.

    The arrays are in physical units, samples first: `initial` [N, *S, Ci]; `true`, `one_step` and
    `rollout` [N, T, *S, C], the states after `initial` (`one_step[:, k]` starts from `true[:, k-1]`);
    `times` [T]; `parameters` [N, P]. A static problem has its input as `initial` and T = 1. Guards and,
    where the settings say so, symmetric averaging are applied, as in the report.

    On meshes and particles, whose samples differ in size, points come first and all samples' one after
    another: `initial` [ΣP, Ci], `true`, `one_step` and `rollout` [ΣP, T, C], with `point_offsets` [N + 1]
    where each sample begins, and `positions` and `rollout_positions` [ΣP, T, D], the points after each step.

    Args:
        checkpoint: a checkpoint, or a directory that holds checkpoints.
        file: the converted file.
        task: the task that the file must hold.
        output: the file to write; replaced atomically.
        settings: batch size, rollout length, symmetric averaging; null: the defaults.
        device: torch device.
        progress: called with the samples predicted.

    Raises:
        DataError: the file holds another task or another grid than the checkpoint knows.
    """
    settings = settings or Evaluation()
    fields = open_split(file)
    if fields.spec.name != task:
        raise DataError(f"{file} holds {fields.spec.name}, not {task}")
    predictor = load(checkpoint, device, symmetric_average=settings.symmetric_average)
    parts: dict[str, list[np.ndarray]] = {}
    times, done, sizes = np.zeros(0), 0, [np.zeros(1, np.int64)]
    for given in trajectories(
        fields, predictor, batch_size=settings.batch_size, steps=settings.rollout_steps
    ):
        single = one_step(predictor, given, batch_size=settings.batch_size)
        rolled, positions = roll(predictor, given)
        arrays = {"initial": given.initial, "true": given.true, "one_step": single, "rollout": rolled}
        if given.points is not None and positions is not None:
            arrays |= {"positions": given.points.after, "rollout_positions": positions}
            arrays = {name: _ragged(values, given.points.mask) for name, values in arrays.items()}
            sizes.append(given.points.mask.sum(dim=1).numpy())
        for name, values in {**arrays, "parameters": given.parameters}.items():
            parts.setdefault(name, []).append(values.numpy())
        times, done = given.times, done + len(given.true)
        progress(f"{task} predictions", done, fields.samples)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    if len(sizes) > 1:
        joined["point_offsets"] = np.concatenate(sizes).cumsum()
    _save(output, {**joined, "times": times})


def _ragged(values: Tensor, mask: Tensor) -> Tensor:
    """[B, P, …] or [B, T, P, …], padded → [ΣP, …] or [ΣP, T, …]."""
    points_first = values if values.dim() == mask.dim() + 1 else values.movedim(1, 2)
    return points_first[mask]


def _save(output: Path, arrays: dict[str, np.ndarray]) -> None:
    partial = output.with_name(f".{output.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    partial.replace(output)
