"""`stages.json`: what each stage of a run has cost and reached, for its report.

Written at the end of each stage, and again where a run is killed in between; a checkpoint alone could
not tell, since only the best and the last are kept.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ups.course import control_of, controlled_by
from ups.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A stage that has come to its end."""

    nrmse: Mapping[str, float]
    """One-step validation error of each task at the stage's best checkpoint."""
    score: float | None
    """Their mean."""
    epochs: int
    steps: int
    samples: int
    flops: float
    """Of its training steps, counted."""
    seconds: float
    """Of the same, measured."""


Ledger = dict[str, StageRecord]


def read(run_dir: RunDirectory) -> Ledger:
    """The stages that have ended, in order; {} before the first has."""
    try:
        content = json.loads(run_dir.stages_path.read_text(encoding="utf-8"))
        return {stage: StageRecord(**record) for stage, record in content.items()}
    except (OSError, ValueError, TypeError):
        return {}


def write(run_dir: RunDirectory, ledger: Ledger) -> None:
    """Replace the file atomically."""
    partial = run_dir.stages_path.with_name(f".{run_dir.stages_path.name}.part")
    partial.write_text(json.dumps({stage: asdict(record) for stage, record in ledger.items()}, indent=1))
    partial.replace(run_dir.stages_path)


def comparison(ledger: Ledger, used: str) -> dict[str, Any]:
    """Each stage beside the same compute spent on the operator, as a report shows it.

    Args:
        ledger: the stages that have ended.
        used: the stage whose weights the run ends with.

    Returns:
        Stage → `{"val": {task: nRMSE}, "score", "samples", "flops", "seconds", "used"}`, and for the stages
        after the operator's the same of its control under `operator_continued`.
    """

    def shown(name: str) -> dict[str, Any]:
        record = ledger[name]
        return {
            "val": dict(record.nrmse), "score": record.score, "samples": record.samples,
            "flops": record.flops, "seconds": record.seconds, "used": name == used,
        }  # fmt: skip

    found = {name: shown(name) for name in ledger if controlled_by(name) is None}
    for name, content in found.items():
        if control_of(name) in ledger:
            content["operator_continued"] = shown(control_of(name))
    return found
