"""Live: is it learning, is it healthy, what does it cost, what does it look like?"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.worker import get_current_worker

from console.fleet.model import LIVING
from console.tui.attempt import attempt
from console.tui.drawing.text import Row
from console.tui.live_run import LiveRun, RunCurves, overlay
from console.tui.messages import (
    ComparisonRead,
    FleetRead,
    OperationFailed,
    RolloutRead,
    RunChanged,
    RunsRead,
)
from console.tui.screens.base import ConsoleScreen
from console.tui.sources import FollowedRun, RunSource, taken_in
from console.tui.widgets.bars import PhaseBar, SystemBar
from console.tui.widgets.curve import CurvePanel, Curves
from console.tui.widgets.grid import CurveGrid
from console.tui.widgets.log import LogView
from console.tui.widgets.rollout import RolloutView
from console.tui.widgets.run_header import headline, money_row, phases
from console.tui.widgets.run_strip import RunStrip
from console.tui.widgets.text import Line, TextPanel

if TYPE_CHECKING:
    from console.operations import Comparison, InstanceRow, Operations, RunRow

_ZOOMS = ("-zoom-curves", "-zoom-rollout", "-zoom-log")
_FLEET_AGE_S = 60.0
"""What the providers said may be so old."""
_TICK_SECONDS = 1.0
_STRIP_SECONDS = 2.0
"""Between two looks at the runs beside the one that is shown."""


class LiveScreen(ConsoleScreen):
    """One run, as it happens or as it happened."""

    NAME = "Live"
    CSS_PATH = "live.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "tear_down", "Teardown", id="live.teardown"),
        Binding("z", "zoom", "Zoom", id="live.zoom"),
        Binding("l", "log_y", "Log-y", id="live.log_y"),
        Binding("s", "smooth", "Smooth", id="live.smooth"),
        Binding("o", "overlay", "Overlay", id="live.overlay"),
        Binding("r", "rollout", "Next rollout", id="live.rollout"),
        Binding("left_square_bracket", "run(1)", "Older run", show=False, id="live.older"),
        Binding("right_square_bracket", "run(-1)", "Newer run", show=False, id="live.newer"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.live: LiveRun | None = None
        self.curves: RunCurves | None = None
        self.runs: Sequence[RunRow] = ()
        self.instances: dict[str, InstanceRow] | None = None
        """run → its newest instance; None until the fleet was read."""
        self.log_y = self.smooth = True
        self.overlaid = False
        self._rollout: tuple[str, int | None] | None = None
        """(task, step) of the rollout that is wanted; no step is the newest."""
        self._rollout_shown: tuple[str, int] | None = None
        self._compared: list[str] = []
        """Runs and sweeps that the strip was asked for last."""

    def body(self) -> Iterable[Widget]:
        yield RunStrip(id="strip")
        yield Line(id="headline")
        yield PhaseBar()
        yield SystemBar()
        yield CurveGrid(id="curves")
        yield Horizontal(
            RolloutView(empty="no rollout yet: the first epoch ends with one", id="rollout"),
            LogView(empty="no log yet", id="log"),
            id="lower",
        )
        yield TextPanel(heading="live", id="welcome")

    def on_mount(self) -> None:
        self.add_class("-empty")
        self.query_one("#welcome", TextPanel).show([[("reading the runs", "muted")]])
        self.set_interval(_TICK_SECONDS, self._tick)
        self.set_interval(_STRIP_SECONDS, self._look_beside)

    # --- which run ---------------------------------------------------------------------------

    def refresh_data(self) -> None:
        self.operate("reading the runs", lambda ops: ops.runs(), RunsRead, group="runs")
        self.operate(
            "reading the fleet", lambda ops: ops.fleet_state(oldest_s=_FLEET_AGE_S), FleetRead, group="fleet"
        )
        if self.ups.selected_run is not None:
            self._follow_selected()

    @on(RunsRead)
    def _show_runs(self, message: RunsRead) -> None:
        self.runs = message.runs
        known = {row.run for row in self.runs}
        if self.ups.selected_run not in known and self.runs:
            running = [row.run for row in self.runs if not row.status.ended]
            self.ups.selected_run = (running or [self.runs[0].run])[0]
        if self.ups.selected_run is None:
            self._welcome()
        else:
            self._follow_selected()
            self._look_beside()

    @on(FleetRead)
    def _show_fleet(self, message: FleetRead) -> None:
        oldest_first = sorted(message.state.instances, key=lambda row: row.created)
        self.instances = {row.run: row for row in oldest_first if row.run is not None}
        self._show_head()

    def _welcome(self) -> None:
        self.add_class("-empty")
        self.query_one("#welcome", TextPanel).show([
            [("No run yet.", "title")], [],
            [("1", "key"), (" Launch: tick tasks, pick a config, press enter.", "text")],
            [("  The embedded default trains two tasks here in minutes.", "text")], [],
            [("4", "key"), (" Data: what can be trained on; ", "text"), ("m", "key"),
             (" makes reference data.", "text")],
        ])  # fmt: skip

    def action_run(self, by: int) -> None:
        """Show the run started before (1) or after (−1) this one."""
        names = [row.run for row in self.runs]
        if self.ups.selected_run in names:
            index = names.index(self.ups.selected_run) + by
            if 0 <= index < len(names):
                self.ups.selected_run = names[index]
                self._follow_selected()
                return
        self.ups.notice("no further run", "5 lists all")

    def _follow_selected(self) -> None:
        run = self.ups.selected_run
        if run is None or (self.live is not None and self.live.run == run):
            return
        self.remove_class(*_ZOOMS)
        self.query_one(CurveGrid).zoom(None)
        self.begin(FollowedRun(self.ups.operations, run))

    def begin(self, source: RunSource) -> None:
        """Show a run from its first event."""
        self.live = LiveRun(source.run)
        self.curves = RunCurves(self.live)
        self._rollout = self._rollout_shown = None
        self.remove_class("-empty")
        self.query_one(LogView).reset("no log yet")
        self.query_one(RolloutView).show(None)
        self.query_one(SystemBar).show({}, [], [])
        self._show_head()
        self.follow_on(self.live, source)

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def follow_on(self, live: LiveRun, source: RunSource) -> None:
        """Take in what comes of a run."""
        worker = get_current_worker()

        def follow() -> RunChanged:
            for _ in taken_in(live, source, lambda: worker.is_cancelled):
                self.post_message(RunChanged(live.run))
            return RunChanged(live.run)

        message = attempt(f"following {live.run}", follow)
        if message is not None and not worker.is_cancelled:
            self.post_message(message)

    @on(OperationFailed)
    def _operation_failed(self, message: OperationFailed) -> None:
        if self.live is not None and message.what == f"following {self.live.run}":
            self._show_head()

    # --- the runs beside it ------------------------------------------------------------------

    def _beside(self) -> list[str]:
        """The runs of the same sweep, and all that go on; empty where the one that is shown is alone."""
        shown = next((row for row in self.runs if row.run == self.ups.selected_run), None)
        if shown is None:
            return []
        others = [row.run for row in self.runs if row.run != shown.run and not row.status.ended]
        if shown.sweep:
            return [shown.sweep, *others]
        return [shown.run, *others] if others else []

    def _look_beside(self) -> None:
        """Look at them again, unless nothing can have changed."""
        names = self._beside()
        self.set_class(bool(names), "-several")
        if not names or not self.is_active or not self.is_whole:
            return
        strip = self.query_one(RunStrip)
        strip.show(strip.comparison, self.ups.selected_run)
        if names != self._compared or _goes_on(strip.comparison):
            self._compared = names
            self.operate("comparing the runs", lambda ops: ops.compare(names), ComparisonRead, group="strip")

    @on(ComparisonRead)
    def _show_beside(self, message: ComparisonRead) -> None:
        self.query_one(RunStrip).show(message.comparison, self.ups.selected_run)

    @on(RunStrip.Chosen)
    def _chosen_beside(self, message: RunStrip.Chosen) -> None:
        self.ups.selected_run = message.run
        self._follow_selected()
        self._look_beside()

    # --- what is new -------------------------------------------------------------------------

    @on(RunChanged)
    async def _run_changed(self, message: RunChanged) -> None:
        live, curves = self.live, self.curves
        if live is None or curves is None or message.run != live.run:
            return
        tasks_before = list(curves.charts)
        changed = curves.sync()
        grid = self.query_one(CurveGrid)
        if list(curves.charts) != tasks_before or not grid.panels:
            await self._arrange()
        if self.overlaid:
            await self._arrange()
        else:
            self._order(curves, grid)
        grid.changed(None if self.overlaid else changed)
        self.query_one(LogView).feed(live.take_log())
        self._show_head()
        self._want_rollout()

    def _order(self, curves: RunCurves, grid: CurveGrid) -> None:
        """With many tasks the worst come first."""
        if len(grid.panels) > 4:
            errors = {name: (c.val.last if c.val else None) or 0.0 for name, c in curves.charts.items()}
            grid.order(sorted(errors, key=lambda name: -errors[name]))

    async def _arrange(self) -> None:
        charts: list[Curves] = list(self.curves.charts.values()) if self.curves else []
        grid = self.query_one(CurveGrid)
        on_chart = self.focused is None or isinstance(self.focused, CurvePanel)
        await grid.set_curves([overlay(charts)] if self.overlaid else charts)
        for panel in grid.panels.values():
            panel.log_y, panel.smooth = self.log_y, self.smooth
        if on_chart and grid.panels and self.focused not in grid.panels.values():
            next(iter(grid.panels.values())).focus()

    def _show_head(self) -> None:
        live = self.live
        if live is None:
            return
        place = self.place()
        with live.lock:
            instance = (self.instances or {}).get(live.run)
            name = next((row.config for row in self.runs if row.run == live.run), "")
            self.query_one("#headline", Line).show(headline(live, place, name, instance))
            self.query_one(PhaseBar).show(phases(live))
            bar = self.query_one(SystemBar)
            system = live.view.system
            tail = self.money(live, instance)
        bar.show(system, tail, list(live.cpu))

    def place(self) -> str:
        """Which of how many runs it is; the end of the headline."""
        names = [row.run for row in self.runs]
        if self.live is None or self.live.run not in names or len(names) < 2:
            return ""
        return f"run {names.index(self.live.run) + 1} of {len(names)}  [ ]"

    def money(self, live: LiveRun, instance: "InstanceRow | None") -> Row:
        """What it costs, and when it was last heard of."""
        return money_row(live, instance)

    def _tick(self) -> None:
        """The age of the last event moves on also when nothing comes."""
        if self.is_active and self.is_whole and self.live is not None and not self.live.view.done:
            self._show_head()

    # --- rollouts ----------------------------------------------------------------------------

    def _want_rollout(self) -> None:
        """Read the rollout that should be shown, if it is not shown already."""
        live = self.live
        if live is None:
            return
        if self._rollout is None:
            with live.lock:
                last = live.view.rollouts[-1].task if live.view.rollouts else None
            if last is None:
                return
            self._rollout = (last, None)
        task, step = self._rollout
        refs = live.rollouts_of(task)
        ref = next((r for r in refs if r.step == step), refs[-1] if refs else None)
        if ref is None or (task, ref.step) == self._rollout_shown:
            return
        path = live.rollout_path(ref)
        if path is None:
            return
        key = self._rollout_shown = (task, ref.step)
        fields = {"task": ref.task, "step": ref.step, "nrmse": ref.nrmse, "persistence": ref.persistence}

        def read(_: "Operations") -> RolloutRead:
            from console.tui.drawing.rollout import read_rollout

            return RolloutRead(key, read_rollout(path, fields))

        self.operate("reading the rollout", read, lambda message: message, group="rollout")

    @on(RolloutRead)
    def _show_rollout(self, message: RolloutRead) -> None:
        if self.live is None or message.key != self._rollout_shown:
            return
        steps = [ref.step for ref in self.live.rollouts_of(message.key[0])]
        if message.key[1] in steps:
            place = f"{steps.index(message.key[1]) + 1} of {len(steps)} · ↑↓ others"
            self.query_one(RolloutView).show(message.rollout, place)

    @on(RolloutView.Wanted)
    def _other_rollout(self, message: RolloutView.Wanted) -> None:
        if self.live is None or self._rollout_shown is None:
            return
        task, step = self._rollout_shown
        steps = [ref.step for ref in self.live.rollouts_of(task)]
        index = max(0, min(len(steps) - 1, steps.index(step) + message.by)) if step in steps else -1
        if steps:
            self._rollout = (task, None if index == len(steps) - 1 else steps[index])
            self._want_rollout()

    def action_rollout(self) -> None:
        """Show the newest rollout of the next task."""
        live = self.live
        tasks = list(dict.fromkeys(ref.task for ref in live.view.rollouts)) if live else []
        if not tasks:
            self.ups.notice("no rollout yet", "the first one comes with the first epoch's end")
            return
        here = self._rollout[0] if self._rollout else None
        index = (tasks.index(here) + 1) % len(tasks) if here in tasks else 0
        self._rollout = (tasks[index], None)
        self._want_rollout()

    # --- keys --------------------------------------------------------------------------------

    def action_zoom(self) -> None:
        """Fill the screen with the focused pane, or show all again."""
        grid = self.query_one(CurveGrid)
        if any(self.has_class(name) for name in _ZOOMS):
            self.remove_class(*_ZOOMS)
            grid.zoom(None)
            return
        if self.focused is self.query_one(RolloutView):
            self.add_class("-zoom-rollout")
        elif self.focused is self.query_one(LogView):
            self.add_class("-zoom-log")
        else:
            self.add_class("-zoom-curves")
            grid.toggle_zoom()

    @on(CurvePanel.Zoom)
    def _double_click(self, message: CurvePanel.Zoom) -> None:
        self.action_zoom()

    def action_log_y(self) -> None:
        """Switch between a logarithmic and a linear axis."""
        self.log_y = not self.log_y
        self._apply()

    def action_smooth(self) -> None:
        """Switch the smoothing of training curves on or off."""
        self.smooth = not self.smooth
        self._apply()

    def _apply(self) -> None:
        for panel in self.query(CurvePanel):
            panel.log_y, panel.smooth = self.log_y, self.smooth
            panel.repaint()

    async def action_overlay(self) -> None:
        """Lay the validation curves of all tasks over one another, or show them apart."""
        self.overlaid = not self.overlaid
        self.remove_class(*_ZOOMS)
        self.query_one(CurveGrid).zoom(None)
        await self._arrange()

    def action_tear_down(self) -> None:
        """Tear the run's instance down, after five seconds in which it can be taken back."""
        live = self.live
        if live is None:
            self.ups.notice("there is no run to tear down", "1 launches one")
            return
        instance = self.instances.get(live.run) if self.instances is not None else None
        gone = instance is not None and instance.state not in LIVING
        if gone or (self.instances is not None and instance is None):
            self.ups.notice(f"no instance of {live.run} lives any more", "3 shows when that was seen")
            return
        self.ups.tear_down([live.run], "first the artifacts are fetched: checkpoints, events, report")


def _goes_on(comparison: "Comparison | None") -> bool:
    """Whether any of its runs has not ended."""
    return comparison is None or any(run.state in ("pending", "running") for run in comparison.runs)
