import math

from console.runs.series import Curve, RunView
from ups.events import Event, EventType


def event(seq: int, kind: EventType, **fields: object) -> Event:
    return Event(seq, 1000.0 + seq, kind, fields)


def metric(
    seq: int, step: int, loss: float | None, *, stage: str = "operator", task: str = "advection1d"
) -> Event:
    return event(seq, EventType.METRIC, stage=stage, epoch=step // 10, step=step, task=task, split="train",
                 values={"loss": loss})  # fmt: skip


def curve_of(view: RunView, task: str = "advection1d") -> Curve:
    curve = view.curve(task, "train", "loss")
    assert curve is not None
    return curve


def test_each_task_has_its_own_curve() -> None:
    view = RunView()
    view.apply_all([metric(0, 0, 0.5), metric(1, 0, 0.9, task="darcy2d"), metric(2, 10, 0.4)])
    assert list(curve_of(view).values) == [0.5, 0.4]
    assert list(curve_of(view, "darcy2d").values) == [0.9]


def test_a_resumed_run_joins_without_a_seam() -> None:
    view = RunView()
    view.apply_all([metric(step, step, 1 / (step + 1)) for step in range(8)])
    view.apply(event(0, EventType.RUN, name="x", tasks=["advection1d"], stages=["operator"]))
    view.apply(event(1, EventType.RESUMED, stage="operator", epoch=0, step=4))
    view.apply_all([metric(2 + step, step, 1 / (step + 1)) for step in range(5, 8)])
    curve = curve_of(view)
    assert list(curve.steps) == list(range(8))
    assert curve.version == 1
    assert view.attempt == 1


def test_resuming_a_later_stage_keeps_the_earlier_one() -> None:
    view = RunView()
    view.apply_all([metric(step, step, 0.5) for step in range(4)])
    view.apply_all([metric(4 + step, step, 0.4, stage="diff_residual") for step in range(4)])
    view.apply(event(9, EventType.RESUMED, stage="diff_residual", epoch=0, step=1))
    stages = [view.seen_stages[index] for index in curve_of(view).stages]
    assert stages == ["operator"] * 4 + ["diff_residual"] * 2


def test_gaps_stay_gaps() -> None:
    view = RunView()
    view.apply(metric(0, 0, None))
    assert math.isnan(curve_of(view).values[0])


def test_progress_gives_an_eta() -> None:
    view = RunView()
    for seq in range(3):
        view.apply(event(seq, EventType.PROGRESS, phase="train", done=seq * 10, total=100, unit="samples"))
    assert view.phases["train"].eta_seconds == 8.0


def test_what_follows_in_a_phase_has_an_eta_of_its_own() -> None:
    view = RunView()
    view.apply(event(0, EventType.RUN, name="preprocess", phases=["preprocess", "publish"]))
    assert list(view.phases) == ["preprocess", "publish"]
    told = [(0, 50, "samples"), (50, 50, "samples"), (1000, 9000, "bytes"), (5000, 9000, "bytes")]
    for seq, (done, total, unit) in enumerate(told, start=1):
        view.apply(
            event(seq, EventType.PROGRESS, phase="preprocess", task=unit, done=done, total=total, unit=unit)
        )
    assert view.phases["preprocess"].eta_seconds == 1.0


def test_unknown_events_only_move_the_clock() -> None:
    view = RunView()
    view.apply(Event(3, 5.0, "from-the-future", {"x": 1}))
    assert (view.last_seq, view.last_t) == (3, 5.0)


def test_the_clock_stands_at_the_last_event_also_where_metrics_came_before_it() -> None:
    view = RunView()
    view.apply_all([metric(0, 0, 0.5), metric(1, 10, 0.4), event(900, EventType.HEARTBEAT)])
    assert (view.last_t, view.last_seq) == (1900.0, 900)


def test_metrics_of_other_forms_are_taken_for_what_they_say() -> None:
    view = RunView()
    view.apply(event(0, EventType.METRIC, task=7, values={"loss": 1, "note": "text", "lr": None}))
    view.apply(event(1, EventType.METRIC, values="no mapping"))
    assert view.latest(None, "train", "loss") == 1.0
    assert not view.has(None, "train", "note")
    assert (view.last_seq, view.revision) == (1, 2)


def progress(seq: int, done: float, **fields: object) -> Event:
    return event(
        seq, EventType.PROGRESS, phase="train", task=None, done=done, total=100, unit="samples", **fields
    )


def test_the_time_to_go_is_what_the_box_has_measured() -> None:
    view = RunView()
    view.apply_all([event(0, EventType.PHASE, phase="train", state="started"),
                    progress(1, 10, eta_s=500.0, run_eta_s=650.0)])  # fmt: skip
    assert view.phases["train"].eta_seconds == 500
    assert view.eta_seconds == 650
    view.apply_all([progress(2, 20), progress(3, 30)])  # an older runtime says nothing of it
    assert view.eta_seconds == view.phases["train"].eta_seconds == 7
    view.apply(event(4, EventType.PHASE, phase="train", state="finished"))
    assert view.eta_seconds is None


def test_the_newest_forecast_of_each_task_is_kept() -> None:
    told = {"outlook": "expected", "target": 0.1, "epochs": 40, "epoch": 22.0, "low": 20.0, "high": 25.0}
    view = RunView()
    for seq, (task, said) in enumerate([(None, told), ("darcy2d", {**told, "outlook": "?"}), (None, "?")]):
        view.apply(event(seq, EventType.METRIC, stage="operator", epoch=9, step=9, task=task, split="val",
                         values={"nrmse": 0.2}, forecast=said))  # fmt: skip
    assert list(view.forecasts) == [None]
    assert view.forecasts[None].text().endswith("is met at epoch 22 (20 to 25, 80% sure)")
