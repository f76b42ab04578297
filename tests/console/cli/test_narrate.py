"""A run told line by line."""

from console.api import FollowBatch, RunStatus
from console.cli.narrate import Narrator
from ups.events import Event, EventType


def told(*events: tuple[EventType, dict[str, object]]) -> tuple[Narrator, list[str]]:
    narrator = Narrator()
    batch = FollowBatch(
        RunStatus.RUNNING, [Event(n, 1e9 + n, kind, of) for n, (kind, of) in enumerate(events)]
    )
    return narrator, [line.partition("  ")[2] for line in narrator.lines(batch)]


def test_an_epoch_is_told_with_the_time_to_go_and_when_the_target_is_met() -> None:
    at = {"stage": "operator", "epoch": 9, "step": 90, "split": "val"}
    forecast = {"outlook": "expected", "target": 0.1, "epochs": 40, "epoch": 22.0, "low": 20.0, "high": 25.0}
    _, lines = told(
        (EventType.PHASE, {"phase": "train", "state": "started"}),
        (EventType.PROGRESS, {"phase": "train", "done": 9, "total": 40, "unit": "samples", "eta_s": 600.0,
                              "run_eta_s": 900.0}),
        (EventType.METRIC, {**at, "task": "darcy2d", "values": {"nrmse": 0.2, "persistence": 0.9}}),
        (EventType.METRIC, {**at, "task": None, "values": {"nrmse": 0.2}, "forecast": forecast}),
        (EventType.METRIC, {**at, "task": None, "values": {"nrmse": 0.2}}),
    )  # fmt: skip
    assert "darcy2d" in lines[1]
    assert lines[1].endswith("9/40  ETA 15:00")
    assert lines[2].startswith(
        "operator epoch   9  at this rate the target of < 0.1 is met at epoch 22 (20 to 25"
    )


def test_a_run_that_ended_before_its_time_says_why() -> None:
    why = "of its budget of $2.00 $0.10 are left"
    narrator, lines = told(
        (EventType.DONE, {"status": "stopped", "exit_code": 8, "summary": {"ended_early": why}})
    )
    assert lines == [f"done stopped: {why}"]
    assert narrator.ended_early == why
    narrator, lines = told((EventType.DONE, {"status": "stopped", "exit_code": 0, "summary": {}}))
    assert (lines, narrator.ended_early) == (["done stopped"], "")
