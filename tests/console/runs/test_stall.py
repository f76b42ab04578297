"""A rented GPU that does nothing is told once, with what it costs, and again when it works."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.fleet.ledger import Entry, Ledger
from console.fleet.locks import FileLock
from console.fleet.model import InstanceState, Label
from console.runs.registry import Registry
from console.runs.stall import Mirrors, StallWatch, idle_words
from console.runs.transport import LocalTransport
from ups.events import Event, EventType, encode

START = 1_800_000_000.0
BOX_OFF = -5000.0
"""The box's clock is that far off: only its differences count."""


class World:
    """A rented run whose events come as told, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        self.ledger = Ledger(folder / "ledger.db", clock=lambda: self.now)
        self.registry = Registry(folder / "runs")
        self.locks = folder / "locks"
        self.locks.mkdir()
        label = Label.new(self.ledger.console_id, START + 36000)
        self.label = str(label)
        self.ledger.intend(label, provider="vast", what="RTX 4090 ×1", usd_per_hour=0.3, cap_usd=0.0,
                           keep=False, run="r1", attempt=1)  # fmt: skip
        for state in (InstanceState.REQUESTED, InstanceState.STARTING, InstanceState.REACHABLE,
                      InstanceState.RUNNING):  # fmt: skip
            self.ledger.move(self.label, state, "test", provider_id="18042" if state is _STARTING else None)
        self.box = folder / "box"
        self.mirror = folder / "runs" / "r1" / "attempt-1" / "events.jsonl"
        self.on_box = self.box / "runs" / "r1" / "attempt-1" / "events.jsonl"
        for path in (self.mirror, self.on_box):
            path.parent.mkdir(parents=True)
        self.mirrors = Mirrors(self.registry, self.locks, clock=lambda: self.now)
        box = LocalTransport(self.box, python=sys.executable, marker={"UPS_INSTANCE": self.label})
        self.reachable = True
        self.watch = StallWatch(self.ledger, self.mirrors, lambda _: box if self.reachable else None,
                                clock=lambda: self.now)  # fmt: skip
        self._seq = 0

    @property
    def entry(self) -> Entry:
        return self.ledger.entry(self.label)

    def write(self, kind: EventType, **fields: Any) -> None:
        line = encode(self._seq, self.now + BOX_OFF, kind, fields)
        self._seq += 1
        for path in (self.mirror, self.on_box):
            with path.open("ab") as file:
                file.write(line)
            os.utime(path, (self.now, self.now))

    def go_on(self, seconds: float, *, use: float | None) -> None:
        """Telemetry every 10 s; None: nothing is heard."""
        for _ in range(int(seconds / 10)):
            self.now += 10
            if use is not None:
                self.write(EventType.SYSTEM, gpu=[{"util": use}, {"util": 0.0}], cpu=5.0)


_STARTING = InstanceState.STARTING


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(params=["followed", "on its own"])
def either(request: pytest.FixtureRequest, world: World) -> Iterator[World]:
    """Whether a console copies the events, or the guard has to ask the box."""
    if request.param == "on its own":
        yield world
        return
    with FileLock(world.locks / "mirror-r1.lock"):
        yield world


def test_each_stall_is_told_once_and_when_it_is_over(either: World) -> None:
    world, said = either, []
    world.write(EventType.PHASE, phase="train", state="started")
    for seconds, use in ((600, 90.0), (200, 0.0), (60, 50.0), (290, 1.0), (600, 0.0), (60, 80.0), (400, 0.0)):
        for _ in range(seconds // 10):
            world.go_on(10, use=use)
            said += [(world.now - START, text) for text in world.watch.step()]
    assert [text for _, text in said] == [
        "! 18042 (r1): its GPU has been idle for 5 min, at $0.30/h",
        "18042 (r1): works again",
        "! 18042 (r1): its GPU has been idle for 5 min, at $0.30/h",
    ]
    first, over, second = (t for t, _ in said)
    assert (first, over, second) == (1170, 1760, 2120)


def test_a_box_that_says_nothing_any_more_is_told(either: World) -> None:
    world, said = either, []
    world.go_on(60, use=90.0)
    for _ in range(50):
        world.go_on(10, use=None)
        said += list(world.watch.step())
    assert said == ["! 18042 (r1): no word of its run for 5 min, at $0.30/h"]
    world.go_on(20, use=90.0)
    assert list(world.watch.step()) == ["18042 (r1): works again"]


def test_the_phase_in_which_it_waits_is_named(world: World) -> None:
    world.go_on(20, use=90.0)
    world.write(EventType.PHASE, phase="hydrate", state="started")
    world.go_on(400, use=0.0)
    assert world.mirrors.words(world.entry) == "its GPU has been idle for 6 min (hydrate)"


def test_what_nobody_has_heard_is_not_taken_for_idleness(world: World) -> None:
    world.go_on(400, use=0.0)
    world.go_on(400, use=None)
    assert world.mirrors.words(world.entry) == ""
    world.reachable = False
    assert list(world.watch.step()) == []


def test_a_run_that_is_over_does_not_stall(either: World) -> None:
    world = either
    world.go_on(400, use=0.0)
    world.write(EventType.DONE, status="succeeded", exit_code=0)
    world.now += 900
    assert list(world.watch.step()) == []
    assert world.mirrors.words(world.entry) == ""


def test_an_instance_that_is_gone_is_forgotten(either: World) -> None:
    world = either
    world.go_on(400, use=0.0)
    assert len(list(world.watch.step())) == 1
    world.ledger.move(world.label, InstanceState.STOPPING, "test")
    assert list(world.watch.step()) == []
    assert world.watch.told == {}


@pytest.mark.parametrize("gpu", [[], None, "?", [{}], [{"util": None}], ["x"]])
def test_a_box_that_tells_of_no_gpu_is_not_judged(gpu: Any) -> None:
    events = [Event(n, START + 10 * n, EventType.SYSTEM, {"gpu": gpu}) for n in range(60)]
    assert idle_words(reversed(events)) == ""
    assert idle_words([]) == ""


def test_eight_gpus_are_seen_for_as_long(world: World) -> None:
    for _ in range(200):
        world.now += 2
        cards = [{"util": 0, "mem_used": 1, "mem_total": 85899345920, "power": 60.123, "temp": 31}] * 8
        world.write(EventType.SYSTEM, gpu=cards, cpu=1.0, ram=3.0)
    assert world.mirrors.words(world.entry) == "its GPU has been idle for 7 min"
