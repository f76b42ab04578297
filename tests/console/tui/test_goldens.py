"""Every screen, cell by cell, at three sizes."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.home import Home
from console.runs.opened import OpenedRun
from console.tui import screens
from console.tui.app import UpsConsole
from console.tui.screens.view import OpenedScreen
from tests.console.tui.conftest import FakeOperations, until, until_seen
from tests.console.tui.golden_home import BEST, NOW, RUNNING, GoldenOperations, make_home
from tests.console.tui.golden_home import standing_clock as standing_clock
from tests.console.tui.goldens import check, settled

pytestmark = pytest.mark.usefixtures("standing_clock")

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-goldens"))


@asynccontextmanager
async def opened(operations: FakeOperations, size: tuple[int, int]) -> AsyncIterator[Pilot[None]]:
    """The console, whose follower ends before it is left."""
    async with UpsConsole(operations).run_test(size=size) as pilot:
        yield pilot
        operations.ended = True


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_screen_is_as_it_was(home: Home, size: tuple[int, int], renew: bool) -> None:
    operations = make_home(home)
    at = f"{size[0]}x{size[1]}"

    async with opened(operations, size) as pilot:
        app = pilot.app
        assert isinstance(app, UpsConsole)

        async def looks(name: str, *texts: str) -> None:
            await check(pilot, f"{name}-{at}", *texts, renew=renew)

        await looks("launch", "expected", "enter launches, free")
        await settled(pilot)
        await pilot.press("question_mark")
        await looks("launch-help", "on Launch")
        await pilot.press("escape")
        await settled(pilot)
        await pilot.press("w")
        await looks("launch-why", "reliability 91 %")
        await pilot.press("escape")
        await settled(pilot)
        await pilot.press("slash")
        await looks("launch-gpu", "GPU and its fallbacks")
        await pilot.press("escape", "2")
        await looks("live", RUNNING, "val 0.", "|error|", "$0.11")
        await pilot.press("left", "z")
        await looks("live-zoomed", "ema", "chart 1 of 2")
        await pilot.press("z", "escape", "o", "m")
        await looks("live-machine", "all tasks", "gpu memory")
        await pilot.press("o", "m")
        await settled(pilot)
        await pilot.press("question_mark")
        await looks("live-help", "on Live")
        await pilot.press("escape", "3")
        await looks("fleet", "18290", "vol-7")
        await settled(pilot)
        await pilot.press("X")
        await looks("fleet-word", "type destroy")
        await pilot.press("escape", "4")
        await looks("data", "verified", "a month", "Advection, 1-D")
        await pilot.press("5")
        await looks("history", "report of", BEST, "0.0183")
        await pilot.press("down", "space", "space", "up", "up")
        await until_seen(pilot, f"report of {BEST}")
        await settled(pilot)
        await pilot.press("w")
        await looks("history-why", f"why {BEST}")
        await pilot.press("escape", "c")
        await looks("compare", "optimizer.lr", "★", "╍")
        await pilot.press("escape", "escape", "home", "down", "P")
        await until_seen(pilot, "REPLAY")
        await pilot.press("space", "home", *["right"] * 10)
        await looks("replay", "50%", "paused", "val 0.", "|error|")
        await pilot.press("escape")
        source = OpenedRun(home.runs / BEST / "attempt-1", now=lambda: NOW)
        app.push_screen(OpenedScreen(source))
        await looks("opened", "read only", "val 0.", "|error|")
        await pilot.press("escape", "5")
        await until_seen(pilot, f"report of {BEST}")
        await pilot.press("home", "down", "enter")
        await looks("live-beside", f"· {BEST} ·", "val 0.", "|error|")
        await pilot.press("right_square_bracket")
        await until_seen(pilot, f"· {RUNNING} ·", "teardown")
        app.teardowns.now = lambda: 0.0
        await pilot.press("x")
        await looks("live-teardown", "in 5 s", "val 0.")
        await pilot.press("u")
        await until(pilot, lambda: not app.teardowns.busy)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_screen_says_what_comes_first_where_there_is_nothing(
    home: Home, size: tuple[int, int], renew: bool
) -> None:
    operations = GoldenOperations(home)
    operations.money_shown = type(operations.money_shown)(0.0, 0.0, 25.0, 0, 0)
    at = f"{size[0]}x{size[1]}"
    async with opened(operations, size) as pilot:
        await check(pilot, f"launch-empty-{at}", "The store is empty", "launches, free", renew=renew)
        for key, name, text in (
            ("2", "live", "No run yet"), ("3", "fleet", "nothing is rented"), ("4", "data", "Advection, 1-D"),
            ("5", "history", "no run yet"),
        ):  # fmt: skip
            await pilot.press(key)
            await check(pilot, f"{name}-empty-{at}", text, renew=renew)


async def test_a_terminal_without_room_says_so(home: Home, renew: bool) -> None:
    async with opened(FakeOperations(home), (20, 5)) as pilot:
        await pilot.press("2")
        await check(pilot, "live-20x5", "needs 60×16", renew=renew)


def test_the_styles_of_a_screen_are_for_no_other() -> None:
    """All style sheets that were read hold for the whole app: two screens may have a pane of one name."""
    for path in Path(screens.__file__).parent.glob("*.tcss"):
        selectors = re.findall(r"^\s*([^{}]+?)\s*\{", path.read_text(), re.MULTILINE)
        kinds = {part.strip().split()[0].split(".")[0] for text in selectors for part in text.split(",")}
        assert len(kinds) == 1, (path.name, kinds)
        assert kinds.pop().removesuffix("Screen").lower() == path.stem.replace("_", "")
