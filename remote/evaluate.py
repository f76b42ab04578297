"""Judges a checkpoint: the evaluation phase of a run, and `python -m remote evaluate`."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from remote.files import write_json
from remote.hydrate import Datasets
from remote.publish import content_sha256
from ups.config import Evaluation, Ttc
from ups.errors import NotFoundError
from ups.events import finite
from ups.rundir import RunDirectory, RunSpec

RUN_SPLITS = ("val", "test")
"""What a run's report covers: test is the result, val tells how far it was tuned to."""

Progress = Callable[[str, int, int], None]
"""Called with (task and split, samples done, samples in all); may raise to stop."""
Report = dict[str, Any]

_FIGURES = ("one_step", "rollout", "persistence_one_step", "persistence_rollout", "skill", "diverged")


def write_report(
    spec: RunSpec,
    directory: RunDirectory,
    datasets: Datasets,
    checkpoint: Path,
    device: str,
    progress: Progress,
) -> Report:
    """Evaluate a run's checkpoint on its own pinned data and write report.json atomically.

    Raises:
        StoreError: the report cannot be written.
    """
    from ups.evaluation import validation_curves
    from ups.evaluation.report import evaluate

    held = dict(_with_splits(datasets, RUN_SPLITS))
    curves = validation_curves.read([directory.events_path])
    report = evaluate(
        checkpoint, held, RUN_SPLITS, spec.config.evaluation, device, progress, curves=curves,
        own=spec.evaluations,
    )  # fmt: skip
    report = {
        "run": spec.run,
        **finite(report),
        "stages": _stages(directory, checkpoint),
        "checkpoint": checkpoint.relative_to(directory.root).as_posix(),
        "checkpoint_sha256": content_sha256(checkpoint),
        "data_sha256": {task: dict(spec.datasets[task]) for task in spec.tasks},
    }
    write_json(directory.report_path, report)
    return report


def _stages(directory: RunDirectory, checkpoint: Path) -> Report:
    """Each stage beside the same compute spent on the operator; {} where the run has kept no record."""
    from ups.models import checkpoint as checkpoints
    from ups.training import ledger

    records = ledger.read(directory)
    if not records:
        return {}
    found: Report = finite(ledger.comparison(records, checkpoints.read(checkpoint).stage))
    return found


def _with_splits(datasets: Datasets, splits: Sequence[str]) -> list[tuple[str, Mapping[str, Path]]]:
    return [
        (task, {split: files[split] for split in splits if split in files})
        for task, files in datasets.items()
    ]


def valid_report(spec: RunSpec, directory: RunDirectory, checkpoint: Path) -> Report | None:
    """report.json, if it judges that very checkpoint on all tasks; else None."""
    try:
        report = json.loads(directory.report_path.read_text(encoding="utf-8"))
        tasks = report["splits"]["test"]["tasks"]
        current = report["run"] == spec.run and report["checkpoint_sha256"] == content_sha256(checkpoint)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if current and set(tasks) == set(spec.tasks) else None


def summary(report: Report) -> dict[str, Any]:
    """What `done` says of a finished run: the test figures of each task, beside persistence."""
    test = report["splits"]["test"]
    return {
        "split": "test",
        "tasks": {task: _figures(values) for task, values in test["tasks"].items()},
        "aggregate": _figures(test["aggregate"]),
        "verdict": (report.get("gates") or {}).get("verdict"),
    }


def _figures(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _FIGURES if name in values}


def judge(
    checkpoint: Path,
    datasets: Mapping[str, Mapping[str, Path]],
    splits: Sequence[str],
    settings: Evaluation,
    device: str,
    progress: Progress,
    ttc: Ttc,
) -> Report:
    """The report of any checkpoint on any converted files.

    Raises:
        ConfigError: a reward of the test-time compute cannot tell a task's candidates apart.
        NotFoundError: no task of the datasets is one the checkpoint knows.
    """
    from ups.evaluation import validation_curves
    from ups.evaluation.report import evaluate
    from ups.models import checkpoint as checkpoints

    known = checkpoint_tasks(checkpoint)
    held = {task: files for task, files in datasets.items() if task in known}
    if not held:
        raise NotFoundError(f"{checkpoint} was trained on {', '.join(known)}, not on {', '.join(datasets)}")
    found = checkpoints.read(checkpoint)
    curves = validation_curves.read([RunDirectory(checkpoint).events_path])  # there are none beside a copy
    report: Report = finite(
        evaluate(found.path, held, splits, settings, device, progress, ttc, curves=curves)
    )
    return report


def checkpoint_tasks(checkpoint: Path) -> tuple[str, ...]:
    """The tasks that a checkpoint was trained on. Raises NotFoundError, TrainingError."""
    from ups.models import checkpoint as checkpoints

    state = checkpoints.read(checkpoint).state
    return tuple(str(task["task"]) for task in state["operator"]["tasks"])
