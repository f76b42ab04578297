"""Renting from the Launch screen, and what the Fleet screen says of rented machines."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.api import (
    Check,
    FollowBatch,
    LaunchRequest,
    Level,
    Market,
    Preflight,
    ProviderProblem,
    RunStatus,
    VolumeRow,
)
from console.errors import ProviderError
from console.fleet.model import InstanceKind, InstanceState, Offer
from console.home import Home
from console.tui.app import UpsConsole
from console.tui.launching import LaunchLeftError, until_left
from console.tui.screens.launch import LaunchScreen
from tests.console.tui.conftest import (
    FakeOperations,
    cells,
    instance,
    offer,
    record_run,
    seen,
    until,
    until_seen,
)
from tests.patience import PATIENCE_S
from ups.errors import NotFoundError

SIZE = (120, 40)
VAST = (offer("18001", 0.37), offer("18002", 0.32))
VULTR = (offer("vcg-a40@ewr", 1.67, provider="vultr", gpu="L40S"),)


def fake(home: Home, **changes: object) -> FakeOperations:
    """A market of three providers, and a run to follow once it is launched."""
    operations = FakeOperations(home)
    local = Market("local", (offer("this-machine", 0.0),))
    passed_over: tuple[tuple[Offer, str], ...] = ((offer("18003", 0.11), "reliability 91 %, wanted 95 %"),)
    operations.market = [local, Market("vast", VAST, passed_over), Market("vultr", VULTR)]
    operations.ended = True
    for name, value in changes.items():
        setattr(operations, name, value)
    return operations


async def choose(pilot: Pilot[None], downs: int) -> None:
    """Put the offers' cursor on a row, and wait for its checks."""
    await until_seen(pilot, "0.37", "L40S", "ready")
    pilot.app.screen.query_one("#offers").focus()
    await pilot.press(*["down"] * downs)
    await until_seen(pilot, "again rents at" if downs else "launches, free")


async def test_the_cursor_begins_on_this_machine_which_is_free(home: Home) -> None:
    operations = fake(home, market=[Market("vast", VAST), Market("local", (offer("this-machine", 0.0),))])
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        screen = await until_seen(pilot, "▸ free  CPU", "enter launches, free")
        assert "0.37" in screen
        operations.launch_goes_on.set()
        await pilot.press("enter")
        await until(pilot, lambda: bool(operations.launched))
        assert operations.launched[0].rent.provider == "local"


async def test_enter_before_the_checks_are_done_launches_after_them_unless_something_else_is_chosen(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = fake(home)
    check, may_go_on = operations.preflight, threading.Event()

    def slowly(request: LaunchRequest) -> Preflight:
        assert may_go_on.wait(PATIENCE_S)
        return check(request)

    monkeypatch.setattr(operations, "preflight", slowly)
    operations.launch_goes_on.set()
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await until_seen(pilot, "0.37", "L40S")
        await choose_config(pilot)
        await pilot.press("enter")
        await until_seen(pilot, "launched when that has gone well")
        await pilot.press("down")  # another config: what was asked for is forgotten
        may_go_on.set()
        await until_seen(pilot, "launches, free")
        assert not operations.launched
        may_go_on.clear()
        await pilot.press("up", "enter")
        await until_seen(pilot, "launched when that has gone well")
        may_go_on.set()
        await until(pilot, lambda: bool(operations.launched))
        assert operations.launched[0].config.stem == "local_2task"


async def choose_config(pilot: Pilot[None]) -> None:
    """Wait until the configs and the store are read."""
    screen = pilot.app.screen
    assert isinstance(screen, LaunchScreen)
    await until(pilot, lambda: screen.request() is not None and bool(screen.datasets))


async def test_renting_shows_everything_before_paying_and_asks_again_with_the_price(home: Home) -> None:
    guards = Check(Level.DANGER, "if this laptop and `watch` both die, nothing stops it")
    operations = fake(home, checks=(guards,))
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        screen = await until_seen(pilot, "expected $0.25 at $0.37/h", "at most $0.74", "as earlier runs took")
        assert "$21.40 left" in screen
        assert "nothing stops it" in screen
        await pilot.press("enter")
        await until_seen(pilot, "enter again rents RTX 4090 of vast, Poland, PL at $0.37/h, expected $0.25")
        assert not operations.launched
        operations.launch_goes_on.set()
        await pilot.press("enter")
        await until(pilot, lambda: bool(operations.launched))
        assert operations.launched[0].rent.offer_id == "18001"


async def test_a_price_that_was_not_asked_about_is_never_rented(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        await pilot.press("enter")
        await until_seen(pilot, "enter again rents RTX 4090 of vast")
        await pilot.press("down", "down")
        await until_seen(pilot, "again rents at $1.67/h")
        await pilot.press("enter")
        await until_seen(pilot, "enter again rents L40S of vultr", "at $1.67/h")
    assert not operations.launched


async def test_an_offer_that_is_gone_gives_way_to_this_machine(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        operations.market = [operations.market[0], Market("vultr", VULTR)]
        await pilot.press("r")
        await until_seen(pilot, "the offer 18001 is gone: this machine is chosen", "▸ free  CPU")


async def test_the_gpu_can_be_asked_for_and_the_launch_asks_for_the_same(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 0)
        await pilot.press("slash")
        await until_seen(pilot, "GPU and its fallbacks")
        await pilot.press(*"RTX_4090, H200", "enter")
        await until_seen(pilot, "offers  RTX_4090, else H200")
        assert operations.queries[-1].gpus == ("RTX_4090", "H200")
        await choose(pilot, 1)
        await pilot.press("w")
        await until_seen(pilot, "passed over", "reliability 91 %, wanted 95 %")
        await pilot.press("escape", "o")
        await until_seen(pilot, "by $/h")


async def test_a_launch_is_visible_everywhere_and_only_one_at_a_time(home: Home) -> None:
    record_run(home, "1124-aaaa", epochs=1)
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        await pilot.press("enter", "enter")
        await until_seen(pilot, "▶ launching local_2task on RTX 4090 of vast", "the provider says: loading")
        await until_seen(pilot, "1124-aaaa")  # Live came to the front
        await pilot.press("3")
        await until_seen(pilot, "instances", "the provider says: loading")
        await pilot.press("1")
        await until_seen(pilot, "before paying", "ready")
        await pilot.press("enter")
        await until_seen(pilot, "a launch is under way", "the next can begin when its run has started")
        operations.launch_goes_on.set()
        await until_seen(pilot, "run 1124-aaaa has started on 18342")
        assert "▶ launching" not in seen(pilot.app)
    assert len(operations.launched) == 1


async def test_a_launch_that_failed_says_why_until_it_is_read(home: Home) -> None:
    error = ProviderError("no machine could be reached", hint="choose another offer")
    operations = fake(home, launch_error=error)
    operations.launch_goes_on.set()
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        await pilot.press("enter", "enter")
        await until_seen(pilot, "did not start: no machine could be reached   choose another offer")
        await pilot.press("1")
        await until_seen(pilot, "before paying", "did not start", "ready")
        await pilot.press("enter")
        await until(pilot, lambda: "did not start" not in seen(pilot.app))


async def test_leaving_during_a_launch_asks_and_then_ends_what_was_rented(home: Home) -> None:
    operations = fake(home)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await choose(pilot, 1)
        await pilot.press("enter", "enter")
        await until_seen(pilot, "▶ launching")
        await pilot.press("q")
        await until_seen(pilot, "leaving stops it, and waits until what it rented is destroyed")
        assert not operations.abandoned
        await pilot.press("q")
    assert operations.abandoned == ["1124-aaaa"]
    assert app.launching.left.is_set()


async def test_live_waits_for_a_run_that_has_no_instance_yet(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(home, "1124-aaaa", epochs=1)
    operations = fake(home)
    follow, looks = operations.follow, [0]

    def not_yet(run: str, *, log: bool = True) -> Iterator[FollowBatch]:
        looks[0] += 1
        if looks[0] < 3:
            raise NotFoundError("the ledger has no instance of it")
        return follow(run, log=log)

    monkeypatch.setattr(operations, "follow", not_yet)
    monkeypatch.setattr(operations, "status", lambda _: RunStatus.PENDING)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "epoch 39 went well")
        assert seen(pilot.app).count("epoch 39 went well") == 1


def test_a_launch_that_was_left_stops_once_and_may_then_clean_up() -> None:
    left, heard = FakeOperations(Home(Path("/nowhere"))).launch_goes_on, []
    say = until_left(heard.append, left)
    say("renting")
    left.set()
    with pytest.raises(LaunchLeftError):
        say("waiting")
    say("tearing down what was rented")
    assert heard == ["renting", "tearing down what was rented"]


# --- fleet ------------------------------------------------------------------------------------


def leaking(home: Home) -> FakeOperations:
    """An orphan, a volume that nobody uses, another console's machine, and a provider that is down."""
    idle = VolumeRow("vol-7", "vultr", "ups-c0ffee00-1-2", 100, 0.014, time.time() - 9000, None, ours=True)
    return fake(
        home,
        rows=[
            instance(None, instance="18290", label="ups-me-o-1", kind=InstanceKind.ORPHAN, usd=2.86),
            instance(),
            instance(
                None, instance="18400", label="ups-you-1", kind=InstanceKind.OTHER_CONSOLE, deadline=1.0
            ),
            instance("1123-bbbb", instance="18111", label="ups-me-d-1", state=InstanceState.DESTROYED),
        ],
        volumes=[idle],
        problems=[ProviderProblem("vast", "502 from the API", "look at status.vast.ai")],
    )


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 36), (200, 50)])
async def test_what_leaks_money_is_on_top_at_every_size(home: Home, size: tuple[int, int]) -> None:
    async with UpsConsole(leaking(home)).run_test(size=size) as pilot:
        await pilot.press("3")
        screen = await until_seen(pilot, "▲ 18290", "● vast-18342")
        assert screen.index("▲ 18290") < screen.index("▲ vol-7") < screen.index("● vast-18342")
        assert "$2.86" in screen
        assert "vast does not answer" in screen
        assert all(len(line) <= size[0] for line in cells(pilot.app))
        if size[0] >= 80:
            assert "orphan: x ends it" in screen
        if size[0] >= 120:
            assert "502 from the API" in screen


async def test_a_volume_goes_only_after_the_typed_word(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = leaking(home)
    gone: list[str] = []
    monkeypatch.setattr(operations, "delete_volume", lambda _, volume: gone.append(volume))
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await until_seen(pilot, "vol-7")
        await pilot.press("down")
        await until_seen(pilot, "on no instance: it costs all the same")
        await pilot.press("x")
        await until_seen(pilot, "deletes the volume vol-7, 100 GB, with all that is on it", "type delete")
        await pilot.press(*"delete", "enter")
        await until_seen(pilot, "the volume vol-7 is gone")
    assert gone == ["vol-7"]


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
async def test_offers_are_in_sight_on_a_small_terminal(home: Home, size: tuple[int, int]) -> None:
    async with UpsConsole(fake(home)).run_test(size=size) as pilot:
        await until_seen(pilot, "▸ free  CPU", "config", "tasks", "expected $0.00")


async def test_without_colour_marks_tell_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    operations = leaking(home)
    operations.checks = (Check(Level.DANGER, "nothing stops it"),)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await until_seen(pilot, "‼ nothing stops it")
        await pilot.press("3")
        await until_seen(pilot, "✗ vast does not answer", "▲ 18290", "orphan: x ends it")
