"""The charts of Live: what each of their keys does, with many tasks, bad input and other runs."""

import re
from collections.abc import Sequence

import pytest
from textual import events
from textual.pilot import Pilot

from console.home import Home
from console.operations import Operations
from console.tui.app import UpsConsole
from console.tui.widgets.charts import Charts
from tests.console.tui.conftest import FakeOperations, cells, instance, record_run, seen, until, until_seen
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory

SIZE = (120, 40)


def add(directory: RunDirectory, tasks: Sequence[str], losses: Sequence[float | None], **val: float) -> None:
    """Announce other tasks, with a loss for each step and one validation."""
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.RUN, name="local_2task", tasks=list(tasks), stages=["operator"], device="cpu")
        for step, loss in enumerate(losses, 1):
            for task in tasks:
                writer.write(EventType.METRIC, stage="operator", epoch=0, step=step, task=task, split="train",
                             values={"loss": loss})  # fmt: skip
        for epoch in range(2 if val else 0):
            for task in tasks:
                writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=len(losses), task=task,
                             split="val", values=val)  # fmt: skip


async def on_charts(pilot: Pilot[None], *texts: str) -> Charts:
    await pilot.press("2")
    await until_seen(pilot, *(texts or ("darcy2d  log", "val 0.0")))
    return pilot.app.screen.query_one(Charts)


async def test_the_axis_of_all_charts_is_zoomed_and_moved_together(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot)
        await pilot.press("plus")
        await until_seen(pilot, "step 135 – 270 of 270, follows · 0 shows all")
        assert sum("┬200" in line for line in cells(app)) == 1
        assert next(line for line in cells(app) if "┬200" in line).count("┬200") == 2
        await pilot.press("less_than_sign", "shift+left")
        await until_seen(pilot, "step 67.5 – 202")
        assert "follows" not in seen(app)
        await pilot.press("greater_than_sign", "shift+right")
        await until_seen(pilot, "step 135 – 270 of 270, follows")
        await pilot.press("plus", "minus", "minus")
        await until(pilot, lambda: "shows all" not in seen(app))
        await pilot.press("equals_sign", "0")
        await until(pilot, lambda: charts.view.window.width is None and "shows all" not in seen(app))


async def test_the_crosshair_reads_every_chart_at_once(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        await on_charts(pilot)
        await pilot.press("left", "left")
        await until(pilot, lambda: seen(app).count("step 260") == 2)
        legends = [line for line in cells(app) if "ema 0." in line]
        assert legends[0].count("train 0.") == legends[0].count("val 0.") == 2
        await pilot.press("escape")
        await until(pilot, lambda: "ema" not in seen(app))


async def test_the_wheel_zooms_around_the_pointer_and_a_click_places_the_crosshair(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot)
        panel = next(iter(charts.grid.panels.values()))
        await pilot.click(panel, offset=(30, 4))
        await until(pilot, lambda: seen(app).count("step 1") >= 2)
        panel.post_message(panel.Wheeled(0.5, 0.0, 100.0))
        await until_seen(pilot, "step 50 – 185")
        panel.post_message(panel.Wheeled(1.0, 0.1, None))
        await until_seen(pilot, "step 63.5 – 198")


async def test_x_counts_steps_epochs_time_or_dollars(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    operations = FakeOperations(home, rows=[instance()])
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot)
        await pilot.press("left")
        await until_seen(pilot, "step 270")
        await until(pilot, lambda: app.screen.bills != {})  # type: ignore[attr-defined]
        for axis in ("epoch", "time", "dollars"):
            await pilot.press("a")
            await until_seen(pilot, f"by {axis}", f"── {axis}")
            assert charts.view.cross is not None
        await until(pilot, lambda: re.search(r"dollars \$0\.0", seen(app)) is not None)
        await pilot.press("a")
        await until_seen(pilot, "step 270")
        operations.ended = True


async def test_a_run_that_costs_nothing_has_no_dollars_to_count(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    async with UpsConsole(Operations(home)).run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot)
        await pilot.press("a", "a", "a")
        await until_seen(pilot, "no dollars to count")
        assert charts.view.axis == "step"


async def test_the_last_and_the_best_run_are_laid_over_this_one(home: Home) -> None:
    record_run(home, "1122-cccc", done="succeeded", age_s=9000, report=True)
    record_run(home, "1123-bbbb", done="succeeded", age_s=6000)
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=(160, 40)) as pilot:
        await on_charts(pilot)
        app.screen.query_one(Charts)
        app.selected_run = "1124-aaaa"
        app.screen._follow_selected()  # type: ignore[attr-defined]
        await until_seen(pilot, "· 1124-aaaa · succeeded", "val 0.0")
        await pilot.press("c")
        await until_seen(pilot, "over last 1123-bbbb", "━ last 1123-bbbb 0.")
        await pilot.press("c")
        await until_seen(pilot, "over best 1122-cccc")
        await pilot.press("c")
        await until_seen(pilot, "over last 1123-bbbb and best 1122-cccc")
        await pilot.press("a")
        await until_seen(pilot, "by epoch")
        await pilot.press("c")
        await until(pilot, lambda: "over last" not in seen(app))


async def test_a_run_alone_has_none_to_be_laid_over(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    async with UpsConsole(Operations(home)).run_test(size=SIZE) as pilot:
        await on_charts(pilot)
        await pilot.press("c")
        await until_seen(pilot, "no other run of this config")


async def test_five_hundred_tasks_are_paged_and_filtered(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    tasks = [f"task_{n:03}" for n in range(500)]
    add(directory, tasks, [0.5, 0.4])
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        await on_charts(pilot, "page 1 of 84", "task_000")
        await pilot.press("n")
        await until_seen(pilot, "page 2 of 84", "task_006")
        await pilot.press("pagedown", "pageup", "N")
        await until_seen(pilot, "page 1 of 84")
        await pilot.press("slash", *"_4[0-4]7")
        await until_seen(pilot, "/_4[0-4]7", "5 of 500 shown", "task_407", "task_447")
        await pilot.press("backspace", "enter")
        await until_seen(pilot, "50 of 500 shown", "page 1 of 9")
        await pilot.press("z", "n")
        await until_seen(pilot, "chart 2 of 50", "task_401")
        assert "task_400" not in seen(app)
        await pilot.press("z", "slash", "escape")
        await until(pilot, lambda: "500 shown" not in seen(app) and "page 1 of 84" in seen(app))
        await pilot.press("slash", *"nothing(")
        await until_seen(pilot, "0 of 500 shown")
        await pilot.press("enter")
        await until_seen(pilot, "no chart is called /nothing(", "page 1 of 84")
        await pilot.press("slash", *"_499")
        await until_seen(pilot, "1 of 500 shown")  # a filter can be typed again


async def test_a_filter_that_is_typed_in_one_go_presses_no_keys(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot)
        for key, character in (("slash", "/"), ("d", "d"), ("a", "a"), ("r", "r"), ("enter", None)):
            app.post_message(events.Key(key, character))
        await until_seen(pilot, "/dar", "1 of 2 shown")
        assert charts.view.axis == "step"
        assert "advection1d  log" not in seen(app)


async def test_what_is_wrong_with_a_task_stands_in_its_title_and_comes_first(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    add(directory, [f"fine_{n}" for n in range(8)], [0.5] * 3, nrmse=0.1, persistence=1.0)
    add(directory, ["useless"], [0.5] * 3, nrmse=1.4, persistence=1.0)
    add(directory, ["broken"], [0.5, 0.4, None], nrmse=0.2, persistence=1.0)
    everything = [*(f"fine_{n}" for n in range(8)), "useless", "broken"]
    add(directory, everything, [])
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        charts = await on_charts(pilot, "▲ 1 diverged   ▲ 1 worse than copying")
        await until(pilot, lambda: list(charts.grid.panels)[:2] == ["broken", "useless"])
        await until_seen(pilot, "broken ▲ diverged", "useless ▲ no skill")


async def test_the_machine_is_one_key_away_with_all_gpus_in_one_chart(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    with EventWriter(directory.events_path) as writer:
        for n in range(5):
            gpus = [{"util": 91.0, "mem_used": 2e9, "power": 300.0, "temp": 61}, {"util": 42.0 + n}]
            writer.write(EventType.SYSTEM, gpu=gpus, cpu=50.0, ram=35.0, disk_free=4e10, net_recv=3e6)
    app = UpsConsole(Operations(home))
    async with app.run_test(size=SIZE) as pilot:
        await on_charts(pilot, "epoch 39 went well")
        await pilot.press("m")
        screen = await until_seen(
            pilot, "gpu %", "91.0 46.0", "gpu memory GB", "cpu %", "ram %", "network in"
        )
        assert "epoch 39 went well" not in screen
        assert "network out" not in screen
        await pilot.press("m")
        await until_seen(pilot, "epoch 39 went well")


async def test_names_and_values_from_a_hostile_file_are_shown_and_never_obeyed(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    names = ["a\x1b[31mred", "\u202egnp.exe", "x" * 200, "[bold]b[/]", "../../etc", "", "tab\there"]
    add(directory, names, [0.5, -1.0, 0.0, 1e300, None], nrmse=0.1, persistence=-1.0)
    with EventWriter(directory.events_path) as writer:
        for step in (50, 10, -5, 1e18):
            writer.write(EventType.METRIC, stage="operator", epoch=0, step=step, task=names[0], split="train",
                         values={"loss": 0.3})  # fmt: skip
    app = UpsConsole(Operations(home))
    async with app.run_test(size=(200, 60)) as pilot:
        await on_charts(pilot, "a\\x1b[31mred", "\\u202egnp.exe", "[bold]b[/]", "../../etc")
        assert "\x1b" not in seen(app)
        assert "\u202e" not in seen(app)
        for key in ("a", "a", "a", "l", "s", "o", "left", "plus", "o", "z", "z", "0"):
            await pilot.press(key)
        assert app.is_running


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (60, 16), (80, 24), (300, 90)])
async def test_any_terminal_is_drawn_on(home: Home, size: tuple[int, int]) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = UpsConsole(Operations(home))
    async with app.run_test(size=size) as pilot:
        await pilot.press("2")
        await pilot.pause(0.3)
        for key in (
            "left",
            "plus",
            "less_than_sign",
            "a",
            "m",
            "m",
            "z",
            "z",
            "o",
            "o",
            "n",
            "slash",
            "escape",
        ):
            await pilot.press(key)
        await pilot.resize_terminal(*SIZE)
        await until_seen(pilot, "darcy2d")
