from collections.abc import Callable
from pathlib import Path
from typing import Any

from console.api import FollowBatch, RunStatus
from console.tui.live_run import LiveRun
from console.tui.run_curves import RunCurves, overlay
from ups.events import Event


def metric(
    seq: int, step: float, loss: float | None, *, task: str = "advection1d", **changes: object
) -> Event:
    fields = {
        "stage": "operator",
        "epoch": 0,
        "step": step,
        "task": task,
        "split": "train",
        "values": {"loss": loss},
    }
    return Event(seq, float(seq), "metric", {**fields, **changes})


def run_event(*stages: str) -> Event:
    return Event(0, 0.0, "run", {"tasks": ["advection1d", "darcy2d"], "stages": list(stages)})


def feeder(*first: Event) -> tuple[RunCurves, LiveRun, Callable[..., list[str]]]:
    live = LiveRun("1124-aaaa")
    curves = RunCurves(live)

    def feed(*events: Event) -> list[str]:
        live.take_in(FollowBatch(RunStatus.RUNNING, list(events)))
        return curves.sync()

    feed(*first)
    return curves, live, feed


def test_only_the_charts_with_new_points_are_repainted() -> None:
    curves, _, feed = feeder(run_event("operator"))
    assert list(curves.charts) == ["advection1d", "darcy2d"]
    assert feed(metric(1, 10, 0.5), metric(2, 20, 0.4)) == ["advection1d"]
    assert feed() == []
    train = curves.charts["advection1d"].train
    assert train is not None
    assert train.y.tolist() == [0.5, 0.4]


def test_stages_follow_one_another_on_the_axis() -> None:
    curves, _, feed = feeder(run_event("operator", "diff_residual"), metric(1, 10, 0.5), metric(2, 100, 0.4))
    feed(metric(3, 10, 0.3, stage="diff_residual"), metric(4, 10, 0.3, stage="diff_residual", task="darcy2d"))
    chart = curves.charts["advection1d"]
    assert chart.train is not None
    assert chart.train.x.tolist() == [10, 100, 110]
    assert chart.stages == [(100, "diff_residual")]


def test_steps_that_go_on_through_the_stages_are_left_as_they_are() -> None:
    curves, _, feed = feeder(run_event("operator", "diff_residual"), metric(1, 100, 0.4))
    feed(metric(2, 110, 0.3, stage="diff_residual"))
    chart = curves.charts["advection1d"]
    assert chart.train is not None
    assert chart.train.x.tolist() == [100, 110]


def test_a_resumed_run_loses_the_points_beyond_its_checkpoint() -> None:
    curves, _, feed = feeder(run_event("operator"), *(metric(n, 10 * n, 1.0 / n) for n in range(1, 6)))
    resumed = Event(6, 6.0, "resumed", {"stage": "operator", "epoch": 0, "step": 20, "checkpoint": "c"})
    feed(resumed, metric(7, 30, 9.0))
    train = curves.charts["advection1d"].train
    assert train is not None
    assert train.x.tolist() == [10, 20, 30]
    assert train.last == 9.0


def test_a_value_that_was_not_finite_is_a_gap() -> None:
    curves, _, _ = feeder(run_event("operator"), metric(1, 10, 0.5), metric(2, 20, None))
    train = curves.charts["advection1d"].train
    assert train is not None
    assert train.last is None


def test_the_overlay_has_every_tasks_validation() -> None:
    val: dict[str, Any] = {"split": "val", "values": {"nrmse": 0.3, "persistence": 0.5}}
    curves, _, _ = feeder(
        run_event("operator"), metric(1, 10, 0, **val), metric(2, 10, 0, task="darcy2d", **val)
    )
    assert [line.label for line in overlay(list(curves.charts.values())).others] == ["advection1d", "darcy2d"]
    assert curves.charts["advection1d"].level == 0.5


def test_a_rollout_path_cannot_leave_the_run_directory(tmp_path: Path) -> None:
    live = LiveRun("1124-aaaa")
    live.directories = [tmp_path / "run"]
    (tmp_path / "run").mkdir()
    (tmp_path / "secret").write_text("")
    event = Event(1, 1.0, "rollout", {"task": "darcy2d", "step": 1, "path": "../secret"})
    live.take_in(FollowBatch(RunStatus.RUNNING, [event]))
    assert live.rollout_path(live.rollouts_of("darcy2d")[0]) is None
