"""Widgets in an app of their own, asserted by the cells they leave on the terminal."""

from pathlib import Path

import numpy as np
import pytest
from textual import on
from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from console.api import FollowBatch, RunStatus
from console.tui.curves import Curves
from console.tui.drawing.rollout import read_rollout
from console.tui.live_run import LiveRun
from console.tui.run_curves import RunCurves
from console.tui.series import Series
from console.tui.theme import THEMES, task_variable, variable_defaults
from console.tui.widgets.bars import PhaseBar, PhaseView, SystemBar, data_wait_row, phase_row
from console.tui.widgets.charts import Charts
from console.tui.widgets.curve import CurvePanel
from console.tui.widgets.grid import CurveGrid
from console.tui.widgets.panel import Painter
from console.tui.widgets.rollout import RolloutView
from console.tui.widgets.table import CheckList, Column, Table, TableRow
from tests.console.tui.conftest import cells, seen, until, until_seen, write_rollout
from ups.events import Event
from ups.tasks import TASK_SPECS


class Stage(App[None]):
    """An app that shows one widget and keeps its messages."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.told: list[object] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        if self.widget.can_focus:
            self.widget.focus()

    @on(Table.Moved)
    @on(CheckList.Ticked)
    @on(RolloutView.Wanted)
    def _keep(self, message: object) -> None:
        self.told.append(message)


def filled(task: str = "darcy2d", points: int = 200) -> Curves:
    curves = Curves(task)
    x = np.arange(1.0, points + 1) * 10
    curves.train, curves.val, curves.level = Series(), Series(), 1.0
    curves.train.extend(x, 1 / np.sqrt(x))
    curves.val.extend(x[::20], 1.2 / np.sqrt(x[::20]))
    return curves


async def test_what_changes_while_another_screen_is_in_front_is_there_when_it_goes() -> None:
    table = Table([Column("name")])
    app = Stage(table)
    async with app.run_test(size=(30, 6)) as pilot:
        table.set_rows([TableRow("a", ["before"])])
        await until_seen(pilot, "before")
        app.push_screen(Screen())
        table.set_rows([TableRow("a", ["after"])])
        await until(pilot, lambda: "before" not in seen(app))
        await pilot.pause(Painter.INTERVAL * 2)
        app.pop_screen()
        await until_seen(pilot, "after")


async def test_a_chart_names_its_task_and_its_last_values() -> None:
    app = Stage(CurvePanel(filled()))
    async with app.run_test(size=(70, 14)) as pilot:
        screen = await until_seen(pilot, "darcy2d  log")
        top, bottom = screen.splitlines()[0], screen.splitlines()[-1]
        assert "train 0.02" in top
        assert "val 0.02" in top
        assert "train" in bottom
        assert "copy 1.00" in bottom
        assert "⠤" in screen or "⣀" in screen


async def test_an_empty_chart_says_what_it_waits_for() -> None:
    app = Stage(CurvePanel(Curves("darcy2d")))
    async with app.run_test(size=(60, 10)) as pilot:
        await until_seen(pilot, "waiting for the first training steps")


async def test_a_chart_grows_when_told_and_only_then_repaints() -> None:
    panel = CurvePanel(filled())
    app = Stage(panel)
    async with app.run_test(size=(70, 14)) as pilot:
        before = await until_seen(pilot, "val 0.02")
        assert panel.curves.val is not None
        panel.curves.val.extend(np.array([2001.0]), np.array([0.5]))
        assert seen(app) == before
        panel.changed()
        await until_seen(pilot, "val 0.500")


async def test_lines_that_stay_take_the_colours_of_another_theme() -> None:
    app = Stage(CurvePanel(filled()))
    async with app.run_test(size=(70, 14)) as pilot:
        await until_seen(pilot, "darcy2d", "val 0.02")
        text, before = seen(app), _colours(app)
        app.theme = "textual-light"
        await until(pilot, lambda: not before & _colours(app))
        assert seen(app) == text


def _colours(app: App[None]) -> set[object]:
    """Of the backgrounds on the terminal."""
    strips = app.screen._compositor.render_strips()
    return {segment.style.bgcolor for strip in strips for segment in strip if segment.style is not None}


async def test_the_crosshair_reads_out_and_goes_away() -> None:
    app = Stage(CurvePanel(filled()))
    async with app.run_test(size=(70, 14)) as pilot:
        await until_seen(pilot, "train 0.02")
        await pilot.press("left")
        assert "step 2k" in await until_seen(pilot, "step ")
        await pilot.press(*["left"] * 40)
        await until(pilot, lambda: "step 2k" not in seen(app))
        await pilot.press("escape")
        await until(pilot, lambda: "step" not in cells(app)[0])


async def test_a_validation_error_no_better_than_copying_is_coloured_as_such() -> None:
    panel = CurvePanel(filled())
    panel.curves.level = 0.001
    app = Stage(panel)
    async with app.run_test(size=(70, 14)) as pilot:
        await until_seen(pilot, "val 0.02")
        assert [ink for text, ink in panel.summary() if "val" in text] == ["warn"]


async def test_charts_share_the_width_and_one_can_be_zoomed() -> None:
    grid = CurveGrid()
    app = Stage(grid)
    async with app.run_test(size=(120, 30)) as pilot:
        grid.set_curves([filled(task) for task in ("advection1d", "darcy2d", "burgers1d")])
        await until_seen(pilot, "advection1d", "darcy2d", "burgers1d")
        assert "advection1d" in cells(app)[0]
        assert "darcy2d" in cells(app)[0]
        grid.panels["darcy2d"].focus()
        await pilot.pause()
        grid.toggle_zoom()
        await until(pilot, lambda: "advection1d" not in seen(app))
        assert "darcy2d" in cells(app)[0]
        grid.toggle_zoom()
        await until_seen(pilot, "advection1d", "darcy2d")
        grid.order(["burgers1d", "darcy2d", "advection1d"])
        await until(pilot, lambda: "burgers1d" in cells(app)[0][:20])


async def test_when_the_run_has_ended_the_axis_ends_with_its_last_point() -> None:
    live, charts = LiveRun("1124-aaaa"), Charts()
    app = Stage(charts)
    async with app.run_test(size=(80, 14)):
        charts.show(RunCurves(live))
        points = [
            Event(n, float(n), "metric", {"stage": "operator", "epoch": 0, "step": 7 * n, "task": "darcy2d",
                                          "split": "train", "values": {"loss": 1.0 / n}})
            for n in range(1, 150)
        ]  # fmt: skip
        live.take_in(FollowBatch(RunStatus.RUNNING, points))
        charts.sync()
        assert charts.view.window.shown == (0.0, 1050.0)
        live.take_in(FollowBatch(RunStatus.SUCCEEDED, [Event(150, 150.0, "done", {"state": "ok"})]))
        charts.sync()
        assert charts.view.window.shown == (0.0, 1043.0)


async def test_a_key_is_answered_by_the_chart_in_focus_and_all_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid, tasks = CurveGrid(), ("darcy2d", "burgers1d", "advection1d")
    drawn: list[str] = []
    app = Stage(grid)
    async with app.run_test(size=(180, 40)) as pilot:
        grid.set_curves([filled(task) for task in tasks])
        await until_seen(pilot, "advection1d")
        grid.panels["burgers1d"].focus()
        await pilot.pause()
        draw = CurvePanel.draw
        monkeypatch.setattr(
            CurvePanel, "draw", lambda panel, *size: drawn.append(panel.curves.name) or draw(panel, *size)
        )
        grid.view.log_y = False
        grid.repaint()
        grid.repaint()
        assert set(drawn) == {"burgers1d"}
        await until(pilot, lambda: seen(app).count("linear") == 3)
        assert sorted(drawn) == ["advection1d", "burgers1d", "burgers1d", "darcy2d"]
        await pilot.press("left")
        await until(pilot, lambda: seen(app).count("train 0.0224 ema") == 3)


async def test_the_first_chart_has_the_focus_also_where_its_data_came_before_its_place() -> None:
    grid = CurveGrid()
    grid.display = False
    app = Stage(grid)
    async with app.run_test(size=(120, 30)) as pilot:
        grid.set_curves([filled(task) for task in ("advection1d", "darcy2d")])
        await pilot.pause()
        assert app.screen.focused is None
        grid.display = True
        await until_seen(pilot, "advection1d", "darcy2d")
        assert app.screen.focused is grid.panels["advection1d"]


@pytest.mark.parametrize("task", ["darcy2d", "advection1d"])
async def test_a_rollout_shows_prediction_truth_and_error(task: str, tmp_path: Path) -> None:
    nrmse = write_rollout(tmp_path / "r.npz", task, 90)
    view = RolloutView()
    app = Stage(view)
    async with app.run_test(size=(90, 16)) as pilot:
        await until_seen(pilot, "no rollout yet")
        view.show(read_rollout(tmp_path / "r.npz", {"nrmse": nrmse, "persistence": 0.7}), "1 of 1")
        screen = await until_seen(
            pilot, task, "prediction", "truth", "|error| ×", "nRMSE 0.100", "copy 0.700"
        )
        assert ("▀▀" in screen) == (task == "darcy2d")


async def test_frames_are_scrubbed_and_played(tmp_path: Path) -> None:
    write_rollout(tmp_path / "r.npz", "advection1d", 90)
    view = RolloutView()
    app = Stage(view)
    async with app.run_test(size=(90, 16)) as pilot:
        view.show(read_rollout(tmp_path / "r.npz", {}))
        await until_seen(pilot, "● ○ ○ ○ ○", "1/5", "t = 0.05")
        await pilot.press("right", "right")
        await until_seen(pilot, "○ ○ ● ○ ○", "t = 0.15")
        await pilot.press("left", "left", "left")
        await until_seen(pilot, "5/5")
        await pilot.press("space")
        await until_seen(pilot, "▮▮")
        await until(pilot, lambda: "5/5" not in seen(app))
        await pilot.press("space")
        await until(pilot, lambda: "▮▮" not in seen(app))
        await pilot.press("up")
        await until(pilot, lambda: bool(app.told))


def table(rows: int = 30) -> Table:
    view = Table([Column("name", flex=True), Column("price", align="right")], title="offers", empty="none")
    view.items = [TableRow(f"k{n}", [f"row {n}", (f"{n}.00", "good")]) for n in range(rows)]
    return view


async def test_the_cursor_stays_in_sight_and_tells_where_it_is() -> None:
    view = table()
    app = Stage(view)
    async with app.run_test(size=(40, 10)) as pilot:
        await until_seen(pilot, "▸ row 0", "name", "price")
        await pilot.press(*["down"] * 12)
        await until_seen(pilot, "▸ row 12", "13 of 30")
        await pilot.press("end")
        await until_seen(pilot, "▸ row 29")
        assert [getattr(m, "key", None) for m in app.told][-1] == "k29"


async def test_the_cursor_stays_on_its_row_when_rows_come_and_go() -> None:
    view = table(5)
    app = Stage(view)
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.press("down", "down")
        view.set_rows([TableRow("new", ["new", ""]), *view.items])
        await until_seen(pilot, "▸ row 2")
        view.set_rows([])
        await until_seen(pilot, "none")


async def test_space_ticks_and_a_ticks_all() -> None:
    view = CheckList([Column("task", flex=True)])
    view.items = [TableRow(name, [name]) for name in ("advection1d", "darcy2d")]
    app = Stage(view)
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.press("down", "space")
        await until_seen(pilot, "[x] darcy2d", "[ ] advection1d")
        await pilot.press("a")
        await until_seen(pilot, "[x] advection1d")
        assert view.ticked_in_order == ["advection1d", "darcy2d"]
        await pilot.press("a")
        await until(pilot, lambda: "[x]" not in seen(app))


PHASES = [
    PhaseView("hydrate", "finished", 112),
    PhaseView("precompute", "skipped"),
    PhaseView("train", "started", None, 18, 40, "epochs", 600),
    PhaseView("evaluate"),
    PhaseView("publish"),
]


@pytest.mark.parametrize("width", [70, 80, 120, 200])
def test_the_phases_fit_their_line(width: int) -> None:
    text = "".join(text for text, _ in phase_row(PHASES, width))
    assert len(text) <= width
    assert all(name in text for name in ("✓ hydr", "▶ train", "18/40", "10:00 left", "evaluate", "publish"))


async def test_the_running_phase_has_a_bar() -> None:
    bar = PhaseBar()
    app = Stage(bar)
    async with app.run_test(size=(120, 3)) as pilot:
        bar.show(PHASES)
        await until_seen(pilot, "━━", "╸──", "18/40 epochs")


async def test_the_machine_shows_what_it_has() -> None:
    bar = SystemBar()
    app = Stage(bar)
    gpu = {"util": 97, "mem_used": 14.2e9, "mem_total": 24e9, "temp": 62}
    async with app.run_test(size=(120, 3)) as pilot:
        bar.show({"gpu": [gpu], "cpu": 40.0, "ram": 30.0}, [("last event now ", "muted")], [0.4])
        screen = await until_seen(pilot, "97%", "14 GB of 24 GB", "62 °C", "cpu", "40%")
        assert screen.splitlines()[0].endswith("last event now")


def test_training_that_waits_for_its_data_says_so() -> None:
    assert data_wait_row(None) == data_wait_row(0.02) == []
    assert "waits for data 31%" in data_wait_row(0.31)[0][0]


def test_tasks_keep_colours_of_their_own_under_any_theme() -> None:
    variables = [task_variable(task) for task in TASK_SPECS]
    assert len(set(variables)) == len(TASK_SPECS)
    for theme in THEMES:
        colours = {**variable_defaults(), **theme.variables}
        assert len({colours[variable] for variable in variables}) == len(TASK_SPECS)


async def test_without_colours_the_curves_stay_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Stage(CurvePanel(filled()))
    async with app.run_test(size=(70, 14)) as pilot:
        await until_seen(pilot, "darcy2d", "val 0.02")
        for strip in app.screen._compositor.render_strips():
            for segment in strip.apply_filter(app._filters[0], app.screen.background_colors[1]):
                if segment.style is not None and segment.style.color is not None:
                    red, green, blue = segment.style.color.get_truecolor()
                    assert red == green == blue
