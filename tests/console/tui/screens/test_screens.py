"""Whole screens over a temporary home: what a person sees, and what their keys do."""

import asyncio
import time
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from console.api import FleetState, Money, RunStatus, Transition
from console.errors import TeardownNotVerifiedError
from console.fleet.model import InstanceKind, InstanceState
from console.home import Home
from console.operations import Operations
from console.runs.sweep import SweepMark, write_mark
from console.tui.app import UpsConsole
from console.tui.messages import ConfigsRead, DataRead, FleetRead, RunChanged, RunsRead
from console.tui.screens.launch import LaunchScreen
from console.tui.screens.live import LiveScreen
from console.tui.widgets.foot import TeardownBar
from console.tui.widgets.top import TopBar
from tests.console.recorded import CONFIGS, record
from tests.console.tui.conftest import (
    FakeOperations,
    cells,
    instance,
    record_epoch,
    record_run,
    seen,
    until,
    until_seen,
)
from ups.config import load_train_config
from ups.config_patch import patched
from ups.errors import StoreError
from ups.events import EventType, EventWriter
from ups.tasks import TASK_SPECS

SIZE = (120, 40)


def console(home: Home) -> UpsConsole:
    return UpsConsole(Operations(home))


# --- launch -----------------------------------------------------------------------------------


async def test_an_empty_store_offers_to_make_reference_data(home: Home) -> None:
    async with console(home).run_test(size=SIZE) as pilot:
        screen = await until_seen(
            pilot, "The store is empty", "m makes reference data for advection1d, darcy2d"
        )
        assert "[x] advection1d" in screen
        assert "[x] darcy2d" in screen
        assert "▸ local_2task" in screen
        await until_seen(pilot, "2 to mend first")
        await pilot.press("enter")
        await until_seen(pilot, "something must be mended first")


async def test_what_cannot_be_launched_yet_is_not_offered_and_enter_says_what_to_do(home: Home) -> None:
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(pilot, "2 to mend first")
        await until(pilot, lambda: cells(app)[-1].startswith(" m make data"))
        await pilot.press("enter")
        await until_seen(pilot, "something must be mended first", "m makes the data")


async def test_making_data_shows_progress_and_then_what_is_there(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = Operations(home)
    asked: list[list[str]] = []
    hold = asyncio.Event()

    def make(tasks: list[str], **options: object) -> None:
        asked.append(list(tasks))
        progress = options["progress"]
        assert callable(progress)
        while not hold.is_set():
            progress("darcy2d", 512, 1024)
            time.sleep(0.05)

    monkeypatch.setattr(operations, "make_data", make)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await until_seen(pilot, "m makes reference data for")
        await pilot.press("m")
        await until_seen(pilot, "making reference data darcy2d", "512/1,024", "━━")
        await pilot.press("4")
        await until_seen(pilot, "datasets", "512/1,024")
        await pilot.press("q")
        await until_seen(pilot, "stops when you leave")
        hold.set()
        await until_seen(pilot, "reference data made")
        assert asked == [["advection1d", "darcy2d"]]


async def test_choosing_other_tasks_checks_them_instead(home: Home) -> None:
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(pilot, "no dataset of darcy2d")
        await pilot.press("tab", *["down"] * list(TASK_SPECS).index("darcy2d"), "space")
        await until(pilot, lambda: "no dataset of darcy2d" not in seen(app) and "checking" not in seen(app))
        assert "no dataset of advection1d" in seen(app)


async def test_a_failing_operation_is_one_notice_with_its_hint(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = Operations(home)

    def fail(*_: object) -> None:
        raise StoreError("the bucket refuses the key", hint="check B2_APP_KEY")

    monkeypatch.setattr(operations, "datasets", fail)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        screen = await until_seen(pilot, "the bucket refuses the key", "check B2_APP_KEY")
        assert "Traceback" not in screen


async def test_a_defect_is_a_notice_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(home)
    monkeypatch.setattr(operations, "markets", lambda _: 1 / 0)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await until_seen(pilot, "asking for offers: ZeroDivisionError")


# --- live -------------------------------------------------------------------------------------


async def test_without_a_run_live_says_how_to_start_one(home: Home) -> None:
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "No run yet", "1 Launch")


async def test_a_recorded_run_is_shown_with_curves_rollout_and_log(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        screen = await until_seen(
            pilot, "local_2task · 1124-aaaa · succeeded", "advection1d", "val 0.0", "|error|"
        )
        assert "✓ hydrate" in screen
        assert "✓ train" in screen
        assert "train loss  ╍ val nRMSE" in screen
        assert "copy 0.120" in screen
        assert "copy 1.00" in screen
        assert "epoch 39 went well" in screen
        assert "cpu" in screen
        await pilot.press("r")
        await until_seen(pilot, "● advection1d  step 270")


async def test_keys_change_how_the_curves_are_drawn(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "darcy2d  log", "val 0.0")
        await pilot.press("l")
        await until(pilot, lambda: "darcy2d  linear" in seen(app))
        await pilot.press("o")
        await until_seen(pilot, "all tasks", "advection1d 0.")
        await pilot.press("o")
        await until(pilot, lambda: "all tasks" not in seen(app))
        await pilot.press("z")
        await until(pilot, lambda: "epoch 39 went well" not in seen(app))
        await pilot.press("z")
        await until_seen(pilot, "epoch 39 went well")


async def test_the_focused_pane_fills_the_screen(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "|error|", "val 0.0")
        app.screen.query_one("#log").focus()
        await pilot.press("z")
        await until_seen(pilot, "epoch 10 went well")
        assert "val 0.0" not in seen(app)


async def test_an_error_is_one_key_from_its_place_in_the_log(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", done="failed")
    told = "darcy2d: the loss is no number"
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.WARNING, code="plateau", message="advection1d has levelled off", hint="")
        writer.write(EventType.ERROR, code="diverged", message=told, hint="a smaller learning rate may do")
    lines = [f"10:0{n // 60}:{n % 60:02d}  step {n}" for n in range(300)]
    lines[120] = f"10:02:00  error: {told}"
    directory.log_path.write_text("\n".join(lines) + "\n")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, f"✗ {told}", "e what went wrong", "step 299")
        await pilot.press("e")
        await until_seen(pilot, "▸10:02:00  error: darcy2d", "a smaller learning rate may do")
        await pilot.press("f")
        await until_seen(pilot, "step 299", "following")


async def test_without_trouble_there_is_no_key_for_it(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "z zoom", "darcy2d  log")
        assert "went wrong" not in seen(app)
        await pilot.press("e")
        await until_seen(pilot, "nothing went wrong")


async def test_new_events_arrive_while_one_looks(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", epochs=1)
    app = UpsConsole(FakeOperations(home, rows=[instance()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "· running ·", "on cpu", "$0.11 so far", "epoch 1")
        with EventWriter(directory.events_path) as writer:
            record_epoch(writer, directory.root, 1)
        await until_seen(pilot, "operator epoch 2", "last event now")
        app.operations.ended = True  # type: ignore[attr-defined]


async def test_other_runs_are_one_key_away(home: Home) -> None:
    record_run(home, "1123-bbbb", done="succeeded", age_s=9000)
    record_run(home, "1124-aaaa", done="stopped", age_s=100)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        first = await until_seen(pilot, "run 1 of 2", "val 0.0")
        await pilot.press("right_square_bracket")
        await until_seen(pilot, "no further run")
        await pilot.press("left_square_bracket")
        second = await until_seen(pilot, "run 2 of 2")
        assert ("1124-aaaa" in first) != ("1124-aaaa" in second)


# --- teardown ---------------------------------------------------------------------------------


async def on_live(pilot: Pilot[None]) -> UpsConsole:
    app = pilot.app
    assert isinstance(app, UpsConsole)
    await pilot.press("2")
    await until_seen(pilot, "· running ·", "on cpu")
    return app


def fake(home: Home, **changes: object) -> FakeOperations:
    record_run(home, "1124-aaaa", epochs=1)
    operations = FakeOperations(home, rows=[instance()])
    for name, value in changes.items():
        setattr(operations, name, value)
    return operations


async def test_a_teardown_can_be_taken_back(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        app = await on_live(pilot)
        app.teardowns.now = lambda: 0.0  # a slow machine must not tear down before it has painted
        await pilot.press("x")
        await until_seen(pilot, "tearing down 1124-aaaa in 5 s", "u takes it back")
        await pilot.press("q")
        await until_seen(pilot, "is not torn down yet")
        await pilot.press("u")
        await until_seen(pilot, "1124-aaaa stays")
        assert not app.teardowns.busy
        operations.ended = True
    assert operations.torn_down == []


async def test_a_teardown_is_shown_step_by_step_on_every_screen(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        app = await on_live(pilot)
        app.teardowns.window_s = 0.3
        await pilot.press("x")
        await until_seen(pilot, "synced 58 MB", "destroy sent", "✓ 1124-aaaa is gone: seen twice")
        await pilot.press("3")
        await until_seen(pilot, "instances", "✓ 1124-aaaa is gone")
    assert operations.torn_down == ["1124-aaaa"]


async def test_a_teardown_that_is_not_verified_is_never_called_done(home: Home) -> None:
    error = TeardownNotVerifiedError("vast still lists 18342", hint="look at vast.ai")
    operations = fake(home, teardown_error=error)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        app = await on_live(pilot)
        app.teardowns.window_s = 0.0
        await pilot.press("x")
        screen = await until_seen(pilot, "✗", "NOT verified: vast still lists 18342 look at vast.ai")
        assert "is gone" not in screen
        operations.ended = True


async def test_a_run_whose_instance_is_gone_has_nothing_to_tear_down(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "1124-aaaa · succeeded", "val 0.0")
        await pilot.pause(0.3)
        await pilot.press("x")
        await until_seen(pilot, "no instance of 1124-aaaa lives any more")


# --- fleet ------------------------------------------------------------------------------------


async def test_the_fleet_tells_ours_orphans_and_others_apart(home: Home) -> None:
    rows = [
        instance(),
        instance(None, instance="18290", label="ups-me-o-1", kind=InstanceKind.ORPHAN, usd=2.86),
        instance(None, instance="17702", label="theirs", kind=InstanceKind.FOREIGN),
        instance("1123-bbbb", instance="18111", label="ups-me-d-1", state=InstanceState.DESTROYED),
    ]
    operations = fake(home, rows=rows, money_shown=Money(0.60, 3.31, 25.0, 2, 1))
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await pilot.press("3")
        screen = await until_seen(pilot, "● vast-18342", "▲ 18290", "○ 17702", "✓ 18111", "▲ 1 orphan")
        assert "orphan: x ends it" in screen
        assert "not ours, left alone" in screen
        assert "▲ 1 orphan" in screen.splitlines()[0]
        assert "$0.60/h  today $3.31 of $25" in screen.splitlines()[0]
        await until_seen(pilot, "history of 18290", "nobody here waits for it: x ends it")
        await pilot.press("down")
        await until_seen(
            pilot, "history of vast-18342", "intended → requested", "ends by itself when its run is over"
        )
        await pilot.press("down", "x")
        await until_seen(pilot, "somebody else's: it is never touched")
        await pilot.press("down", "x")
        await until_seen(pilot, "it is destroyed already")


async def test_all_go_only_after_the_typed_word(home: Home) -> None:
    operations = fake(home)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await until_seen(pilot, "vast-18342")
        await pilot.press("X")
        await until_seen(pilot, "tears down 1 instance, $0.29/h", "type destroy")
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: "type destroy" not in seen(pilot.app))
        assert "tearing down" not in seen(pilot.app)
        await pilot.press("X")
        await until_seen(pilot, "type destroy")
        await pilot.press(*"destroy", "enter")
        await until_seen(pilot, "tearing down vast-18342")
        await pilot.press("u")
    assert operations.torn_down == []


# --- data and history -------------------------------------------------------------------------


async def test_data_shows_every_task_and_the_details_of_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = "compressible_ns3d"
    monkeypatch.setitem(TASK_SPECS, last, replace(TASK_SPECS[last], has_solver=False))
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("4")
        screen = await until_seen(pilot, "particles_advect", "Advection, 1-D", "m makes reference data")
        assert screen.count("m makes it") == sum(spec.has_solver for spec in TASK_SPECS.values())
        await pilot.press("v")
        await until_seen(pilot, "there is nothing to verify")
        await pilot.press("end", "m")
        await until_seen(pilot, f"no built-in solver makes {last}", "data import")


async def test_history_shows_what_was_learned_and_opens_it(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded", report=True)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        screen = await until_seen(
            pilot, "1124-aaaa", "0.0183", "no skill", "succeeded", "report of 1124-aaaa"
        )
        assert "advection" in screen
        await until_seen(pilot, "nRMSE, test", "1.20")
        await pilot.press("enter")
        await until_seen(pilot, "local_2task · 1124-aaaa · succeeded", "val 0.0")


async def test_g_writes_the_config_that_comes_next(home: Home) -> None:
    name = "train_pdebench_4task_curriculum"
    record(home, "1124-aaaa", name, 0.12)
    async with console(home).run_test(size=(140, 40)) as pilot:
        await pilot.press("5")
        await until_seen(
            pilot, "reweight → same, changed", "burgers1d is at 0.12, not below 0.1", "g next config"
        )
        await pilot.press("g")
        await until_seen(pilot, "the next config is written, 1 launches it")
        assert (home.configs / f"{name}-reweight.yaml").exists()
        await pilot.press("1")
        await until_seen(pilot, "4task_curriculum-rew")


async def test_capital_r_writes_the_report_into_the_run_and_says_where(home: Home) -> None:
    directory = record_run(home, "1124-aaaa", done=RunStatus.SUCCEEDED, report=True)
    async with console(home).run_test(size=(200, 40)) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "report of 1124-aaaa", "R report")
        await pilot.press("R")
        await until_seen(pilot, "the report of 1124-aaaa is written")
    assert "<svg" in (directory.root / "report.html").read_text()


async def test_g_says_why_there_is_no_next_config(home: Home) -> None:
    record(home, "1124-aaaa", "train_pdebench_2task_baseline", 0.12)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "report of 1124-aaaa")
        await pilot.press("g")
        await until_seen(pilot, "name no next config: review")


async def test_a_run_without_a_report_says_so(home: Home) -> None:
    record_run(home, "1124-aaaa", done=RunStatus.FAILED)
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_seen(pilot, "failed, without an evaluation", "C goes on from its last checkpoint")


# --- the app ----------------------------------------------------------------------------------


async def test_help_lists_the_keys_of_the_screen_in_front(home: Home) -> None:
    async with console(home).run_test(size=SIZE) as pilot:
        await until_seen(pilot, "before paying")
        await pilot.press("question_mark")
        screen = await until_seen(pilot, "keys", "on Launch")
        assert "Make data" in screen
        assert "in a list to tick" in screen
        await pilot.press("escape", "2")
        await until_seen(pilot, "No run yet")
        await pilot.press("question_mark")
        screen = await until_seen(pilot, "on Live")
        assert "Teardown" in screen
        assert "Log-y" in screen
        await pilot.press("escape", "3")
        await until_seen(pilot, "instances")


@pytest.mark.parametrize("name", ["1", "2", "3", "4", "5"])
@pytest.mark.parametrize("size", [(60, 16), (80, 24), (200, 60)])
async def test_every_screen_fits(home: Home, name: str, size: tuple[int, int]) -> None:
    record_run(home, "1124-aaaa", done="succeeded", report=True)
    app = console(home)
    async with app.run_test(size=size) as pilot:
        await pilot.press(name)
        await until(pilot, lambda: " ups " in seen(app) and "q quit" in seen(app))
        await pilot.pause(0.3)
        lines = cells(app)
        assert len(lines) == size[1]
        assert all(len(line) <= size[0] for line in lines)
        assert "? help" in lines[-1]
        assert lines[0].startswith(" ups ")


async def test_a_terminal_too_small_says_so_and_recovers(home: Home) -> None:
    record_run(home, "1124-aaaa", done="succeeded")
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "val 0.0")
        await pilot.resize_terminal(50, 12)
        await until_seen(pilot, "needs 60×16; here are 50×12")
        assert "val" not in seen(app)
        await pilot.resize_terminal(*SIZE)
        await until_seen(pilot, "val 0.0", "q quit")


async def test_leaving_with_something_running_says_what_goes_on(home: Home) -> None:
    operations = fake(home)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(pilot, "● 1 running")
        assert app._parting_words() is not None
        assert "1 instance goes on at $0.29/h" in (app._parting_words() or "")
        operations.ended = True
        await pilot.press("q")
    assert app.return_code == 0


async def test_the_top_line_says_when_its_figures_are_old(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = fake(home)
    app = UpsConsole(operations)
    async with app.run_test(size=SIZE) as pilot:
        await until_seen(pilot, "● 1 running")

        def fail() -> Money:
            raise StoreError("the ledger is locked")

        monkeypatch.setattr(operations, "money", fail)
        app.read_money()
        await until_seen(pilot, "as of ", "the ledger is locked")
        assert app.screen.query_one(TopBar).money is not None
        operations.ended = True


async def test_opening_settles_what_other_consoles_left_undone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = fake(home, rows=[])

    def reconcile() -> list[Transition]:
        operations.rows = [instance(state=InstanceState.DESTROYED)]
        return operations.transitions("ups-me-1124-aaaa-9")

    monkeypatch.setattr(operations, "reconcile", reconcile)
    async with UpsConsole(operations).run_test(size=SIZE) as pilot:
        await pilot.press("3")
        await until_seen(pilot, "✓ vast-18342", "destroyed")
        operations.ended = True


def test_binding_ids_are_unique_and_stable() -> None:
    ids = [binding.id for binding in LiveScreen.BINDINGS]  # type: ignore[union-attr]
    assert ids == [
        "live.teardown", "live.trouble", "live.zoom", "live.magnify", "live.shrink", "live.all", "live.left",
        "live.right",
        "live.axis", "live.log_y", "live.smooth", "live.overlay", "live.beside", "live.machine",
        "live.rollout", "live.older", "live.newer",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["launch", "live", "fleet", "data", "history"])
async def test_a_result_that_comes_when_the_console_is_left_breaks_nothing(home: Home, name: str) -> None:
    app = UpsConsole(FakeOperations(home))
    async with app.run_test():
        await app.action_show(name)
        screen = app.screen
    for message in (
        ConfigsRead([]), DataRead([]), RunsRead([]), FleetRead(FleetState((), (), (), time.time())),
    ):  # fmt: skip
        await screen._on_message(message)  # as its queue does when it is emptied at the end


async def test_widgets_of_a_screen_behind_go_in_any_order_when_the_console_is_left(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_run(home, "1124-aaaa")
    operations = FakeOperations(home, rows=[instance()])
    app = UpsConsole(operations)
    leave = app._close_all
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("2")
        await until_seen(pilot, "advection1d", "nRMSE")
        live = app.screen
        await pilot.press("3")

        async def leave_from_the_headline() -> None:
            await live.query_one("#headline")._close_messages()
            await live._on_message(RunChanged("1124-aaaa"))
            await leave()

        monkeypatch.setattr(app, "_close_all", leave_from_the_headline)
        operations.ended = True


async def test_a_timer_that_fires_when_the_console_is_left_breaks_nothing(home: Home) -> None:
    app = UpsConsole(FakeOperations(home))
    async with app.run_test():
        await app.action_show("launch")
        screen = app.screen
    assert isinstance(screen, LaunchScreen)
    assert not screen.is_whole
    screen._check()


async def test_the_runs_of_a_sweep_stand_beside_the_one_that_is_shown(home: Home) -> None:
    for number, rate in enumerate((0.001, 0.002), start=1):
        record(home, f"1124-aaa{number}", "local_2task", 0.05, curve=(0.5, 0.4),
               config=patched(load_train_config(CONFIGS / "local_2task.yaml"),
                              {"stages.operator.optimizer.lr": rate}))  # fmt: skip
        handle = Operations(home).registry.find(f"1124-aaa{number}")
        write_mark(handle, SweepMark("s1124-beef", number, 2))
    async with console(home).run_test(size=SIZE) as pilot:
        await pilot.press("2")
        screen = await until_seen(pilot, "sweep s1124-beef", "1124-aaa1 succeeded", "lr 0.002", "0.400")
        first, *_, last = screen.splitlines()
        assert first.startswith(" ups  1 Launch")  # nothing lies over the top line, nor over the keys
        assert "╭" not in first
        assert "╰" not in last
        assert "╰ [ ] another run" in screen
        pilot.app.screen.query_one(TeardownBar).show([[("one", "text")], [("two", "text")]])
        await until(pilot, lambda: [line[:4] for line in cells(pilot.app)[-3:-1]] == ["▌one", "▌two"])
        shown = "1124-aaa1" if "▸ 1124-aaa1" in screen else "1124-aaa2"
        other = "1124-aaa2" if shown == "1124-aaa1" else "1124-aaa1"
        await pilot.click("#strip", offset=(5, 1 if other == "1124-aaa1" else 4))
        await until_seen(pilot, f"▸ {other}", f"· {other} ·")
