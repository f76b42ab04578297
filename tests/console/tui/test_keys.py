"""Every key of every binding, pressed where it works, and what is then to be seen."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual import events
from textual.pilot import Pilot

from console.api import LaunchRequest
from console.home import Home
from console.operations import Operations
from console.runs.opened import OpenedRun
from console.tui.app import UpsConsole
from console.tui.keymap import all_bindings
from console.tui.screens.compare import CompareScreen
from console.tui.screens.replay import ReplayScreen
from console.tui.screens.view import OpenedScreen
from console.tui.widgets.charts import Charts
from console.tui.widgets.compared_chart import ComparedChart
from console.tui.widgets.foot import NoticeBar
from console.tui.widgets.log import LogView
from console.tui.widgets.rollout import RolloutView
from console.tui.widgets.sorted_table import SortedTable
from console.tui.widgets.table import CheckList, Table
from console.tui.widgets.text import TextPanel
from tests.console.tui.conftest import seen, until, until_seen
from tests.console.tui.golden_home import BEST, NOW, RUNNING, WORSE, GoldenOperations, make_home
from tests.console.tui.golden_home import standing_clock as standing_clock

pytestmark = pytest.mark.usefixtures("standing_clock")

SIZE = (150, 44)
App = UpsConsole
Effect = Callable[[App], Callable[[], bool]]
"""Looks at the app before the key is pressed; gives what has come true after it, and is not yet."""


# --- what a key may do --------------------------------------------------------------------------


def shows(text: str) -> Effect:
    return lambda app: lambda: text in seen(app)


def hides(text: str) -> Effect:
    return lambda app: lambda: text not in seen(app)


def is_on(screen: str) -> Effect:
    return lambda app: lambda: getattr(app.screen, "NAME", "") == screen


def becomes(get: Callable[[App], Any], value: object) -> Effect:
    return lambda app: lambda: get(app) == value


def changes(get: Callable[[App], Any]) -> Effect:
    return _compared(get, lambda before, now: before != now)


def grows(get: Callable[[App], Any]) -> Effect:
    return _compared(get, lambda before, now: now > before)


def falls(get: Callable[[App], Any]) -> Effect:
    return _compared(get, lambda before, now: now < before)


def _compared(get: Callable[[App], Any], holds: Callable[[Any, Any], bool]) -> Effect:
    def look(app: App) -> Callable[[], bool]:
        before = get(app)
        return lambda: holds(before, get(app))

    return look


@dataclass(frozen=True, slots=True)
class Step:
    """A key of a binding and its effect; without a binding's id only a way to the next one.

    In place of a key `#pane` gives a pane the focus.
    """

    name: str
    key: str
    effect: Effect | None = None


def way(*keys: str, effect: Effect | None = None) -> list[Step]:
    """Keys that lead to where the next one is looked at."""
    return [*(Step("", key) for key in keys[:-1]), Step("", keys[-1], effect)]


def each(name: str, keys: Sequence[str], effect: Effect) -> list[Step]:
    """Several keys of one binding, each with the same effect when pressed again."""
    return [Step(name, key, effect) for key in keys]


def back_and_forth(name: str, keys: Sequence[str], effect: Effect, back: str) -> list[Step]:
    """Several keys of one binding, of which each is taken back by another key."""
    return [step for key in keys for step in (Step(name, key, effect), *way(back))]


# --- what is looked at --------------------------------------------------------------------------


def charts(app: App) -> Charts:
    return app.screen.query_one(Charts)


def log(app: App) -> LogView:
    return app.screen.query_one(LogView)


def rollout(app: App) -> RolloutView:
    return app.screen.query_one(RolloutView)


def top(app: App) -> tuple[int, int]:
    return log(app).reader.window.top().place


def match(app: App) -> tuple[int, int]:
    return log(app).reader.match or (0, -1)


def follows(app: App) -> bool:
    return log(app).following


def typed_in_log(app: App) -> str:
    return log(app)._prompt.kind


def table(app: App) -> Table:
    focused = app.screen.focused
    return focused if isinstance(focused, Table) else app.screen.query(Table).first()


def cursor(app: App) -> int:
    return table(app).cursor


def ticked(app: App) -> int:
    return len(app.screen.query_one("#tasks", CheckList).ticked)


def sorted_table(app: App) -> SortedTable:
    return app.screen.query_one(SortedTable)


def first_line(app: App) -> int:
    focused = app.screen.focused
    assert isinstance(focused, TextPanel)
    return focused._top


def compared(app: App) -> ComparedChart:
    return app.screen.query_one(ComparedChart)


def clock_of(app: App) -> Any:
    assert isinstance(app.screen, ReplayScreen)
    return app.screen.replay.clock


MOVES = [
    *each("table.down", ("down", "j"), grows(cursor)), *each("table.up", ("up", "k"), falls(cursor)),
    Step("table.last", "end", grows(cursor)), Step("table.first", "home", falls(cursor)),
    Step("table.last", "G", grows(cursor)), Step("table.first", "g", falls(cursor)),
    Step("table.page_down", "pagedown", grows(cursor)), Step("table.page_up", "pageup", falls(cursor)),
]  # fmt: skip
SCROLLS = [
    *each("text.down", ("down", "j"), grows(first_line)), *each("text.up", ("up", "k"), falls(first_line)),
    Step("text.page_down", "pagedown", grows(first_line)), Step("text.page_up", "pageup", falls(first_line)),
]  # fmt: skip

LAUNCH = [
    *[step for name, number in (("live", "2"), ("fleet", "3"), ("data", "4"), ("history", "5"),
    ("launch", "1"))
      for step in [Step(f"app.{name}", number, is_on(name.capitalize()))]],
    *way("1", effect=shows("launches, free")),
    *each("app.next_pane", ("tab",), becomes(lambda app: table(app).id, "tasks")), *MOVES,
    Step("checklist.tick", "space", changes(ticked)), Step("checklist.all", "a", grows(ticked)),
    Step("app.previous_pane", "shift+tab", becomes(lambda app: table(app).id, "configs")),
    Step("app.help", "question_mark", shows("on Launch")), *SCROLLS,
    *back_and_forth("help.close", ("escape", "question_mark", "q", "enter"), hides("on Launch"),
    "question_mark"),
    *way("escape", effect=hides("on Launch")),
    *way("w", effect=shows("reliability 91")),
    *back_and_forth("page.close", ("escape", "q", "enter"), hides("reliability 91"), "w"),
    *way("escape", effect=hides("reliability 91")),
    *[step for key in ("colon", "ctrl+p") for step in (
        Step("app.palette", key, becomes(lambda app: type(app.screen).__name__, "CommandPalette")),
        *way("escape"))],
    Step("launch.why", "w", shows("reliability 91")), *way("escape", effect=hides("reliability 91")),
    Step("launch.order", "o", changes(lambda app: app.screen.order)),  # type: ignore[attr-defined]
    Step("launch.gpu", "slash", shows("GPU and its fallbacks")),
    Step("text.cancel", "escape", hides("GPU and its fallbacks")),
    Step("launch.cap", "c", shows("may cost at most")), *way("escape", effect=hides("may cost at most")),
    Step("launch.dry_run", "d", shows("what would be sent")),
    *way("escape", effect=hides("what would be sent")),
    Step("launch.reread", "r", grows(lambda app: len(app.operations.queries))),  # type: ignore[attr-defined]
    *way("down", "up", effect=becomes(ticked, 2)),  # which has the config's own tasks ticked
    Step("launch.make", "m", shows("the ticked tasks have their data, or no solver")),
    Step("app.theme", "T", shows("theme ups-")),
    *way("home", effect=shows("launches, free")),
    Step("launch.launch", "enter", grows(lambda app: len(app.operations.launched))),
     # type: ignore[attr-defined]
]  # fmt: skip

LIVE = [
    *way("2", effect=shows("darcy2d  log")),
    Step("live.log_y", "l", shows("darcy2d  linear")),
    Step("live.smooth", "s", becomes(lambda app: charts(app).view.smooth, value=False)),
    *back_and_forth("live.magnify", ("plus", "equals_sign"), shows("shows all"), "0"),
    *way("plus", effect=shows("shows all")),
    Step("live.all", "0", hides("shows all")), *way("plus", effect=shows("shows all")),
    Step("live.left", "less_than_sign", hides("follows")),
    Step("live.right", "greater_than_sign", shows("follows")),
    Step("live.left", "shift+left", hides("follows")), Step("live.right", "shift+right", shows("follows")),
    Step("live.shrink", "minus", hides("shows all")),
    Step("live.axis", "a", shows("by epoch")), *way("a", "a", "a", effect=hides("by dollars")),
    Step("live.overlay", "o", shows("all tasks")), *way("o", effect=hides("all tasks")),
    Step("live.beside", "c", shows("over last")),
    Step("live.machine", "m", shows("gpu memory")), *way("m", effect=hides("gpu memory")),
    *way("slash", *"advection", "enter", effect=shows("1 of 2 shown")),
    *way("slash", "escape", effect=hides("1 of 2 shown")),
    Step("live.zoom", "z", shows("chart 1 of 2")),
    *[step for on, back in (("n", "N"), ("pagedown", "pageup")) for step in (
        Step("charts.next", on, shows("chart 2 of 2")),
        Step("charts.previous", back, shows("chart 1 of 2")))],
    *way("z", effect=hides("chart 1 of 2")),
    *way("left", "left"),
    Step("curve.left", "left", falls(lambda app: charts(app).view.cross)),
    Step("curve.right", "right", grows(lambda app: charts(app).view.cross)),
    Step("curve.escape", "escape", becomes(lambda app: charts(app).view.cross, None)),
    Step("charts.filter", "slash", shows("enter keeps it")), *way("escape", effect=hides("enter keeps it")),
    Step("live.older", "left_square_bracket", shows("run 2 of 4")),
    Step("live.newer", "right_square_bracket", shows("run 1 of 4")),
    Step("live.rollout", "r", shows("● advection1d  u  step 180")),
    Step("live.teardown", "x", shows(f"tearing down {RUNNING} in 5 s")),
    Step("app.take_back", "u", shows(f"{RUNNING} stays")),
]  # fmt: skip

ROLLOUT = [
    *way("2", effect=shows("|error|")), *way("r", effect=shows("● advection1d  u  step 180")),
    Step("", "#rollout"),
    Step("rollout.on", "right", grows(lambda app: rollout(app).frame)),
    Step("rollout.back", "left", falls(lambda app: rollout(app).frame)),
    Step("rollout.last", "end", grows(lambda app: rollout(app).frame)),
    Step("rollout.first", "home", falls(lambda app: rollout(app).frame)),
    *way("minus", "minus"),
    *each("rollout.faster", ("plus", "equals_sign"), grows(lambda app: rollout(app)._speed)),
    Step("rollout.slower", "minus", falls(lambda app: rollout(app)._speed)),
    Step("rollout.channel", "c", shows("● advection1d  v")),
    Step("rollout.colours", "p", changes(lambda app: rollout(app).colours)),
    Step("rollout.earlier", "up", shows("step 90")), Step("rollout.later", "down", shows("step 180")),
    Step("rollout.play", "space", grows(lambda app: rollout(app).frame)),
]  # fmt: skip

LOG = [
    *way("2", effect=shows("epoch 3  55 %")), Step("", "#log"),
    *[step for key in ("end", "G", "f") for step in (
        *way("up", effect=becomes(follows, value=False)),
        Step("log.follow", key, becomes(follows, value=True)))],
    *each("log.up", ("up", "k"), falls(top)), Step("log.page_up", "pageup", falls(top)),
    *each("log.down", ("down", "j"), grows(top)), Step("log.page_down", "pagedown", grows(top)),
    *way("pageup"), Step("log.home", "home", becomes(top, (0, 0))), *way("end"),
    Step("log.home", "g", becomes(top, (0, 0))),
    Step("log.right", "right", grows(lambda app: log(app)._left)),
    Step("log.left", "left", falls(lambda app: log(app)._left)),
    Step("log.wrap", "w", becomes(lambda app: log(app).wrapped, value=True)),
    Step("log.next_error", "e", grows(match)), *way("e", effect=grows(match)),
    Step("log.previous_error", "E", falls(match)),
    Step("log.search", "slash", becomes(typed_in_log, "/")), *way(*"epoch 1", "enter", effect=changes(match)),
    Step("log.previous", "N", changes(match)), Step("log.next", "n", changes(match)),
    Step("log.clear", "escape", becomes(lambda app: log(app).reader.searched, "")),
    Step("log.filter", "ampersand", becomes(typed_in_log, "&")),
    *way("escape", effect=becomes(typed_in_log, "")),
    Step("log.line", "colon", becomes(typed_in_log, ":")), *way("escape", effect=becomes(typed_in_log, "")),
    Step("log.level", "L", hides("went well")),
]  # fmt: skip

FLEET = [
    *way("3", effect=shows("history of 18290")),
    Step("fleet.teardown_all", "X", shows("type destroy")),
    Step("word.cancel", "escape", hides("type destroy")),
    Step("fleet.log", "l", shows("the provider's own words")),
    *way("escape", effect=hides("the provider's own words")),
    Step("fleet.shell", "s", shows("no shell can be opened from here; in a terminal   ssh root@box")),
    Step("fleet.reread", "r", grows(lambda app: app.operations.fleet_reads)),  # type: ignore[attr-defined]
    Step("fleet.teardown", "x", shows("tearing down 18290 in 5 s")), *way("u", effect=shows("18290 stays")),
]  # fmt: skip

DATA = [
    *way("4", effect=shows("a month")),
    Step("data.cache", "c", shows("which version?")), *way("escape", effect=hides("which version?")),
    Step("data.fetch", "f", shows("to which folder?")), *way("escape", effect=hides("to which folder?")),
    Step("data.delete", "D", shows("deletes the dataset advection1d")),
    *way("escape", effect=hides("deletes the dataset")),
    Step("data.make", "m", shows("their data exist already")),
    Step("data.verify", "v", shows("every byte as recorded")),
    Step("data.reread", "r", grows(lambda app: app.operations.bucket.asked["list"])),
     # type: ignore[attr-defined]
    Step("data.details", "enter", becomes(lambda app: app.screen.focused.id, "details")),
     # type: ignore[union-attr]
]  # fmt: skip

HISTORY = [
    *way("5", effect=shows(f"report of {RUNNING}")),
    Step("sorted.next", "s", shows("run ▲")), Step("sorted.reverse", "S", shows("run ▼")),
    *way("home", "down", effect=shows(f"report of {BEST}")),
    Step("sorted.mark", "space", shows("1 marked")), *way("space", effect=shows("2 marked")),
    Step("history.compare", "c", becomes(lambda app: type(app.screen), CompareScreen)),
    *way("l", "l", effect=shows("● advection1d")),
    Step("compare.next", "right", shows("● darcy2d")),
    Step("compare.previous", "left", shows("● advection1d")),
    Step("compare.quantity", "v", shows("training")), Step("compare.log_y", "l", shows("training · linear")),
    Step("compare.smooth", "s", becomes(lambda app: compared(app).smooth, value=False)),
    Step("compare.close", "escape", shows("2 marked")),
    Step("sorted.filter", "slash", becomes(lambda app: sorted_table(app).is_typing, value=True)),
    *way(*BEST[-4:], "enter", effect=becomes(lambda app: len(sorted_table(app).items), 1)),
    Step("sorted.clear", "escape", becomes(lambda app: len(sorted_table(app).items), 4)),
    *way("home", "down", effect=shows(f"report of {BEST}")),
    Step("history.why", "w", shows(f"why {BEST}")), *way("escape", effect=hides(f"why {BEST}")),
    Step("history.next", "g", shows("the next config is written")),
    Step("history.report", "R", shows(f"the report of {BEST} is written")),
    Step("history.resume", "C", becomes(lambda app: app.operations.resumed, [BEST])),
     # type: ignore[attr-defined]
    Step("history.reread", "r", grows(lambda app: app.operations.run_reads)),  # type: ignore[attr-defined]
    Step("history.replay", "P", shows("REPLAY")),
    Step("replay.pause", "space", shows("paused")),
    *way("right"), Step("replay.restart", "home", becomes(lambda app: clock_of(app).share, 0.0)),
    Step("replay.on", "right", grows(lambda app: clock_of(app).share)),
    Step("replay.back", "left", falls(lambda app: clock_of(app).share)),
    *[step for key in ("plus", "equals_sign", "greater_than_sign") for step in (
        Step("replay.faster", key, shows("REPLAY 600×")), *way("minus", effect=shows("REPLAY 60×")))],
    *[step for key in ("minus", "less_than_sign") for step in (
        Step("replay.slower", key, shows("REPLAY 10×")), *way("plus", effect=shows("REPLAY 60×")))],
    Step("replay.max", "m", shows("REPLAY max")),
    Step("replay.close", "escape", shows(f"report of {BEST}")),
    Step("history.open", "enter", shows(f"· {BEST} ·")),
]  # fmt: skip

LEAVES = [("app.quit", "q"), ("app.quit_too", "ctrl+q")]
ELSEWHERE = {
    ("app.suspend", "ctrl+z"): "terminal/test_session.py",
    ("live.trouble", "e"): "console/tui/screens/test_screens.py",
    ("compare.later", "greater_than_sign"): "console/tui/screens/test_history.py",
    ("compare.earlier", "less_than_sign"): "console/tui/screens/test_history.py",
}
"""Keys that need a real terminal, a run that failed or many runs → the test that presses them there."""

TOURS = {"launch": LAUNCH, "live": LIVE, "rollout": ROLLOUT, "log": LOG, "fleet": FLEET, "data": DATA,
         "history": HISTORY}  # fmt: skip


# --- the tours ----------------------------------------------------------------------------------


class KeyOperations(GoldenOperations):
    """Counts what is read, and knows a box to log in to."""

    fleet_reads = 0
    run_reads = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resumed: list[str] = []

    def fleet_state(self, **options: Any) -> Any:
        self.fleet_reads += 1
        return super().fleet_state(**options)

    def runs(self) -> Any:
        self.run_reads += 1
        return super().runs()

    def provider_log(self, instance: str, **_: object) -> list[str]:
        return ["the provider's own words"]

    def ssh_command(self, instance: str, **_: object) -> list[str]:
        return ["ssh", "root@box"]

    def dry_run(self, request: LaunchRequest) -> Any:
        return [Dry("request", "what would be sent")]

    def resume(self, run: str, **_: object) -> Any:
        self.resumed.append(run)
        return Operations.registry.fget(self).find(run) and _launched(run)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Dry:
    title: str
    text: str


def _launched(run: str) -> Any:
    from console.api import Launched

    return Launched(run, "18342")


@asynccontextmanager
async def console(home: Home) -> AsyncIterator[Pilot[None]]:
    """The console over a home in which everything can be done."""
    made = make_home(home)
    operations = KeyOperations(home)
    for name in ("market", "checks", "rows", "volumes", "problems"):
        setattr(operations, name, getattr(made, name))
    attempt = home.runs / RUNNING / "attempt-1"
    for path in (attempt / "rollouts").glob("advection1d-*.npz"):
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
        meta = str(arrays["meta"]).replace('["u"]', '["u", "v"]')
        both = {name: np.concatenate([arrays[name]] * 2, axis=-1) for name in ("pred", "true")}
        np.savez(path, **both, times=arrays["times"], meta=meta)
    text = (attempt / "run.log").read_text()
    (attempt / "run.log").write_text(f"ERROR one {'x' * 300}\n" + "ERROR two\n" + text)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        app.teardowns.now = lambda: 0.0
        await until_seen(pilot, "launches, free")
        yield pilot
        operations.ended = True
        operations.launch_goes_on.set()


async def walk(pilot: Pilot[None], steps: Sequence[Step]) -> None:
    """Press the keys one after another; each must do what is expected of it, and not before it."""
    app = pilot.app
    assert isinstance(app, UpsConsole)
    for number, step in enumerate(steps):
        has_come = step.effect(app) if step.effect is not None else lambda: True
        if step.name:
            assert not has_come(), f"{step.name}: it was so before {step.key} was pressed\n{seen(app)}"
            for bar in app.in_front(NoticeBar):
                bar.dismiss()
        if step.key.startswith("#"):
            app.screen.set_focus(app.screen.query_one(step.key))
        else:
            await pilot.press(step.key)
        try:
            await until(pilot, has_come)
        except pytest.fail.Exception as failure:
            raise AssertionError(f"step {number}: {step.name or 'the way'}, {step.key}: {failure}") from None


@pytest.mark.parametrize("tour", TOURS)
async def test_every_key_does_what_it_says(home: Home, tour: str) -> None:
    async with console(home) as pilot:
        await walk(pilot, TOURS[tour])


async def test_escape_leaves_a_run_that_was_opened(home: Home) -> None:
    async with console(home) as pilot:
        source = OpenedRun(home.runs / WORSE / "attempt-1", now=lambda: NOW)
        pilot.app.push_screen(OpenedScreen(source))
        await until_seen(pilot, "read only", "val 0.")
        await walk(pilot, [Step("view.close", "escape", hides("read only"))])


async def test_the_mouse_moves_ticks_reads_zooms_and_scrolls(home: Home) -> None:
    async with console(home) as pilot:
        app = pilot.app
        assert isinstance(app, UpsConsole)
        assert isinstance(app.operations, KeyOperations)

        async def click(where: str, x: int, y: int, effect: Effect, times: int = 1) -> None:
            has_come = effect(app)
            assert not has_come()
            await pilot.click(where, offset=(x, y), times=times)
            await until(pilot, has_come)

        async def wheel(where: str, turn: type[events.MouseEvent], effect: Effect) -> None:
            has_come = effect(app)
            await pilot._post_mouse_events([turn], where, offset=(8, 3))
            await until(pilot, has_come)

        await click("#tasks", 4, 3, grows(ticked))  # its box
        await click("#tasks", 20, 3, falls(ticked))  # the row, which the cursor is on
        assert not app.operations.launched, "who ticks does not launch"
        await click("#configs", 8, 2, becomes(lambda _: app.screen.query_one("#configs", Table).cursor, 1))
        await wheel("#configs", events.MouseScrollDown, becomes(cursor, 3))
        await wheel("#configs", events.MouseScrollUp, becomes(cursor, 1))
        top_line = seen(app).splitlines()[0]
        await click("TopBar", top_line.index("3 Fleet") + 3, 0, is_on("Fleet"))
        await walk(pilot, way("2", effect=shows("epoch 3  55 %")))
        await click("CurvePanel", 30, 5, changes(lambda app: charts(app).view.cross))
        await wheel("CurvePanel", events.MouseScrollUp, shows("0 shows all"))
        await click("CurvePanel", 30, 5, shows("chart 1 of 2"), times=2)
        await click("CurvePanel", 30, 5, hides("chart 1 of 2"), times=2)
        await wheel("#log", events.MouseScrollUp, becomes(follows, value=False))
        await wheel("#log", events.MouseScrollDown, becomes(follows, value=True))
        await walk(pilot, way("5", effect=shows(f"report of {RUNNING}")))
        header = seen(app).splitlines()[2]
        await click("#runs", header.index("run ") + 1, 1, shows("run ▲"))
        await click("#runs", 5, 3, changes(cursor))
        chosen = sorted_table(app).cursor_key
        await click("#runs", 5, 3, shows(f"· {chosen} ·"))  # once more opens it


@pytest.mark.parametrize(("name", "key"), LEAVES)
async def test_it_is_left(home: Home, name: str, key: str) -> None:
    async with console(home) as pilot:
        await pilot.press(key)
        await until(pilot, lambda: not pilot.app.is_running or pilot.app._exit)


def test_no_binding_is_without_a_test() -> None:
    pressed = {(step.name, step.key) for steps in TOURS.values() for step in steps if step.name}
    pressed |= {("view.close", "escape"), *LEAVES, *ELSEWHERE}
    declared = {(bound.name, key) for bound in all_bindings() for key in bound.keys}
    assert declared - pressed == set(), "add a step for each"
    assert pressed - declared == set(), "these are bindings no more"
    assert all((Path(__file__).parents[2] / path).exists() for path in ELSEWHERE.values())
