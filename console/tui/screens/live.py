"""Live: is it learning, is it healthy, what does it cost, what does it look like?"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.worker import get_current_worker

from console.tui.attempt import attempt
from console.tui.drawing.axes import XAxis
from console.tui.drawing.text import Row
from console.tui.live_run import LiveRun
from console.tui.messages import (
    ComparisonRead,
    FleetRead,
    OperationFailed,
    RolloutRead,
    RunChanged,
    RunsRead,
)
from console.tui.placing import Bill
from console.tui.rollout_choice import RolloutChoice
from console.tui.run_curves import RunCurves
from console.tui.screens.live_charts import CHART_KEYS, ScreenWithCharts
from console.tui.sources import FollowedRun, RunSource, taken_in
from console.tui.widgets.bars import PhaseBar, SystemBar, data_wait_row
from console.tui.widgets.charts_line import notice_row
from console.tui.widgets.curve import CurvePanel
from console.tui.widgets.log import LogView
from console.tui.widgets.machine import Machine
from console.tui.widgets.rollout import RolloutView
from console.tui.widgets.run_header import awaited_row, headline, money_row, phases
from console.tui.widgets.run_strip import RunStrip, neighbours
from console.tui.widgets.text import Line, TextPanel

if TYPE_CHECKING:
    from console.operations import Comparison, InstanceRow, Operations

_FLEET_AGE_S = 60.0
"""What the providers said may be so old."""
_TICK_SECONDS = 1.0
_SEEN_SECONDS = 0.1
"""A reader waits so long at most until what it read first is on the screen: they share one interpreter."""
_STRIP_SECONDS = 2.0
"""Between two looks at the runs beside the one that is shown."""


class LiveScreen(ScreenWithCharts):
    """One run, as it happens or as it happened."""

    NAME = "Live"
    WITHOUT_LOG: ClassVar[str] = "no log yet"
    # Not in a file of its own: for a screen that has one Textual parses all style sheets again.
    DEFAULT_CSS = """
    LiveScreen #headline { height: 1; }
    LiveScreen #curves { height: 3fr; }
    LiveScreen #lower { height: 2fr; min-height: 7; }
    LiveScreen #machine { height: 2fr; min-height: 7; }
    LiveScreen #rollout { width: 3fr; }
    LiveScreen #log { width: 2fr; }

    LiveScreen.-empty PhaseBar, LiveScreen.-empty SystemBar, LiveScreen.-empty #headline { display: none; }
    LiveScreen #welcome { display: none; }
    LiveScreen.-empty #welcome { display: block; }

    LiveScreen.-short #lower, LiveScreen.-short #machine { height: 3fr; }
    LiveScreen.-short ChartsLine.-quiet { display: none; }

    LiveScreen #strip { dock: left; height: 100%; margin: 1 0; display: none; }
    LiveScreen.-several #strip { display: block; }
    LiveScreen.-narrow #strip, LiveScreen.-empty #strip { display: none; }
    """
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "tear_down", "Teardown", id="live.teardown"),
        Binding("e", "trouble", "What went wrong", id="live.trouble"),
        Binding("z", "zoom", "Zoom", id="live.zoom"),
        *CHART_KEYS,
        Binding("r", "rollout", "Rollout", id="live.rollout"),
        Binding("left_square_bracket", "run(1)", "Older run", show=False, id="live.older"),
        Binding("right_square_bracket", "run(-1)", "Newer run", show=False, id="live.newer"),
    ]

    def __init__(self) -> None:
        super().__init__()
        # By name, as they are wanted whenever something comes.
        self.headline = Line(id="headline")
        self.phase_bar, self.system_bar = PhaseBar(), SystemBar()
        self.log_view = LogView(empty=self.WITHOUT_LOG, id="log")
        self.instances: dict[str, InstanceRow] | None = None
        """run → its newest instance; None until the fleet was read."""
        self.rollouts: RolloutChoice | None = None
        self.is_bare = False
        """There is neither log nor rollout to show."""
        self._compared: list[str] = []
        """Runs and sweeps that the strip was asked for last."""

    def compose(self) -> ComposeResult:
        yield RunStrip(id="strip")  # before the top line and the foot, which so lie over its ends
        yield from super().compose()

    def body(self) -> Iterable[Widget]:
        yield self.headline
        yield self.phase_bar
        yield self.system_bar
        yield self.charts
        yield Horizontal(
            RolloutView(
                empty="no rollout yet: the first epoch ends with one",
                painter=self.ups.picture_painter,
                id="rollout",
            ),
            self.log_view,
            id="lower",
        )
        yield Machine(self.charts.view, id="machine")
        yield TextPanel(heading="live", id="welcome")

    def on_mount(self) -> None:
        if not self.knows_its_run:
            self._show_panes(empty=True)
            self.query_one("#welcome", TextPanel).show([[("reading the runs", "muted")]])
        self.set_interval(_TICK_SECONDS, self._tick)
        self.set_interval(_STRIP_SECONDS, self._look_beside)

    # --- which run ---------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        return super().is_whole and self.log_view.is_attached  # what lies deepest goes first

    @property
    def knows_its_run(self) -> bool:
        """Whether there is one to begin with, so that nothing need be said until the runs are read."""
        return self.ups.selected_run is not None

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
        self.bills = {
            run: Bill(tuple((row.created, row.usd_per_hour) for row in oldest_first if row.run == run))
            for run in self.instances
        }
        self._price_changed()
        self._show_head()

    def _welcome(self) -> None:
        self._show_panes(empty=True)
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
                self._look_beside()
                return
        self.ups.notice("no further run", "5 lists all")

    def _follow_selected(self) -> None:
        run = self.ups.selected_run
        if run is None or (self.live is not None and self.live.run == run):
            return
        self.begin(FollowedRun(self.ups.operations, run))

    def begin(self, source: RunSource) -> None:
        """Show a run from its first event."""
        if not (self.query("#log") and self.query("#rollout")):
            self.call_after_refresh(self.begin, source)
            return
        live = self.live = LiveRun(source.run)
        self.rollouts = RolloutChoice(live)
        self.zoomed = ""
        self._show_panes()
        charts = self.charts
        charts.view.axis = XAxis.STEP if charts.view.axis is XAxis.DOLLARS else charts.view.axis
        charts.show(RunCurves(live))
        self._read_beside()
        self.log_view.open(lambda: live.logs)
        self.query_one(RolloutView).show(None)
        self.system_bar.show({}, [], [])
        self._show_head()
        self.follow_on(self.live, source)

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def follow_on(self, live: LiveRun, source: RunSource) -> None:
        """Take in what comes of a run."""
        worker = get_current_worker()

        def follow() -> RunChanged:
            for _ in taken_in(live, source, lambda: worker.is_cancelled):
                self.post_message(RunChanged(live.run))
                live.is_seen.wait(_SEEN_SECONDS)
            return RunChanged(live.run)

        message = attempt(f"following {live.run}", follow)
        if message is not None and not worker.is_cancelled:
            self.post_message(message)

    @on(OperationFailed)
    def _operation_failed(self, message: OperationFailed) -> None:
        if self.live is not None and message.what == f"following {self.live.run}":
            self._show_head()

    # --- the runs beside it ------------------------------------------------------------------

    def _look_beside(self) -> None:
        """Look at them again, unless nothing can have changed."""
        names = neighbours(self.runs, self.ups.selected_run)
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
    def _run_changed(self, message: RunChanged) -> None:
        live = self.live
        if live is None or message.run != live.run:
            return
        self.charts.sync()
        self._show_machine()
        self.log_view.look()
        self._show_head()
        self._want_rollout()
        if not live.is_seen.is_set():
            # A chart that is new has its place after one refresh, and its curve after the next.
            self.call_after_refresh(self.call_after_refresh, live.is_seen.set)

    def _show_head(self) -> None:
        live = self.live
        if live is None:
            return
        place = self.place()
        with live.lock:
            instance = (self.instances or {}).get(live.run)
            name = next((row.config for row in self.runs if row.run == live.run), "")
            self.headline.show(headline(live, place, name, instance))
            self.phase_bar.show(phases(live))
            system = live.view.system
            tail = [*data_wait_row(live.view.data_wait), *self.money(live, instance)]
            notice = notice_row(live.view.notices)
            awaited = awaited_row(live.view, str(live.status or ""))
        self.system_bar.show(system, tail, list(live.cpu))
        self.charts.tell(awaited, notice)

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
        chosen = self.rollouts.due() if self.rollouts is not None else None
        if chosen is None:
            return

        def read(_: "Operations") -> RolloutRead:
            from console.tui.drawing.rollout import read_rollout

            return RolloutRead(chosen.key, read_rollout(chosen.path, chosen.fields))

        self.operate("reading the rollout", read, lambda message: message, group="rollout")

    @on(RolloutRead)
    def _show_rollout(self, message: RolloutRead) -> None:
        place = self.rollouts.place(message.key) if self.rollouts is not None else None
        if place is not None:
            self.query_one(RolloutView).show(message.rollout, place)

    @on(RolloutView.Wanted)
    def _other_rollout(self, message: RolloutView.Wanted) -> None:
        if self.rollouts is not None and self.rollouts.move(message.by):
            self._want_rollout()

    def action_rollout(self) -> None:
        """Show the newest rollout of the next task."""
        if self.rollouts is None or not self.rollouts.next_task():
            self.ups.notice("no rollout yet", "the first one comes with the first epoch's end")
            return
        self._want_rollout()

    # --- keys --------------------------------------------------------------------------------

    def possible(self, action: str) -> bool:
        """Charts need curves, rollouts a rollout, and a teardown something that may live."""
        live = self.live
        if live is None:
            return False
        if action == "tear_down":
            return self._may_live(live.run)
        if action == "trouble":
            return bool(live.view.notices)
        if action == "rollout":
            return bool(live.view.rollouts)
        if action in ("charts", "axis", "overlay"):
            return self.charts.grid.total > 0
        return True

    def _may_live(self, run: str) -> bool:
        """Whether the run has an instance, as far as the fleet was read."""
        if self.instances is None:
            return True
        from console.fleet.model import LIVING  # late: a run that is only opened has no fleet

        return run in self.instances and self.instances[run].state in LIVING

    def action_trouble(self) -> None:
        """Go to where the log tells of the newest error, or where there is none of the newest warning."""
        live = self.live
        notices = list(live.view.notices) if live is not None else []
        if not notices:
            self.ups.notice("nothing went wrong in this run, as far as it has told")
            return
        notice = next((notice for notice in reversed(notices) if notice.severe), notices[-1])
        self.shows_machine = False
        if self.zoomed != "log":
            self.zoomed = ""
        self._show_panes()
        log = self.log_view
        log.show_text(next(iter(notice.message.splitlines()), ""))
        log.focus()
        if notice.hint:
            self.ups.notice(notice.message, notice.hint, "bad" if notice.severe else "warn")

    def action_zoom(self) -> None:
        """Fill the screen with the focused pane, or show all again."""
        charts = self.charts
        if self.zoomed:
            self.zoomed = ""
            charts.zoom_out()
        elif self.focused is self.query_one(RolloutView):
            self.zoomed = "rollout"
        elif self.focused is self.log_view or not charts.grid.total:
            self.zoomed = "log"
        else:
            self.zoomed = "curves"
            charts.toggle_zoom()
        self._show_panes()

    def _show_panes(self, *, empty: bool = False) -> None:
        """Show those that have their place; by themselves, as a class of the screen would restyle all."""
        self.set_class(empty, "-empty")
        whole, lower = not self.zoomed, self.zoomed in ("rollout", "log")
        for pane, shown in (
            ("curves", whole or self.zoomed == "curves"),
            ("lower", lower or (whole and not self.shows_machine and not self.is_bare)),
            ("rollout", self.zoomed != "log"),
            ("log", self.zoomed != "rollout"),
            ("machine", whole and self.shows_machine),
        ):
            for widget in self.query(f"#{pane}"):  # the innermost may come after the screen
                if widget.display != (shown and not empty):
                    widget.display = shown and not empty

    @on(CurvePanel.Zoom)
    def _double_click(self, message: CurvePanel.Zoom) -> None:
        self.zoomed = "curves" if self.charts.grid.zoomed is not None else ""
        self._show_panes()

    def action_tear_down(self) -> None:
        """Tear the run's instance down, after five seconds in which it can be taken back."""
        live = self.live
        if live is None:
            self.ups.notice("there is no run to tear down", "1 launches one")
            return
        if not self._may_live(live.run):
            self.ups.notice(f"no instance of {live.run} lives any more", "3 shows when that was seen")
            return
        self.ups.tear_down([live.run], "first the artifacts are fetched: checkpoints, events, report")


def _goes_on(comparison: "Comparison | None") -> bool:
    """Whether any of its runs has not ended."""
    return comparison is None or any(run.state in ("pending", "running") for run in comparison.runs)
