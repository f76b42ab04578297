"""The fault matrix of the fleet: each fault alone, and with a kill at each of its transition points.

A scenario is a whole life: rented, run, over, destroyed. It is played once to count the points (ledger
writes and provider calls, before and after their effect), then once for each point with a console that
is killed there. A new console's guard then has to bring everything to its end.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from console.errors import TeardownNotVerifiedError
from console.fleet.ledger import Entry
from console.fleet.model import InstanceState, ProviderState
from console.fleet.watch import INTERVAL_S, LAUNCH_PATIENCE_S
from tests.faults.world import LIFE_S, Console, Killed, Mortality, World, memory_directory
from ups.errors import UpsError

GRACE_S = LAUNCH_PATIENCE_S + 90.0 + 3 * INTERVAL_S
"""After the end of purpose: patience with the launcher, an unanswered create, and the passes of a guard."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What goes wrong in one life."""

    create: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    get: tuple[str, ...] = ()
    destroy: tuple[str, ...] = ()
    happens: Callable[[World], None] = field(default=lambda world: None)
    """While it runs."""
    extra_s: float = 0.0
    """By which the faults themselves make the end later."""
    asked: bool = False
    """The user tears it down by hand; else its run ends and the guard does."""


def outbid(world: World) -> None:
    for box in world.alive():
        box.state = ProviderState.STOPPED


def offline(world: World) -> None:
    for box in world.alive():
        box.state = ProviderState.UNKNOWN


def asleep(world: World) -> None:
    world.sleep(3600.0)


def vanishes(world: World) -> None:
    for box in world.alive():
        box.gone = world.now


SCENARIOS = {
    "nothing": Scenario(),
    "torn down by hand": Scenario(asked=True),
    "answer lost": Scenario(create=("lost",)),
    "answer lost, nothing rented": Scenario(create=("lost unsent",)),
    "answer lost, seen 80 s later": Scenario(create=("late",)),
    "answer lost, lists broken": Scenario(create=("lost",), list=("broken",) * 4, extra_s=240),
    "answer lost, lists empty": Scenario(create=("lost",), list=("empty",) * 3, extra_s=180),
    "answer lost, lists empty until it counts as refused": Scenario(
        create=("lost",), list=("empty",) * 14, extra_s=840
    ),
    "listed 80 s later, and destroy lies": Scenario(create=("unlisted",), destroy=("lies",), asked=True,
                                                    extra_s=60),
    "listed 80 s later": Scenario(create=("unlisted",), asked=True),
    "offer gone": Scenario(create=("gone",)),
    "429": Scenario(create=("refused",)),
    "lists broken": Scenario(list=("broken",) * 4, extra_s=240),
    "lists wrongly empty": Scenario(list=("empty",) * 4, extra_s=240),
    "lists wrongly empty at the end": Scenario(destroy=("lies",), list=("",) * 4 + ("empty",) * 3, asked=True,
                                               extra_s=240),
    "the direct question fails": Scenario(get=("502",) * 3, extra_s=180),
    "destroy lies": Scenario(destroy=("lies",) * 2, extra_s=120),
    "destroy lies to the user": Scenario(destroy=("lies",) * 2, asked=True, extra_s=120),
    "destroy fails": Scenario(destroy=("fails",) * 3, extra_s=180),
    "destroy is slow": Scenario(destroy=("slow",), asked=True, extra_s=60),
    "listed after its end": Scenario(destroy=("lingers",), asked=True),
    "outbid": Scenario(happens=outbid),
    "host offline": Scenario(happens=offline),
    "laptop asleep": Scenario(happens=asleep, extra_s=3600),
    "ended by its own watchdog": Scenario(happens=vanishes),
}  # fmt: skip


def play(world: World, console: Console, scenario: Scenario) -> None:
    """A whole life; errors that a user would read end what he was doing."""
    try:
        entry = console.launch("r1")
    except UpsError:
        console.watch()
        return
    console.guard.step()
    scenario.happens(world)
    if scenario.asked:
        with contextlib.suppress(TeardownNotVerifiedError):
            console.teardown(entry)
    console.watch()


@contextlib.contextmanager
def new_world(scenario: Scenario) -> Iterator[World]:
    with memory_directory() as path:
        world = World(path / "ledger.db")
        world.faults = {
            "create": [*scenario.create], "list": [*scenario.list], "get": [*scenario.get],
            "destroy": [*scenario.destroy],
        }  # fmt: skip
        world.until = world.now + LIFE_S + 3600.0
        try:
            yield world
        finally:
            world.close()


def verify(world: World, entries: list[Entry], died_at: float, scenario: Scenario) -> None:
    world.check()
    assert world.violations == []
    assert world.alive() == []
    for entry in entries:
        assert not entry.living, entry
        assert entry.state is not InstanceState.INTENDED
    assert len(world.creates) <= 1
    for box in world.boxes:
        assert box.gone is not None
        run_end = world.run_ends.get("r1", died_at)
        purpose_ended = max(died_at if scenario.asked else 0.0, run_end)
        assert box.gone - purpose_ended <= GRACE_S + scenario.extra_s, "it cost money for nothing"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_alone_leaves_nothing_behind(name: str) -> None:
    scenario = SCENARIOS[name]
    with new_world(scenario) as world:
        console = Console(world)
        play(world, console, scenario)
        verify(world, console.ledger.entries(), world.now, scenario)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_point_leaves_nothing_behind(name: str) -> None:
    scenario = SCENARIOS[name]
    with new_world(scenario) as world:
        console = Console(world)
        play(world, console, scenario)
        points = console.mortality.passed
    assert points > 8
    for point in range(1, points + 1):
        with new_world(scenario) as world:
            with pytest.raises(Killed):
                play(world, Console(world, Mortality(after=point)), scenario)
            died_at = world.now
            successor = Console(world)
            successor.watch()
            verify(world, successor.ledger.entries(), died_at, scenario)
