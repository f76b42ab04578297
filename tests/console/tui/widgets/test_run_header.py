"""The lines above a run's curves."""

from typing import Any

from console.api import FollowBatch, Money, RunStatus
from console.tui.drawing.text import Row
from console.tui.live_run import LiveRun
from console.tui.widgets.run_header import headline, money_row
from console.tui.widgets.top import TopBar
from ups.events import Event, EventType


def live(*events: tuple[EventType, dict[str, Any]]) -> LiveRun:
    run = LiveRun("1130-aaaa")
    batch = FollowBatch(
        RunStatus.RUNNING, [Event(n, 1e9 + n, kind, of) for n, (kind, of) in enumerate(events)]
    )
    run.take_in(batch)
    return run


def text(row: Row) -> str:
    return "".join(part for part, _ in row)


def test_the_target_and_the_time_to_go_are_shown() -> None:
    forecast = {"outlook": "not_within_run", "target": 0.1, "epochs": 40, "at_end": 0.132}
    run = live(
        (EventType.PHASE, {"phase": "train", "state": "started"}),
        (EventType.PROGRESS, {"phase": "train", "done": 9, "total": 40, "run_eta_s": 900.0, "eta_s": 60.0}),
        (EventType.METRIC, {"stage": "operator", "epoch": 9, "step": 90, "split": "val", "task": None,
                            "values": {"nrmse": 0.2}, "forecast": forecast}),
    )  # fmt: skip
    assert "at this rate the target of < 0.1 is not met within this run (epoch 40 ends near 0.132)" in text(
        headline(run, "")
    )
    assert "done in 15:00" in text(money_row(run, None))


def test_what_changes_stands_before_where_it_runs() -> None:
    run = live(
        (EventType.RUN, {"name": "pdebench_2task_baseline", "tasks": ["darcy2d"], "device": "cuda:0"}),
        (EventType.METRIC, {"stage": "operator", "epoch": 17, "step": 90, "split": "val", "task": "darcy2d",
                            "values": {"nrmse": 0.2}}),
    )  # fmt: skip
    assert "· operator epoch 18" in text(headline(run, ""))[:80]
    assert text(headline(run, "")).endswith(" · on cuda:0")


def test_a_run_that_ended_before_its_time_says_why() -> None:
    run = live((EventType.DONE, {"status": "stopped", "summary": {"ended_early": "its deadline comes"}}))
    assert "ended early: its deadline comes" in text(headline(run, ""))


def test_idle_machines_are_counted_in_the_top_line() -> None:
    bar = TopBar()
    bar.money = Money(0.3, 1.0, 25.0, 1, 0, stalled={"18042": "its GPU has been idle for 7 min"})
    assert "▲ 1 idle" in text(bar.draw(140, 1)[0])
    bar.money = Money(0.3, 1.0, 25.0, 1, 0)
    assert "idle" not in text(bar.draw(140, 1)[0])
