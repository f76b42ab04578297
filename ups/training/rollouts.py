"""The rollouts that are watched during training: one validation sample of each task, frame by frame."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ups.data.fields import Fields
from ups.data.point_fields import PointFields
from ups.data.split import Split
from ups.evaluation.metrics import relative_error
from ups.evaluation.predictor import Predictor
from ups.evaluation.rollout import Trajectories, roll, trajectories
from ups.events import EventType
from ups.rundir import RunDirectory
from ups.training.job import EventSink

_LONGEST_SIDE = 128
_MOST_STEPS = 100


def write_rollouts(
    predictor: Predictor, files: Mapping[str, Split], run_dir: RunDirectory, step: int, sink: EventSink
) -> None:
    """Predict the first validation sample of each task, write `rollouts/{task}-{step}.npz`, and say so."""
    run_dir.rollouts.mkdir(exist_ok=True)
    for task, fields in files.items():
        given = next(trajectories(fields, predictor, batch_size=1, steps=_MOST_STEPS, limit=1))
        predicted, positions = roll(predictor, given)
        path = run_dir.rollouts / f"{task}-{step}.npz"
        meta = {
            "task": task, "sample": 0, "split": fields.split, "step": step,
            "fields": list(fields.spec.fields), "static": given.static, "dt": given.dt,
            "grid": list(fields.grid) if isinstance(fields, Fields) else [],
        }  # fmt: skip
        if isinstance(fields, PointFields):
            assert positions is not None
            arrays = _point_arrays(fields, given, predicted, positions)
        else:
            arrays = {
                "pred": _small(predicted),
                "true": _small(given.true),
                "initial": _small(given.initial[None]),
            }
        _save(path, {**arrays, "times": given.times, "meta": np.array(json.dumps(meta))})
        baseline = relative_error(given.baseline(predictor)[1], given.true, first=2)
        sink.write(
            EventType.ROLLOUT,
            task=task,
            step=step,
            path=str(path.relative_to(run_dir.root)),
            nrmse=float(relative_error(predicted, given.true, first=2).mean()),
            persistence=float(baseline.mean()),
        )


def _point_arrays(
    fields: PointFields, given: Trajectories, predicted: Tensor, positions: Tensor
) -> dict[str, NDArray[np.generic]]:
    """The one sample's frames at no more than 128² points, as float16, and where the points are.

    `positions` and `pred_positions` [F, P, D], true and predicted; `offsets` [2], where the sample's points
    begin and end; `cells` [E, 3], the triangles of a mesh that is whole.
    """
    assert given.points is not None
    count = given.true.shape[2]
    every = math.ceil(count / _LONGEST_SIDE**2)
    thinned = slice(None, None, every)
    cells = fields.triangles(0) if every == 1 else fields.triangles(0)[:0]
    return {
        "pred": _half(predicted[0, :, thinned]),
        "true": _half(given.true[0, :, thinned]),
        "initial": _half(given.initial[:1, thinned]),
        "positions": given.points.after[0, :, thinned].numpy(),
        "pred_positions": positions[0, :, thinned].numpy(),
        "offsets": np.array([0, len(range(count)[thinned])]),
        "cells": np.asarray(cells),
    }


def _small(states: Tensor) -> NDArray[np.float16]:
    """The one sample's frames [F, *S, C] at no more than 128 cells a side, as float16."""
    frames = states[0]
    spatial = tuple(slice(None, None, math.ceil(n / _LONGEST_SIDE)) for n in frames.shape[1:-1])
    return _half(frames[(slice(None), *spatial)])


def _half(values: Tensor) -> NDArray[np.float16]:
    largest = float(np.finfo(np.float16).max)
    return values.numpy().clip(-largest, largest).astype(np.float16)


def _save(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
