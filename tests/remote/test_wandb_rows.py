"""Which names and steps a run's events get at Weights & Biases."""

from pathlib import Path
from typing import Any

from remote.wandb_rows import ATTEMPT_STEPS, Row, Rows, axes, summary
from tests.remote.reported import SUMMARY, a_run, write_epochs
from ups.events import Event, EventReader, EventType


def rows_of(events: list[Event], attempt: int = 1) -> list[Row]:
    rows = Rows(attempt)
    return [row for event in events if (row := rows.of(event)) is not None]


def a_point(seq: int, stage: str, step: int, **fields: Any) -> Event:
    given = {"stage": stage, "epoch": 1, "step": step, "task": None, "split": "val", "values": {"nrmse": 0.1}}
    return Event(seq, 0.0, EventType.METRIC, {**given, **fields})


def test_the_names_are_those_that_people_look_for(tmp_path: Path) -> None:
    directory = a_run(tmp_path / "run")
    write_epochs(directory, 0, 2)
    rows = rows_of(EventReader(directory.events_path).read())
    known = {name: value for row in rows for name, value in row.values.items()}
    assert known["training/operator/advection1d/loss"] == 1 / 20
    assert known["training/operator/darcy2d/loss"] == 1 / 21
    assert known["training/operator/lr"] == 1e-3
    assert known["training/operator/step"] == 20
    assert known["validation/darcy2d/nrmse"] == 1 / 20
    assert known["validation/step"] == 20
    assert known["system/gpu0/util"] == 90
    assert known["system/cpu"] == 12.5
    assert known["rollout/advection1d/nrmse"] == 0.1


def test_an_epoch_says_which_tasks_took_part_in_it_and_with_what_share(tmp_path: Path) -> None:
    directory = a_run(tmp_path / "run")
    write_epochs(directory, 0, 2)
    shares = [
        row.values
        for row in rows_of(EventReader(directory.events_path).read())
        if "tasks/active" in row.values
    ]
    assert [values["tasks/epoch"] for values in shares] == [1, 2]
    assert shares[1] == {
        "tasks/epoch": 2,
        "tasks/active": 2,
        "tasks/names": "advection1d, darcy2d",
        "tasks/advection1d/share": 0.25,
        "tasks/darcy2d/share": 0.75,
    }


def test_a_later_attempt_comes_after_an_earlier_one() -> None:
    (first,) = rows_of([a_point(7, "operator", 30)])
    (second,) = rows_of([a_point(0, "operator", 30)], attempt=2)
    assert (first.step, second.step) == (7, ATTEMPT_STEPS)
    assert first.values == second.values


def test_the_stages_follow_one_another_also_where_the_first_is_another_attempts() -> None:
    both = [a_point(0, "operator", 40), a_point(1, "diff_residual", 5), a_point(2, "operator", 41)]
    assert [row.values["validation/step"] for row in rows_of(both)] == [40, 45, 41]
    later = Rows(2, lambda: {"operator": (3, 40)}).of(a_point(0, "diff_residual", 5))
    assert later is not None
    assert later.values["validation/step"] == 45


def test_what_is_not_finite_or_no_measurement_is_left_out() -> None:
    values = {"loss": None, "other": 2.0}
    (row,) = rows_of(
        [
            a_point(0, "operator", 3, task="darcy2d", split="train", values=values),
            Event(1, 0.0, EventType.HEARTBEAT),
            Event(2, 0.0, "of a later version", {"values": {"x": 1}}),
        ]
    )
    assert "training/operator/darcy2d/loss" not in row.values
    assert row.values["training/operator/darcy2d/other"] == 2.0


def test_each_stage_has_an_axis_of_its_own() -> None:
    found = axes(("operator", "diff_residual"))
    assert found["training/diff_residual/*"] == "training/diff_residual/step"
    assert found["validation/*"] == "validation/step"


def test_the_summary_holds_the_test_figures() -> None:
    assert summary(SUMMARY) == {
        "test/one_step": 0.05,
        "test/advection1d/one_step": 0.04,
        "test/advection1d/skill": True,
    }
    assert summary({}) == {}
