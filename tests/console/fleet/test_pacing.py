import threading

import pytest

from console.fleet.pacing import Pacer


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def pacer(clock: Clock, *, draw: float = 1.0) -> Pacer:
    return Pacer({"create": 4.5}, clock=clock, sleep=clock.sleep, draw=lambda: draw, base_s=1.0, cap_s=30.0)


def test_calls_of_a_kind_are_spaced_and_others_are_not() -> None:
    clock = Clock()
    paced = pacer(clock)
    times = []
    for _ in range(3):
        paced.wait("create")
        times.append(clock.now)
        paced.wait("list")
    assert times == [100.0, 104.5, 109.0]


def test_who_comes_late_waits_for_nothing() -> None:
    clock = Clock()
    paced = pacer(clock)
    paced.wait("create")
    clock.now += 60
    paced.wait("create")
    assert clock.slept == []


def test_threads_take_turns() -> None:
    turns: list[float] = []
    paced = Pacer({"create": 1.0}, clock=lambda: 0.0, sleep=turns.append)
    threads = [threading.Thread(target=paced.wait, args=("create",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_back_off_doubles_to_a_bound_and_is_drawn_from_all_of_it() -> None:
    clock = Clock()
    assert [pacer(clock).backoff_s(i) for i in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pacer(clock, draw=0.25).backoff_s(i) for i in range(3)] == [0.25, 0.5, 1.0]
    assert pacer(clock).backoff_s(10_000) == 30


def test_a_refusal_delays_everybody_until_an_answer_comes() -> None:
    clock = Clock()
    paced = pacer(clock)
    for expected in (1.0, 2.0, 4.0):
        paced.refused("list")
        paced.wait("list")
        assert clock.slept[-1] == expected
    paced.accepted("list")
    paced.refused("list")
    paced.wait("list")
    assert clock.slept[-1] == 1.0


def test_what_is_worth_it_is_tried_again() -> None:
    clock = Clock()
    answers = [OSError(), OSError(), None]

    def call() -> str:
        if (error := answers.pop(0)) is not None:
            raise error
        return "done"

    assert pacer(clock).retry("list", call, worth=lambda _: True, tries=3) == "done"
    assert clock.slept == [1.0, 2.0]


@pytest.mark.parametrize(("tries", "worth", "calls"), [(3, True, 3), (3, False, 1)])
def test_the_last_failure_is_told(tries: int, worth: bool, calls: int) -> None:
    made = []

    def call() -> None:
        made.append(1)
        raise OSError(f"failure {len(made)}")

    with pytest.raises(OSError, match=f"failure {calls}"):
        pacer(Clock()).retry("list", call, worth=lambda _: worth, tries=tries)
    assert len(made) == calls
