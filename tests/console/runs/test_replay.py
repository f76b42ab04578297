import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.api import RunStatus
from console.runs.cursor import AttemptFiles
from console.runs.replay import LONGEST_SILENCE_S, SPEEDS, Recording, Replay, ReplayClock
from ups.errors import DataError
from ups.events import encode


class Time:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def written(path: Path, times: list[float], *, end: str | None = "succeeded") -> AttemptFiles:
    """An events file with an event at each of these times."""
    lines = [encode(seq, t, "metric", {"task": "darcy2d", "step": seq, "values": {"loss": 1.0}})
             for seq, t in enumerate(times)]  # fmt: skip
    if end is not None:
        lines.append(encode(len(times), times[-1] if times else 0.0, "done", {"status": end}))
    path.write_bytes(b"".join(lines))
    return AttemptFiles(path, ())


def replayed(attempt: AttemptFiles, speed: float) -> tuple[Replay, Time]:
    time = Time()
    return Replay("1124-aaaa", [attempt], ReplayClock(speed, time.now), sleep=time.sleep), time


Move = st.one_of(
    st.tuples(st.just("speed"), st.sampled_from(SPEEDS)),
    st.tuples(st.just("seek"), st.floats(-0.3, 0.5)),
    st.tuples(st.just("pause"), st.just(0.0)),
    st.tuples(st.just("go_on"), st.just(0.0)),
)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(-5, 60), min_size=1, max_size=40),
    speed=st.sampled_from(SPEEDS),
    moves=st.lists(Move, max_size=12),
)
def test_every_event_comes_once_and_in_order_whatever_the_speed(
    tmp_path_factory: pytest.TempPathFactory,
    gaps: list[float],
    speed: float,
    moves: list[tuple[str, float]],
) -> None:
    times = [1e9 + sum(gaps[: n + 1]) for n in range(len(gaps))]
    attempt = written(tmp_path_factory.mktemp("replay") / "events.jsonl", times)
    replay, _ = replayed(attempt, speed)
    waiting, seen, again = iter(moves), [], False
    batches = replay.batches(lambda: False)
    while True:
        for batch in batches:
            seen += [event.seq for event in batch.events]
            kind, value = next(waiting, ("go_on", 0.0))
            if kind == "speed":
                replay.clock.set_speed(value)
            elif kind == "pause":
                replay.clock.pause()
            elif kind == "seek":
                again = replay.clock.seek_by(value)
            else:
                replay.clock.go_on()
            if again:
                break
        if not again:
            break
        # What lies behind the new position is taken back: a new reader begins at the first event.
        seen, again, batches = [], False, replay.batches(lambda: False)
    assert seen == list(range(len(times) + 1))
    assert replay.clock.share == 1.0


def test_an_event_comes_when_it_came_by_the_clock_of_the_run(tmp_path: Path) -> None:
    replay, time = replayed(written(tmp_path / "e", [0.0, 10.0, 19.0]), 10.0)
    came = {}
    for batch in replay.batches(lambda: False):
        came.update({event.seq: time.seconds - 100 for event in batch.events})
    assert came[0] == 0.0
    assert came[1] == pytest.approx(1.0, abs=0.11)
    assert came[2] == pytest.approx(1.9, abs=0.11)


def test_a_long_silence_is_shortened_and_a_clock_set_back_adds_nothing(tmp_path: Path) -> None:
    attempt = written(tmp_path / "e", [0.0, 5.0, 90_000.0, 80_000.0, 80_001.0], end=None)
    positions = [position for position, _ in Recording([attempt]).stamped()]
    assert positions == [0.0, 5.0, 5.0 + LONGEST_SILENCE_S, 5.0 + LONGEST_SILENCE_S, 6.0 + LONGEST_SILENCE_S]
    assert Recording([attempt]).duration_s() == positions[-1]


def test_it_runs_until_its_own_end_is_shown(tmp_path: Path) -> None:
    replay, _ = replayed(written(tmp_path / "e", [0.0, 1.0, 2.0], end="stopped"), 1.0)
    statuses = [batch.status for batch in replay.batches(lambda: False)]
    assert set(statuses[:-1]) == {RunStatus.RUNNING}
    assert statuses[-1] is RunStatus.STOPPED


def test_without_an_end_it_is_lost_at_the_end(tmp_path: Path) -> None:
    replay, _ = replayed(written(tmp_path / "e", [0.0], end=None), math.inf)
    assert [batch.status for batch in replay.batches(lambda: False)] == [RunStatus.LOST]


def test_a_pause_stands_still_and_goes_on_from_there() -> None:
    time = Time()
    clock = ReplayClock(10.0, time.now)
    clock.start(1000.0)
    time.sleep(10)
    clock.pause()
    time.sleep(500)
    assert clock.share == pytest.approx(0.1)
    clock.go_on()
    time.sleep(10)
    assert clock.share == pytest.approx(0.2)
    assert clock.seek_by(0.05) is False
    assert clock.share == pytest.approx(0.25)


def test_from_full_speed_it_goes_on_where_it_was_shown() -> None:
    time = Time()
    clock = ReplayClock(math.inf, time.now)
    clock.start(1000.0)
    clock.reached = 300.0
    assert clock.share == pytest.approx(0.3)
    clock.set_speed(1.0)
    assert clock.position == pytest.approx(300.0)


def test_attempts_follow_one_another(tmp_path: Path) -> None:
    first = written(tmp_path / "a", [0.0, 1.0], end=None)
    second = written(tmp_path / "b", [500.0, 501.0])
    replay = Replay("r", [first, second], ReplayClock(math.inf))
    seqs = [event.seq for batch in replay.batches(lambda: False) for event in batch.events]
    assert seqs == [0, 1, 0, 1, 2]


def test_no_event_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("nothing\n")
    with pytest.raises(DataError):
        Recording([AttemptFiles(tmp_path / "e", ())]).duration_s()
