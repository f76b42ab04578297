"""The rollouts that are watched during training: one validation sample of each task, frame by frame."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ups.data.fields import Fields
from ups.evaluation.metrics import relative_error
from ups.evaluation.predictor import Predictor
from ups.evaluation.rollout import rollout, trajectories
from ups.events import EventType
from ups.rundir import RunDirectory
from ups.training.job import EventSink

_LONGEST_SIDE = 128
_MOST_STEPS = 100


def write_rollouts(
    predictor: Predictor, files: Mapping[str, Fields], run_dir: RunDirectory, step: int, sink: EventSink
) -> None:
    """Predict the first validation sample of each task, write `rollouts/{task}-{step}.npz`, and say so."""
    run_dir.rollouts.mkdir(exist_ok=True)
    for task, fields in files.items():
        given = next(trajectories(fields, predictor, batch_size=1, steps=_MOST_STEPS, limit=1))
        predicted = rollout(predictor, given)
        path = run_dir.rollouts / f"{task}-{step}.npz"
        meta = {
            "task": task, "sample": 0, "split": fields.split, "step": step,
            "fields": list(fields.spec.fields), "static": given.static, "dt": given.dt,
            "grid": list(fields.grid),
        }  # fmt: skip
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


def _small(states: Tensor) -> NDArray[np.float16]:
    """The one sample's frames [F, *S, C] at no more than 128 cells a side, as float16."""
    frames = states[0].numpy()
    spatial = tuple(slice(None, None, math.ceil(n / _LONGEST_SIDE)) for n in frames.shape[1:-1])
    largest = float(np.finfo(np.float16).max)
    small: NDArray[np.float32] = frames[(slice(None), *spatial)]
    return small.clip(-largest, largest).astype(np.float16)


def _save(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
