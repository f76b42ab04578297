"""What validation curves say while training goes on, and when it ends early."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.ups.training.jobs import curve, events, make_job, run_job, tiny_config
from ups.config import TrainConfig, parse_train_config
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.training.state import Progress
from ups.training.vigil import Vigil

Datasets = dict[str, dict[str, Path]]


class Kept:
    """An event sink that keeps what it is given."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def write(self, kind: EventType, **fields: Any) -> None:
        self.written.append({"type": kind, **fields})

    def codes(self) -> list[tuple[str, str | None, int]]:
        return [(event["code"], event.get("task"), event["epoch"]) for event in self.written]


def with_rule(**changes: Any) -> TrainConfig:
    config = tiny_config()
    content = config.model_dump(mode="json")
    content["gates"] = {"plateau": {"epochs": 3, "improvement": 0.1}}
    return parse_train_config({**content, **changes})


def watch(
    values: Sequence[float], config: TrainConfig, *, stage: str = "operator", killed_at: int | None = None
) -> Kept:
    """The warnings over a curve of one task; a kill leaves what a checkpoint holds."""
    sink, progress = Kept(), Progress()
    for epoch, value in enumerate(values, 1):
        progress.epoch = epoch
        Vigil(stage, config, 40, progress, sink).note({"darcy2d": value}, None)
        if epoch == killed_at:
            progress = Progress(**json.loads(json.dumps(asdict(progress))))
    return sink


def test_a_plateau_is_told_once_with_its_task() -> None:
    sink = watch([1.0, 0.6, 0.5, 0.5, 0.5, 0.49, 0.5, 0.49], with_rule())
    assert sink.codes() == [("plateau", "darcy2d", 6)]
    (event,) = sink.written
    assert "darcy2d has levelled off at 0.49: no better by 10% in the last 3 epochs" in event["message"]


def test_a_task_that_moves_again_may_level_off_again() -> None:
    first = [1.0, 0.5, 0.5, 0.5, 0.5]
    assert watch([*first, 0.3, 0.3, 0.3, 0.3], with_rule()).codes() == [
        ("plateau", "darcy2d", 5), ("plateau", "darcy2d", 9),
    ]  # fmt: skip


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_a_kill_makes_nothing_told_twice(killed_at: int) -> None:
    values = [1.0, 0.6, 0.5, 0.5, 0.5, 0.49, 1.2, 1.3, 0.5]
    undisturbed = watch(values, with_rule())
    assert watch(values, with_rule(), killed_at=killed_at).written == undisturbed.written


def test_a_diverging_task_is_told_once_per_time() -> None:
    sink = watch([1.0, 0.5, 1.1, 5.0, float("nan"), 0.6, 0.4, 0.9], tiny_config())
    assert sink.codes() == [("diverging", "darcy2d", 3), ("diverging", "darcy2d", 8)]
    assert "darcy2d diverges in operator: its validation is 1.1 after 0.5" in sink.written[0]["message"]


def test_a_control_is_not_watched() -> None:
    assert watch([1.0] * 9, with_rule(), stage="diff_residual_control").written == []


def test_every_validation_says_when_its_target_is_met(tmp_path: Path, datasets: Datasets) -> None:
    config = with_rule(target_nrmse=1e-6)
    job = make_job(tmp_path / "run", datasets, config)
    run_job(job)
    told = [
        event.fields["forecast"] for event in events(job, EventType.METRIC) if event.fields["split"] == "val"
    ]
    assert len(told) == 9  # two tasks and their mean, three epochs
    assert {forecast["outlook"] for forecast in told} == {"unknown"}
    ahead = [event.fields for event in events(job, EventType.PROGRESS)]
    assert all(fields["run_eta_s"] >= fields["eta_s"] >= 0 for fields in ahead)
    assert ahead[-1]["eta_s"] == 0
    assert ahead[-1]["done"] == ahead[-1]["total"]


def test_patience_ends_a_stage_and_says_so_also_after_a_stop(tmp_path: Path, datasets: Datasets) -> None:
    def config() -> TrainConfig:
        content = tiny_config(patience=2).model_dump(mode="json")
        # so high a rate that nothing gets better after the first epochs
        content["stages"]["operator"] |= {"epochs": 12, "optimizer": {"lr": 0.3}}
        return parse_train_config(content)

    whole = make_job(tmp_path / "whole", datasets, config())
    assert run_job(whole).status == "finished"
    (told,) = (e.fields for e in events(whole, EventType.WARNING) if e.fields["code"] == "patience")
    assert told["epoch"] < 12
    assert f"ends after epoch {told['epoch']} of 12" in told["message"]
    parts = make_job(tmp_path / "parts", datasets, config(), should_stop=lambda: True)
    while run_job(parts).status == "stopped":
        pass
    again = [e.fields for e in events(parts, EventType.WARNING) if e.fields["code"] == "patience"]
    assert again == [told]
    assert curve(parts, "val") == curve(whole, "val")


def test_enough_ends_training_at_a_checkpoint_that_can_go_on(tmp_path: Path, datasets: Datasets) -> None:
    whole = make_job(tmp_path / "whole", datasets)
    run_job(whole)
    asked: list[float] = []

    def enough(needed_s: float) -> str | None:
        asked.append(needed_s)
        return "the budget is used up" if len(asked) >= 2 else None

    part = make_job(tmp_path / "part", datasets, enough=enough)
    ended = run_job(part)
    assert (ended.status, ended.epochs) == ("enough", 2)
    assert ended.checkpoint.is_dir()
    assert asked[1] > 0
    (told,) = (e.fields for e in events(part, EventType.WARNING) if e.fields["code"] == "enough")
    assert "training ends after epoch 2 of operator: the budget is used up" in told["message"]
    again = run_job(part)  # a kill between this and the report
    assert (again.status, again.epochs, again.checkpoint) == ("enough", 2, ended.checkpoint)
    more = make_job(tmp_path / "part", datasets)
    assert run_job(more).status == "finished"
    assert curve(more, "val") == curve(whole, "val")
    assert checkpoints.last(more.run_dir.checkpoints) is not None
