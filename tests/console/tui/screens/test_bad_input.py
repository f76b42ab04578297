"""What a damaged or hostile run does to Live and History: it is shown as far as it goes, and never obeyed."""

import json

import pytest

from console.home import Home
from console.operations import Operations
from console.tui.app import UpsConsole
from console.tui.widgets.charts import Charts
from tests.console.tui.conftest import record_run, seen, until, until_seen
from ups.events import EventType, EventWriter

SIZE = (120, 40)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eevil\u2066\u200b\r\x9b31m"


def console(home: Home) -> UpsConsole:
    return UpsConsole(Operations(home))


def line(seq: int, **fields: object) -> bytes:
    return json.dumps({"seq": seq, "t": 1e9 + seq, "type": "metric", "stage": "operator", "epoch": 0,
                       "task": "advection1d", "split": "train", **fields}).encode() + b"\n"  # fmt: skip


async def test_a_torn_event_file_is_shown_up_to_the_tear_and_goes_on_behind_it(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    with directory.events_path.open("ab") as file:
        file.write(b'{"seq": 900, "t": 1.0, "type": "met\n\x00\x00\x00\xff\xfe\n[1, 2]\nnull\n\n')
        file.write(line(901, step=500, values={"loss": 0.0123}))
        file.write(b'{"seq": 902, "t": 1.0, "type": "done", "sta')
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        screen = await until_seen(pilot, "advection1d", "val 0.", "┬400")
        assert "Traceback" not in screen
        assert "succeeded" not in screen
        await pilot.press("5")
        await until_seen(pilot, "1124-aaaa", "local_2task")


async def test_a_gigantic_event_neither_stops_nor_fills_the_screen(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.WARNING, code="x", message="m" * 20_000_000, hint="")
        writer.write(EventType.METRIC, stage="operator", epoch=0, step=500, task="advection1d", split="train",
                     values={"loss": 0.0123})  # fmt: skip
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "val 0.", "┬400")
        await pilot.press("5")
        await until_seen(pilot, "1124-aaaa", "local_2task")


async def test_values_without_end_are_gaps_and_the_axes_stay_readable(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    with directory.events_path.open("ab") as file:
        for seq, value in enumerate(("NaN", "Infinity", "-Infinity", "1e999", '"much"', "[1]"), 900):
            file.write(line(seq, step=seq, values={"loss": 0.5}).replace(b"0.5", value.encode()))
        file.write(line(950, step=1000, values={"loss": 0.0123}))
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "val 0.", "┬500")
        for key in ("l", "s", "left", "plus", "0", "o", "o"):
            await pilot.press(key)
        await until(pilot, lambda: app.screen.query_one(Charts).view.window.width is None)
        assert "inf" not in seen(app).lower().replace("info", "")


async def test_steps_that_go_backwards_are_drawn_in_order(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    with directory.events_path.open("ab") as file:
        for seq, step in enumerate((500, 400, 20, -7, 600, 0), 900):
            file.write(line(seq, step=step, values={"loss": 0.3}))
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "val 0.")
        charts = app.screen.query_one(Charts)
        await until(pilot, lambda: len(charts.grid.panels) == 2)
        series = charts.grid.panels["advection1d"].curves.train
        assert series is not None
        assert (series.x[1:] >= series.x[:-1]).all()


@pytest.mark.parametrize("size", [(20, 5), (120, 40)])
async def test_names_on_history_are_shown_and_never_obeyed(home: Home, size: tuple[int, int]) -> None:
    directory = record_run(home, "1124-aaaa", done="failed", report=True)
    spec = directory.spec_path.read_text()
    directory.spec_path.write_text(spec.replace("name: local_2task", f"name: {json.dumps(HOSTILE)}", 1))
    tasks = {HOSTILE: {"one_step": float("nan"), "skill": True}, "darcy2d": {"one_step": "much"}}
    report = {"splits": {"test": {"tasks": tasks}}, "gates": {"verdict": HOSTILE}}
    directory.report_path.write_text(json.dumps(report))
    directory.log_path.write_text(f"{HOSTILE} in the log\n")
    app = console(home)
    async with app.run_test(size=size) as pilot:
        await pilot.press("5")
        await until_seen(pilot, *(("1124-aaaa", "evil") if size[0] > 60 else ("needs",)))
        for key in ("w", "escape", "2"):
            await pilot.pause(0.1)
            screen = seen(app)
            assert not set("\x1b\x07\x9b\u202e\u2066\r") & set(screen)
            await pilot.press(key)
        if size[0] > 60:
            await until_seen(pilot, "in the log")
        assert not set("\x1b\x07\x9b\u202e\u2066\r") & set(seen(app))
