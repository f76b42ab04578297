"""How often the screen is told of what a worker takes in."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from console.follow_api import FollowBatch, RunStatus
from console.runs.event_lines import decode_events
from console.tui.live_run import LiveRun
from console.tui.sources import taken_in
from ups.events import encode


class Batches:
    """Ten batches of so many events, as a source."""

    run = "1130-0001"

    def __init__(self, events: int) -> None:
        content = b"".join(
            encode(i, float(i), "metric", {"step": i, "values": {"loss": 0.5}}) for i in range(events)
        )
        self._batch = FollowBatch(RunStatus.RUNNING, decode_events(content))

    def batches(self, is_cancelled: Callable[[], bool]) -> Iterable[FollowBatch]:
        return itertools.repeat(self._batch, 10)

    def directories(self) -> list[Path]:
        return [Path("attempt-1")]

    def logs(self) -> list[Path]:
        return []


@pytest.mark.parametrize(("events", "told"), [(10, 10), (4000, 3)])
def test_the_screen_is_told_less_often_while_what_was_there_is_read(events: int, told: int) -> None:
    live, seconds = LiveRun("1130-0001"), itertools.count(1)
    looks = taken_in(live, Batches(events), lambda: False, clock=lambda: 0.1 * next(seconds))
    assert len([live.directories for _ in looks]) == told
    assert live.view.revision == 10 * events
    assert live.directories == [Path("attempt-1")]
