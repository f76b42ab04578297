"""The evaluation of a checkpoint: the object that `report.json` and `evaluate --json` hold.

Every figure stands beside persistence (copy the last state; the training mean for static problems);
what is not better than that has no skill. Rollouts are given guarded and unguarded, with the count
of those that diverged, because one exploding trajectory is a mean.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ups.config import Evaluation, Gates
from ups.data.split import open_split
from ups.errors import DataError
from ups.evaluation import metrics
from ups.evaluation.pdebench import PdebenchMetrics
from ups.evaluation.predictor import Predictor, load
from ups.evaluation.rollout import Trajectories, one_step, reconstruction, rollout, trajectories

Progress = Callable[[str, int, int], None]
"""(what, done, total)."""
Datasets = Mapping[str, Mapping[str, Path]]
"""task → split → converted file."""


def evaluate(
    checkpoint: Path,
    datasets: Datasets,
    splits: Sequence[str],
    settings: Evaluation,
    device: str,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on whole splits.

    Args:
        checkpoint: a checkpoint directory, or a directory that holds checkpoints (its best one is meant).
        datasets: the files.
        splits: splits to evaluate.
        settings: batch size, rollout length, symmetric averaging.
        device: torch device.
        progress: called with the samples evaluated of each task and split.

    Returns:
        `{"checkpoint", "splits": {split: {"tasks", "aggregate", "ttc"}}, "gates"}`; JSON-able, figures that
        are not finite are null.
    """
    predictor = load(checkpoint, device, symmetric_average=settings.symmetric_average)
    results: dict[str, Any] = {}
    for split in splits:
        tasks = {
            task: _evaluate_task(predictor, files[split], settings, progress)
            for task, files in datasets.items()
            if split in files
        }
        if not tasks:
            raise DataError(f"there is no {split} split of any task to evaluate")
        results[split] = {"tasks": tasks, "aggregate": _aggregate(tasks), "ttc": _ttc(tasks)}
    judged = results.get("test") or next(iter(results.values()))
    assert predictor.config is not None
    return {
        "checkpoint": str(checkpoint.name),
        "splits": results,
        "gates": gates(judged["aggregate"]["one_step"], predictor.config.gates),
    }


def gates(aggregate: float | None, thresholds: Gates) -> dict[str, Any]:
    """What the decision gates of a chain of runs say to an aggregate one-step nRMSE.

    Returns:
        `{"aggregate", "proceed", "stop", "decision"}`; the decision is `proceed`, `stop`, `review` (between
        the two, or with only one threshold and that not reached) or null where no gate is set.
    """
    decision: str | None = None
    if thresholds.proceed is not None or thresholds.stop is not None:
        decision = "review"
        if aggregate is None or (thresholds.stop is not None and aggregate > thresholds.stop):
            decision = "stop"
        elif thresholds.proceed is not None and aggregate <= thresholds.proceed:
            decision = "proceed"
    return {
        "aggregate": aggregate,
        "proceed": thresholds.proceed,
        "stop": thresholds.stop,
        "decision": decision,
    }


class _Scores:
    """Per-sample figures of one task, collected batch by batch."""

    def __init__(self) -> None:
        self._values: dict[str, list[NDArray[np.float64]]] = {}
        self.pdebench = PdebenchMetrics()
        """Of the guarded rollout."""

    def add(self, name: str, values: Tensor) -> None:
        self._values.setdefault(name, []).append(values.double().numpy())

    def of(self, name: str) -> NDArray[np.float64]:
        return np.concatenate(self._values[name])

    def mean(self, name: str) -> float | None:
        return _finite(float(self.of(name).mean()))


def _evaluate_task(
    predictor: Predictor, file: Path, settings: Evaluation, progress: Progress
) -> dict[str, Any]:
    fields = open_split(file)
    what = f"{fields.spec.name} {fields.split}"
    scores, done, steps, static = _Scores(), 0, 0, fields.spec.static
    for given in trajectories(
        fields, predictor, batch_size=settings.batch_size, steps=settings.rollout_steps
    ):
        _score(scores, predictor, given, settings.batch_size)
        done, steps = done + len(given.true), given.true.shape[1]
        progress(what, done, fields.samples)
    skill = bool(scores.of("one_step").mean() < scores.of("persistence_one_step").mean())
    return {
        "one_step": scores.mean("one_step"),
        "one_step_interval": _interval(scores, "one_step"),
        "rollout": scores.mean("rollout"),
        "rollout_interval": _interval(scores, "rollout"),
        "persistence_one_step": scores.mean("persistence_one_step"),
        "persistence_rollout": scores.mean("persistence_rollout"),
        "skill": skill,
        "rollout_unguarded": scores.mean("rollout_unguarded"),
        "diverged": int(scores.of("diverged").sum()),
        "diverged_unguarded": int(scores.of("diverged_unguarded").sum()),
        "one_step_plain": scores.mean("one_step_plain"),
        "reconstruction": scores.mean("reconstruction"),
        "symmetric_average": predictor.averages(fields.spec.name),
        "samples": fields.samples,
        "steps": 0 if static else steps,
        "stride": predictor.stride,
        **{name: scores.mean(name) for name in _POINTWISE},
        "pdebench": scores.pdebench.result() if scores.pdebench.samples else None,
    }


_POINTWISE = ("rmse", "mae", "max_error")
"""Further figures of the guarded rollout."""


def _score(scores: _Scores, predictor: Predictor, given: Trajectories, batch_size: int) -> None:
    """Add one batch of trajectories to the scores."""

    def error(predicted: Tensor) -> Tensor:
        return metrics.relative_error(predicted, given.true, first=2)  # [B, T]

    unguarded = rollout(predictor.unguarded(), given)
    if given.static:  # one step is all there is, and only the guards differ
        single = guarded = predictor.guard(given.task, unguarded[:, 0], given.initial)[:, None]
    else:
        single = one_step(predictor, given, batch_size=batch_size)
        guarded = rollout(predictor, given)
    averaged = predictor.averages(given.task)
    plain = one_step(predictor.plain(), given, batch_size=batch_size) if averaged else single
    copied_step, copied_rollout = given.baseline(predictor)
    encoded = reconstruction(predictor, given, batch_size=batch_size)
    for name, predicted in (
        ("one_step", single), ("one_step_plain", plain),
        ("rollout", guarded), ("rollout_unguarded", unguarded),
        ("persistence_one_step", copied_step), ("persistence_rollout", copied_rollout),
        ("reconstruction", encoded),
    ):  # fmt: skip
        scores.add(name, error(predicted).mean(dim=1))
    scores.add("diverged", metrics.diverged(error(guarded)))
    scores.add("diverged_unguarded", metrics.diverged(error(unguarded)))
    share = None if given.points is None else given.points.mask.float().mean(dim=1)
    for name, values in metrics.pointwise(guarded, given.true, share).items():
        scores.add(name, values)
    if given.points is None:
        scores.pdebench.add(guarded, given.true)


def _aggregate(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    names = ("one_step", "rollout", "persistence_one_step", "persistence_rollout")
    means = {name: _mean_of([task[name] for task in tasks.values()]) for name in names}
    return {**means, "skill": all(task["skill"] for task in tasks.values())}


def _ttc(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One-step nRMSE without and with the test-time compute that the settings allow: symmetric averaging."""
    off = {name: task["one_step_plain"] for name, task in tasks.items()}
    on = {name: task["one_step"] for name, task in tasks.items()}
    used = any(task["symmetric_average"] for task in tasks.values())
    return {
        "off": {"aggregate": _mean_of(list(off.values())), "tasks": off},
        "on": {"aggregate": _mean_of(list(on.values())), "tasks": on} if used else None,
    }


def _mean_of(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _interval(scores: _Scores, name: str) -> list[float] | None:
    values = scores.of(name)
    return list(metrics.interval(values)) if np.isfinite(values).all() else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
