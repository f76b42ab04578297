"""How long a run has still to go."""

import pytest

from ups.training.pace import Pace, Work


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def epoch(pace: Pace, clock: Clock, *, step_s: float, rest_s: float, steps: int = 10) -> None:
    pace.begin_epoch()
    for _ in range(steps):
        clock.now += step_s
        pace.trained(8)
    clock.now += rest_s


def test_nothing_is_known_before_a_step() -> None:
    pace = Pace(80, Work(1, 10), clock=Clock())
    assert pace.told(800) == {"eta_s": None, "run_eta_s": None}
    assert pace.next_s == 0


def test_steps_and_what_comes_between_epochs_count() -> None:
    clock = Clock()
    pace = Pace(80, Work(1, 10), clock=clock)
    for _ in range(3):
        epoch(pace, clock, step_s=2.0, rest_s=5.0)
    assert pace.training_s(800) == pytest.approx(10 * (10 * 2.0 + 5.0))


def test_the_evaluation_counts_as_many_validations_as_it_has_work() -> None:
    clock = Clock()
    pace = Pace(80, Work(50, 400), clock=clock)
    epoch(pace, clock, step_s=1.0, rest_s=0.0)
    with pace.judging():
        clock.now += 3.0
    assert pace.evaluation_s == pytest.approx(24.0)
    told = pace.told(80)
    assert told["run_eta_s"] == pytest.approx((told["eta_s"] or 0) + 24.0)
    assert pace.next_s == pytest.approx(10.0 + 24.0)


def test_a_slow_start_is_soon_forgotten() -> None:
    clock = Clock()
    pace = Pace(80, Work(1, 1), clock=clock)
    epoch(pace, clock, step_s=60.0, rest_s=0.0, steps=1)
    for _ in range(6):
        epoch(pace, clock, step_s=1.0, rest_s=0.0)
    assert pace.training_s(80) == pytest.approx(10.0, rel=0.05)


def test_a_resumed_run_knows_its_pace_at_once_and_measures_it_anew() -> None:
    clock = Clock()
    pace = Pace(80, Work(1, 1), (30.0, 240), clock=clock)
    assert pace.training_s(80) == pytest.approx(10.0)
    epoch(pace, clock, step_s=4.0, rest_s=0.0)
    assert pace.training_s(80) == pytest.approx(40.0, rel=0.05)
