"""Random schedules of faults, kills and clock jumps over two consoles on one ledger.

`UPS_FAULT_SCHEDULES=1000` plays so many of them (the default is for CI). Schedules are derandomised, so
that every run plays the same ones; what once failed is kept as a test of its own.
"""

import contextlib
import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from console.fleet.model import ProviderState
from console.fleet.watch import INTERVAL_S, LAUNCH_PATIENCE_S
from tests.faults.world import (
    CREATE_FAULTS,
    DESTROY_FAULTS,
    LIFE_S,
    LIST_FAULTS,
    RUN_S,
    Console,
    Killed,
    Mortality,
    World,
    memory_directory,
)
from ups.errors import UpsError

SCHEDULES = int(os.environ.get("UPS_FAULT_SCHEDULES", "100"))
GRACE_S = LAUNCH_PATIENCE_S + 90.0 + 20 * INTERVAL_S
"""Within which the last guard ends what has no purpose, every pending fault included."""

who = st.integers(min_value=0, max_value=1)


class Fleet(RuleBasedStateMachine):
    """Two consoles rent, look, tear down and die, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        path = self._stack.enter_context(memory_directory())
        self.world = World(path / "ledger.db")
        self._stack.callback(self.world.close)
        self.consoles = [Console(self.world), Console(self.world)]
        self.launched = 0

    def _as(self, which: int, act: Callable[[Console], object]) -> None:
        """Let a console do something; one that is killed is started again."""
        try:
            act(self.consoles[which])
        except UpsError:
            pass
        except Killed:
            self.consoles[which] = Console(self.world)

    @initialize(create=st.sampled_from(("", *CREATE_FAULTS)), kill=st.none() | st.integers(1, 40))
    def begin(self, create: str, kill: int | None) -> None:
        self.consoles[0] = Console(self.world, Mortality(after=kill))
        self._launch(0, create)

    @precondition(lambda self: self.launched < 4)
    @rule(which=who, create=st.sampled_from(("", *CREATE_FAULTS)))
    def launch(self, which: int, create: str) -> None:
        self._launch(which, create)

    def _launch(self, which: int, create: str) -> None:
        self.launched += 1
        run = f"r{self.launched}"
        self.world.faults["create"] = [create]
        self._as(which, lambda console: console.launch(run))

    @rule(which=who, after=st.integers(1, 30))
    def will_be_killed(self, which: int, after: int) -> None:
        self.consoles[which] = Console(self.world, Mortality(after=after))

    @rule(which=who)
    def reconcile(self, which: int) -> None:
        self._as(which, lambda console: console.survey())

    @rule(which=who)
    def guard(self, which: int) -> None:
        self._as(which, lambda console: console.guard.step())

    @rule(which=who, number=st.integers(0, 3))
    def user_tears_down(self, which: int, number: int) -> None:
        entries = self.consoles[which].ledger.entries()
        if number < len(entries):
            self._as(which, lambda console: console.teardown(entries[number]))

    @rule(faults=st.lists(st.sampled_from(("", *LIST_FAULTS)), max_size=3))
    def lists_fail(self, faults: list[str]) -> None:
        self.world.faults["list"] = faults

    @rule(faults=st.lists(st.sampled_from(("", *DESTROY_FAULTS)), max_size=3))
    def destroys_fail(self, faults: list[str]) -> None:
        self.world.faults["destroy"] = faults

    @rule(times=st.integers(1, 2))
    def questions_fail(self, times: int) -> None:
        self.world.faults["get"] = ["502"] * times

    @rule(state=st.sampled_from((ProviderState.STOPPED, ProviderState.UNKNOWN, ProviderState.RUNNING)))
    def changes(self, state: ProviderState) -> None:
        for box in self.world.alive():
            box.state = state

    @rule()
    def vanishes(self) -> None:
        for box in self.world.alive()[:1]:
            box.gone = self.world.now

    @rule(which=who, acts=st.booleans())
    def another_console_comes_between(self, which: int, acts: bool) -> None:
        def come() -> None:
            self._as(which, lambda console: console.guard.step() if acts else console.survey())

        self.world.interruptions = [come]

    @rule(seconds=st.sampled_from((1.0, 25.0, 95.0, RUN_S, 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @invariant()
    def nothing_is_wrong(self) -> None:
        self.world.check()
        assert self.world.violations == []

    def _recover(self) -> None:
        world = self.world
        ended = {box.id: max(world.now, *world.run_ends.values(), 0.0) for box in world.boxes}
        world.interruptions = []
        world.until = world.now + LIFE_S + GRACE_S
        last = Console(world)
        last.watch()
        world.check()
        assert world.violations == []
        assert world.alive() == []
        assert [entry for entry in last.ledger.entries() if entry.living] == []
        for box in world.boxes:
            assert box.gone is not None
            assert box.gone - ended[box.id] <= GRACE_S, "it cost money for nothing"

    def teardown(self) -> None:
        try:
            self._recover()
        finally:
            self._stack.close()


Fleet.TestCase.settings = settings(
    max_examples=SCHEDULES,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestFleet = Fleet.TestCase
