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

from ups.config import EvalConfig, Evaluation, Ttc
from ups.data.split import Split, open_split
from ups.errors import DataError
from ups.evaluation import metrics
from ups.evaluation.gates import decide
from ups.evaluation.guarantees import guarantees, states_before
from ups.evaluation.pdebench import PdebenchMetrics
from ups.evaluation.predictor import Predictor, load
from ups.evaluation.preparation import search
from ups.evaluation.rollout import Steps, Trajectories, one_step, reconstruction, rollout, trajectories
from ups.evaluation.ttc import Search
from ups.evaluation.validation_curves import Curves

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
    ttc: Ttc | None = None,
    curves: Curves | None = None,
    limit: int | None = None,
    own: Mapping[str, EvalConfig] = {},
) -> dict[str, Any]:
    """Evaluate a checkpoint on whole splits.

    Args:
        checkpoint: a checkpoint directory, or a directory that holds checkpoints (its best one is meant).
        datasets: the files.
        splits: splits to evaluate.
        settings: batch size, rollout length, symmetric averaging.
        device: torch device.
        progress: called with the samples evaluated of each task and split.
        ttc: test-time compute to judge beside; null or not enabled: symmetric averaging alone.
        curves: validation curves of the run that trained it, for the plateau rule of its gates.
        limit: trajectories of each split at most, from the first; null: all.
        own: split → the config by which it is judged instead of by `settings` and `ttc`.

    Returns:
        `{"checkpoint", "splits": {split: {"tasks", "aggregate", "ttc"}}, "gates"}`; JSON-able, figures that
        are not finite are null. A task's `physics` holds what applies of the checks of `ups.physics`:
        check → `{"one_step", "one_step_interval", "rollout", "rollout_interval", "true"}`.

    Raises:
        ConfigError: a reward of the test-time compute cannot tell a task's candidates apart.
        DataError: nobody has the split, or a file does not suit the checkpoint.
    """
    results: dict[str, Any] = {}
    for split in splits:
        by, search_by = (own[split].evaluation, own[split].ttc) if split in own else (settings, ttc)
        predictor = load(checkpoint, device, symmetric_average=by.symmetric_average)
        held = {task: files[split] for task, files in datasets.items() if split in files}
        if not held:
            raise DataError(f"there is no {split} split of any task to evaluate")
        found = (
            search(checkpoint, predictor, held, search_by, chunk=by.batch_size)
            if search_by is not None and search_by.enabled
            else None
        )
        judged = {task: _judge(predictor, file, by, progress, found, limit) for task, file in held.items()}
        tasks = {task: _figures(predictor, scores) for task, scores in judged.items()}
        results[split] = {
            "tasks": tasks,
            "aggregate": _aggregate(tasks, list(judged.values())),
            "ttc": _averaging(tasks) if found is None else _searching(judged, found),
        }
    assert predictor.config is not None
    report = {"checkpoint": str(checkpoint.name), "splits": results}
    return {**report, "gates": decide(report, predictor.config, curves or {}).to_json()}


class _Scores:
    """Per-sample figures of one task, collected batch by batch."""

    def __init__(self, fields: Split) -> None:
        self.fields = fields
        self.steps = 0
        """Of a rollout."""
        self._values: dict[str, list[NDArray[np.float64]]] = {}
        self.checks: dict[str, None] = {}
        """Checks of `ups.physics` that apply to the task, in their order."""
        self.pdebench = PdebenchMetrics()
        """Of the guarded rollout."""

    def add(self, name: str, values: Tensor) -> None:
        self._values.setdefault(name, []).append(values.double().numpy())

    def add_check(self, check: str, kind: str, values: Tensor) -> None:
        self.checks[check] = None
        self.add(f"{check} {kind}", values)

    def of(self, name: str) -> NDArray[np.float64]:
        return np.concatenate(self._values[name])

    def mean(self, name: str) -> float | None:
        return _finite(float(self.of(name).mean()))


def _judge(
    predictor: Predictor,
    file: Path,
    settings: Evaluation,
    progress: Progress,
    found: Search | None,
    limit: int | None,
) -> _Scores:
    """Score one task's file."""
    fields = open_split(file)
    scores, done = _Scores(fields), 0
    for given in trajectories(
        fields, predictor, batch_size=settings.batch_size, steps=settings.rollout_steps, limit=limit
    ):
        _score(scores, predictor, given, settings.batch_size)
        if found is not None:
            _score_search(scores, found, given, settings.batch_size)
        done, scores.steps = done + len(given.true), 0 if given.static else given.true.shape[1]
        progress(f"{fields.spec.name} {fields.split}", done, fields.samples)
    return scores


def _figures(predictor: Predictor, scores: _Scores) -> dict[str, Any]:
    """A task's entry in the report."""
    task = scores.fields.spec.name
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
        "symmetric_average": predictor.averages(task),
        "samples": scores.fields.samples,
        "steps": scores.steps,
        "stride": predictor.stride,
        **{name: scores.mean(name) for name in _POINTWISE},
        "pdebench": scores.pdebench.result() if scores.pdebench.samples else None,
        "physics": _physics(scores),
    }


_POINTWISE = ("rmse", "mse", "mae", "max_error", "relative_l2")
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
    scores.add("relative_l2", metrics.relative_error(guarded, given.true))
    if given.points is None:
        scores.pdebench.add(guarded, given.true)
    true_before = states_before(given, given.true)
    for kind, states, before in (
        ("true", given.true, true_before),
        ("one_step", single, true_before),
        ("rollout", guarded, states_before(given, guarded)),
    ):
        for name, values in guarantees(given, states, before, batch_size=batch_size).items():
            scores.add_check(name, kind, values)


def _physics(scores: _Scores) -> dict[str, dict[str, Any]]:
    """check → its figures of one step, of the guarded rollout, and of the true data."""
    return {
        name: {
            "one_step": scores.mean(f"{name} one_step"),
            "one_step_interval": _interval(scores, f"{name} one_step"),
            "rollout": scores.mean(f"{name} rollout"),
            "rollout_interval": _interval(scores, f"{name} rollout"),
            "true": scores.mean(f"{name} true"),
        }
        for name in scores.checks
    }


def _score_search(scores: _Scores, found: Search, given: Trajectories, batch_size: int) -> None:
    """Add what a search, the average of its candidates, and neither of them make of a batch."""
    ways: dict[str, Steps] = {"off": found.predictor, "average": found.averaging(), "on": found}
    for way, steps in ways.items():
        single = one_step(steps, given, batch_size=batch_size)
        rolled = single if given.static else rollout(steps, given)
        for name, predicted in (("one_step", single), ("rollout", rolled)):
            scores.add(f"{name}_{way}", metrics.relative_error(predicted, given.true, first=2).mean(dim=1))


def _aggregate(tasks: Mapping[str, Mapping[str, Any]], scores: Sequence[_Scores]) -> dict[str, Any]:
    """Means over tasks; those of a check over the tasks to which it applies."""
    names = ("one_step", "rollout", "persistence_one_step", "persistence_rollout")
    means = {name: _mean_of([task[name] for task in tasks.values()]) for name in names}
    intervals: dict[str, list[float] | None] = {}
    for name in names[:2]:
        values = [of_task.of(name) for of_task in scores]
        finite = all(np.isfinite(part).all() for part in values)
        intervals[f"{name}_interval"] = list(metrics.aggregate_interval(values)) if finite else None
    checks = dict.fromkeys(name for task in tasks.values() for name in task["physics"])
    physics = {
        name: {
            kind: _mean_of(
                [task["physics"][name][kind] for task in tasks.values() if name in task["physics"]]
            )
            for kind in ("one_step", "rollout", "true")
        }
        for name in checks
    }
    skill = all(task["skill"] for task in tasks.values())
    return {**means, **intervals, "skill": skill, "physics": physics}


def _averaging(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One-step nRMSE without and with the symmetric averaging that the settings allow."""
    used = any(task["symmetric_average"] for task in tasks.values())
    return {
        "off": _over_tasks({name: task["one_step_plain"] for name, task in tasks.items()}),
        "average": None,
        "on": _over_tasks({name: task["one_step"] for name, task in tasks.items()}) if used else None,
    }


def _searching(judged: Mapping[str, _Scores], found: Search) -> dict[str, Any]:
    """nRMSE of the plain prediction, of the candidates' average, and of those that the search chose."""

    def way(name: str) -> dict[str, Any]:
        one_step, rolled = (
            _over_tasks({task: scores.mean(f"{what}_{name}") for task, scores in judged.items()})
            for what in ("one_step", "rollout")
        )
        return {**one_step, "rollout": rolled}

    return {
        "off": way("off"),
        "average": way("average"),
        "on": way("on") if found.terms else None,
        "search": {
            task: {
                "candidates": len(found.recipes[task]),
                "terms": {entry.term.name: entry.weight for entry in found.terms.get(task, ())},
            }
            for task in judged
        },
    }


def _over_tasks(figures: Mapping[str, float | None]) -> dict[str, Any]:
    return {"aggregate": _mean_of(list(figures.values())), "tasks": dict(figures)}


def _mean_of(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _interval(scores: _Scores, name: str) -> list[float] | None:
    values = scores.of(name)
    return list(metrics.interval(values)) if np.isfinite(values).all() else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
