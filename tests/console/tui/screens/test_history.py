"""History: sort, filter, why, compare, replay; and a path that is opened."""

import math
import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.home import Home
from console.operations import Operations
from console.runs.opened import OpenedRun
from console.tui.app import UpsConsole
from console.tui.screens.replay import ReplayScreen
from console.tui.screens.view import OpenedScreen
from console.tui.widgets.compared_chart import ComparedChart
from console.tui.widgets.sorted_table import SortedTable
from tests.console.recorded import CONFIGS, record
from tests.console.tui.conftest import record_epoch, record_run, seen, until, until_seen
from ups.config import load_train_config
from ups.config_patch import patched
from ups.events import EventWriter, encode

SIZE = (120, 40)


def console(home: Home) -> UpsConsole:
    return UpsConsole(Operations(home))


def recorded_pair(home: Home) -> None:
    """Two runs of a config that differ in their learning rate."""
    for number, rate, reached in ((1, 0.001, 0.05), (2, 0.002, 0.04)):
        config = patched(load_train_config(CONFIGS / "local_2task.yaml"),
                         {"stages.operator.optimizer.lr": rate})  # fmt: skip
        record(home, f"1124-aaa{number}", "local_2task", reached, curve=(0.5, 0.4 / number), config=config)


def order(pilot: Pilot[None]) -> list[str]:
    return [row.key for row in pilot.app.screen.query_one(SortedTable).items]


async def test_runs_sort_by_any_column_and_the_header_says_which(home: Home) -> None:
    record(home, "1124-bbbb", "local_2task", 0.03)
    record(home, "1124-aaaa", "local_2task", 0.05)
    record_run(home, "1124-cccc", done="failed", age_s=9000)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "when ▼", "1124-cccc")
        await pilot.press("s")
        await until_seen(pilot, "run ▲")
        assert order(pilot) == ["1124-aaaa", "1124-bbbb", "1124-cccc"]
        await pilot.press("S")
        await until_seen(pilot, "run ▼")
        assert order(pilot) == ["1124-cccc", "1124-bbbb", "1124-aaaa"]
        header = seen(pilot.app).splitlines()[2]
        await pilot.click(SortedTable, offset=(header.index("mean") + 1, 1))
        await until_seen(pilot, "mean ▲")
        assert order(pilot) == ["1124-bbbb", "1124-aaaa", "1124-cccc"], "a run without a mean stands last"
        await pilot.click(SortedTable, offset=(header.index("mean") + 1, 1))
        await until_seen(pilot, "mean ▼")
        assert order(pilot) == ["1124-aaaa", "1124-bbbb", "1124-cccc"], "whichever way one sorts"


async def test_typing_filters_and_letters_are_no_keys_then(home: Home) -> None:
    record(home, "1124-aaaa", "local_2task", 0.05)
    record_run(home, "1123-gggg", done="failed", age_s=9000)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "1124-aaaa", "1123-gggg")
        await pilot.press("slash", *"gg")
        await until_seen(pilot, "/gg▏", "1 of 2")
        assert order(pilot) == ["1123-gggg"]
        await pilot.press("backspace", "backspace", *"succ", "enter")
        assert order(pilot) == ["1124-aaaa"]
        await pilot.press("slash", *" none")
        await until_seen(pilot, "no run matches")
        await pilot.press("escape")
        await until_seen(pilot, "1124-aaaa", "1123-gggg")


async def test_why_names_the_task_that_was_not_learned(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded", report=True)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "report of 1124-aaaa", "review, darcy: no skill", "1.20")
        await pilot.press("w")
        await until_seen(pilot, "why 1124-aaaa", "darcy2d: no skill", "6.6 times better than copying")


async def test_marked_runs_are_compared(home: Home) -> None:
    recorded_pair(home)
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "1124-aaa1", "1124-aaa2")
        await pilot.press("c")
        await until_seen(pilot, "mark two runs or more")
        await pilot.press("space", "space", "c")
        await until_seen(pilot, "stages.operator.optimizer.lr", "→ 0.002", "★ 0.0400", "validation · log")
        chart = app.screen.query_one(ComparedChart)
        await until(pilot, lambda: len(chart.curves) == 2)
        first = chart.shown
        await until_seen(pilot, f"● {first}", "━ 1124-aaa1 0.400", "╍ 1124-aaa2 0.200")
        await pilot.press("right")
        await until(pilot, lambda: chart.shown != first and f"● {chart.shown}" in seen(app))
        await pilot.press("left", "l")
        await until_seen(pilot, f"● {first}", "validation · linear")
        await pilot.press("v")
        await until_seen(pilot, "training · linear", "no point")
        await pilot.press("escape")
        await until_seen(pilot, "runs", "2 marked")
        await pilot.press("escape")
        await until(pilot, lambda: "marked" not in seen(app))


@pytest.mark.parametrize(("width", "hidden"), [(70, True), (120, True), (300, False)])
async def test_runs_that_do_not_fit_side_by_side_are_counted_and_a_key_away(
    home: Home, width: int, hidden: bool
) -> None:
    for number in range(6):
        config = patched(load_train_config(CONFIGS / "local_2task.yaml"),
                         {"stages.operator.optimizer.lr": 0.001 + number / 1000})  # fmt: skip
        record(home, f"1124-aaa{number}", "local_2task", 0.06 - number / 100, config=config)
    app = console(home)
    async with app.run_test(size=(width, 40)) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "1124-aaa0", "1124-aaa5")
        await pilot.press(*["space"] * 6, "c")
        await until_seen(pilot, "0.001", "→ 0.002", "mean")
        if not hidden:
            await until_seen(pilot, "→ 0.006", "★ 0.0100")
            assert "more run" not in seen(app)
            return
        assert "→ 0.006" not in seen(app)
        await until_seen(pilot, "<> other runs", "more runs")
        await pilot.press(*["greater_than_sign"] * 7)  # not beyond the last one
        await until_seen(pilot, "→ 0.006", "★ 0.0100", "1124-aaa0")
        await pilot.press("less_than_sign")
        await until_seen(pilot, "→ 0.005")


async def test_keys_that_a_replay_has_put_away_are_not_in_its_help(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "report of 1124-aaaa")
        await pilot.press("P")
        await until_seen(pilot, "REPLAY 60×")
        await pilot.press("question_mark")
        page = await until_seen(pilot, "on Replay", "Faster")
        assert "Teardown" not in page
        assert "Older run" not in page


async def test_a_finished_run_is_played_again(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "report of 1124-aaaa")
        await pilot.press("P")
        await until_seen(pilot, "REPLAY 60×", "local_2task · 1124-aaaa")
        screen = app.screen
        assert isinstance(screen, ReplayScreen)
        clock = screen.replay.clock
        await pilot.press("space")
        await until_seen(pilot, "paused")
        assert "teardown" not in seen(app)
        await pilot.press("plus")
        await until_seen(pilot, "REPLAY 600×")
        await pilot.press("minus", "minus")
        await until_seen(pilot, "REPLAY 10×")
        await pilot.press("home")
        assert clock.share == 0.0
        await pilot.press("right", "right")
        assert math.isclose(clock.share, 0.1)
        await until_seen(pilot, "10 %" if "10 %" in seen(app) else "10%")
        await pilot.press("left")
        assert math.isclose(clock.share, 0.05)
        await pilot.press("x")
        assert not app.teardowns.waiting
        await pilot.press("space", "m")
        await until_seen(pilot, "REPLAY max 100%", "succeeded", "val 0.0")
        await pilot.press("escape")
        await until_seen(pilot, "report of 1124-aaaa")


async def test_a_path_is_shown_and_followed_without_a_home(home: Home, tmp_path: Path) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    sent = tmp_path / "sent"
    shutil.copytree(directory.root, sent)
    (sent / "run.yaml").unlink()
    nowhere = Home(tmp_path / "nowhere")
    app = UpsConsole(Operations(nowhere), first=lambda: OpenedScreen(OpenedRun(sent)))
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(
            pilot, "local_2task · sent", "read only", "val 0.198", "|error|", "epoch 39 went well"
        )
        await pilot.press("x")
        assert not app.teardowns.waiting
        with EventWriter(sent / "events.jsonl") as writer:
            record_epoch(writer, sent, 1)
        await until_seen(pilot, "operator epoch 2")
    assert not nowhere.root.exists()


async def test_tasks_may_have_any_name(home: Home, tmp_path: Path) -> None:
    names = ["loss/train é", "a\u202eb", "2 b\x1b[31m"]
    lines = [encode(seq, 1e9 + seq, "metric", {"step": seq, "task": names[seq % 3], "values": {"loss": 0.5}})
             for seq in range(30)]  # fmt: skip
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines))
    app = UpsConsole(Operations(home), first=lambda: OpenedScreen(OpenedRun(tmp_path)))
    async with app.run_test(size=SIZE) as pilot:
        screen = await until_seen(pilot, "loss/train é", "0.500")
        assert "\x1b" not in screen
        assert "\u202e" not in screen
