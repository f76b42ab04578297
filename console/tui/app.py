"""The console's app: five screens, one top line, teardown, help. Wiring only.

Opening must be quick: only what the first frame needs is imported here; screens, numpy and all that
reads files come after it, by name or in workers.
"""

import gc
import importlib
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from console.look import Look
from console.tui.attempt import attempt
from console.tui.attention import Heard, call
from console.tui.background import DATA_FAILED
from console.tui.looked import LookedApp
from console.tui.messages import AlertsRead, MoneyRead, OperationFailed, Reconciled, SettingsRead
from console.tui.widgets.top import TopBar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from console.home import Home
    from console.operations import Money, Operations
    from console.tui.drawing.text import Row
    from console.tui.screens.base import ConsoleScreen

SCREEN_CLASSES: dict[str, str] = {
    "launch": "console.tui.screens.launch:LaunchScreen",
    "live": "console.tui.screens.live:LiveScreen",
    "fleet": "console.tui.screens.fleet:FleetScreen",
    "data": "console.tui.screens.data:DataScreen",
    "history": "console.tui.screens.history:HistoryScreen",
}
"""name → where its class is; imported when it is first shown."""


def make_screen(name: str) -> "ConsoleScreen":
    """A screen of that name, imported now."""
    module, _, kind = SCREEN_CLASSES[name].partition(":")
    screen: ConsoleScreen = getattr(importlib.import_module(module), kind)()
    return screen


_READING_MONEY = "reading the ledger"
_POLL_SECONDS = 5.0
_RECONCILE_SECONDS = 60.0
_LEAVE_AGAIN_SECONDS = 3.0
_TURN_SECONDS = 0.0005
"""A thread that reads gives way after so long: what draws has to ask for its turn many times for one key."""
_COLLECT_AFTER_SECONDS = 1.0
"""The first screen has its data by then."""


class UpsConsole(LookedApp):
    """The terminal console over one home."""

    TITLE = "ups-console"
    SCREENS: ClassVar[dict[str, Any]] = {name: partial(make_screen, name) for name in SCREEN_CLASSES}
    CSS = """
    Screen { background: $background; color: $foreground; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show('launch')", "Launch", show=False, id="app.launch"),
        Binding("2", "show('live')", "Live", show=False, id="app.live"),
        Binding("3", "show('fleet')", "Fleet", show=False, id="app.fleet"),
        Binding("4", "show('data')", "Data", show=False, id="app.data"),
        Binding("5", "show('history')", "History", show=False, id="app.history"),
        Binding("u", "take_back", "Take a teardown back", show=False, id="app.take_back"),
        # With priority, as Textual's screens have keys of their own for it, which nobody is shown.
        Binding("tab", "app.focus_next", "Pane", priority=True, id="app.next_pane"),
        Binding(
            "shift+tab",
            "app.focus_previous",
            "Previous pane",
            show=False,
            priority=True,
            id="app.previous_pane",
        ),
        Binding("question_mark", "help", "Help", id="app.help"),
        Binding("q", "leave", "Quit", id="app.quit"),
        Binding("ctrl+q", "leave", "Quit", show=False, id="app.quit_too", priority=True),
    ]

    def __init__(
        self,
        operations: "Operations | Callable[[], Operations]",
        look: Look | None = None,
        first: "Callable[[], ConsoleScreen] | None" = None,
        *,
        configured: bool = True,
    ) -> None:
        """
        Args:
            operations: what the screens call; or what makes them when the first one is wanted.
            look: its theme and keys.
            first: makes the screen to begin with, where a run is only to be looked at: then no provider
                is asked for anything. None: Launch.
            configured: there are settings to be read.
        """
        super().__init__(operations, look or Look())
        sys.setswitchinterval(_TURN_SECONDS)
        self._first, self._configured = first, configured
        self.typed_early = ""
        """What the user pressed before the first frame."""
        self._started = False
        self.money: Money | None = None
        self.money_read_at = 0.0
        self.money_stale_since: float | None = None
        self._heard = Heard()
        self._asked_to_leave_at = -_LEAVE_AGAIN_SECONDS

    # --- start ------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        if self._first is not None:  # what is there is soon read: the first frame has the run
            await self._start()
        else:
            self.call_after_refresh(self._start)

    def compose(self) -> ComposeResult:
        """The first frame: the top line; the first screen follows when it is painted."""
        if self._first is None:
            yield TopBar()

    async def _start(self) -> None:
        """What waits for the first frame, or for the first key where that comes before it."""
        if self._started:
            return
        self._started = True
        self.set_timer(_COLLECT_AFTER_SECONDS, collect_again)
        await self.push_screen(self._first() if self._first is not None else "launch")
        if self._first is not None:
            # The first chart must not wait for an import that reads nothing.
            if self._configured:
                self._read_settings()
            return
        for character in self.typed_early:
            if character.isprintable() or character == "\n":
                self.simulate_key("enter" if character == "\n" else character)
        self._read_settings()
        self.read_money()
        self.set_interval(_POLL_SECONDS, self.read_money)
        self._reconcile()
        self.set_interval(_RECONCILE_SECONDS, self._reconcile)

    @work(thread=True, exclusive=True, group="reconcile", exit_on_error=False)
    def _reconcile(self) -> None:
        """Hold the ledger against the providers; end what other consoles left undone."""
        self._tell(attempt("asking the providers", lambda: Reconciled(self.operations.reconcile())))

    @on(Reconciled)
    def _reconciled(self, message: Reconciled) -> None:
        if message.transitions:
            self.things_changed()

    @work(thread=True, exclusive=True, group="settings", exit_on_error=False)
    def _read_settings(self) -> None:
        self._tell(attempt("reading the settings", lambda: SettingsRead(self.operations.settings)))

    # --- screens ----------------------------------------------------------------------------

    async def action_show(self, name: str) -> None:
        """Bring a screen to the front."""
        while len(self.screen_stack) > 2:  # help or a question is open
            await self.pop_screen()
        await self._start()
        if self.screen is not self.get_screen(name):
            await self.switch_screen(name)

    def action_help(self) -> None:
        """Show the keys that work here."""
        from console.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def show_text(self, heading: str, rows: "Sequence[Row]") -> None:
        """Show a page to read over the screen."""
        from console.tui.screens.text_page import TextPage

        self.push_screen(TextPage(heading, rows))

    async def show_run(self, run: str) -> None:
        """Show a run on Live."""
        self.selected_run = run
        await self.action_show("live")

    @on(OperationFailed)
    def _failed(self, message: OperationFailed) -> None:
        if message.what.startswith(DATA_FAILED):
            self.show_work("", 0, 0)
        if message.what == _READING_MONEY:
            if self.money_stale_since is not None:
                return  # said once: the top line goes on saying it
            self.money_stale_since = self.money_read_at or time.time()
            self._show_top()
        self.notice(f"{message.what}: {message.text}", message.hint, "bad")

    async def follow_launch(self) -> None:
        """Bring Live to the front, unless the user is at something else already."""
        from console.tui.screens.launch import LaunchScreen

        if isinstance(self.screen, LaunchScreen):
            await self.action_show("live")

    # --- the top line -------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="money", exit_on_error=False)
    def read_money(self) -> None:
        """Read the figures of the top line."""
        message = attempt(_READING_MONEY, lambda: MoneyRead(self.operations.money()))
        self._tell(message)

    @work(thread=True, exclusive=True, group="alerts", exit_on_error=False)
    def _read_alerts(self) -> None:
        """Look for what calls for a person."""

        def look() -> AlertsRead:
            operations = self.operations
            alerts = operations.alerts(self._heard.keys or ())
            operations.announcer.waits = False  # who leaves the console does not wait for a telephone
            return AlertsRead(alerts, operations.settings.notify)

        self._tell(attempt("looking for what has happened", look))

    def _webhook_failed(self, text: str, hint: str) -> None:
        self.post_message(OperationFailed("notifying", text, hint))

    @on(AlertsRead)
    def _call(self, message: AlertsRead) -> None:
        """Ring, say what has happened, and have the webhook told; what it says of that comes last."""
        for alert in self._heard.news(message.alerts):
            ink = "good" if alert.kind == "end" else "bad"
            self.notice(alert.title, alert.text, ink)
            if message.terms.terminal:
                self.send_to_terminal(call(alert.title))
        self.operations.announcer.begin(message.alerts, self._webhook_failed)

    def _tell(self, message: Any) -> None:
        if message is not None and not get_current_worker().is_cancelled:
            self.post_message(message)

    def _tell_of_stalls(self, before: "Money | None", now: "Money") -> None:
        """Once where a rented GPU begins to do nothing, and once where it works again."""
        known = before.stalled if before is not None else {}
        for instance, words in now.stalled.items():
            if instance not in known:
                self.notice(f"{instance}: {words}", "Fleet (3) shows it; x ends it", "warn")
        over = [instance for instance in known if instance not in now.stalled]
        if over and not now.stalled:
            self.notice(f"{', '.join(over)}: no longer idle", "", "good")

    @on(MoneyRead)
    def _show_money(self, message: MoneyRead) -> None:
        self._tell_of_stalls(self.money, message.money)
        self.money, self.money_read_at, self.money_stale_since = message.money, time.time(), None
        self._show_top()
        self._read_alerts()

    def _show_top(self) -> None:
        for bar in self.in_front(TopBar):
            bar.show(self.money, self.money_stale_since)

    def things_changed(self) -> None:
        from console.tui.screens.base import ConsoleScreen

        self.read_money()
        front = self.screen_stack[-1] if self.screen_stack else None
        if isinstance(front, ConsoleScreen):
            front.refresh_data()

    def possible(self, action: str) -> bool:
        """There is another pane where there are two."""
        return action != "app.focus_next" or len(self.screen.focus_chain) > 1

    # --- leaving --------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leave; what runs goes on. Asks again where leaving would stop something."""
        again = time.monotonic() - self._asked_to_leave_at < _LEAVE_AGAIN_SECONDS
        reason = self._reason_to_stay()
        if reason and not again:
            self._asked_to_leave_at = time.monotonic()
            self.notice(reason, "q again leaves all the same")
            return
        self._leave_launch()
        self.exit(message=self._parting_words())

    def _leave_launch(self) -> None:
        """Stop a launch: it destroys what it has rented before the process ends."""
        self.launching.left.set()
        run = self.launching.run if self.launching.busy else None
        if run is not None:
            attempt("leaving the launch", lambda: self.operations.abandon_launch(run))

    def _reason_to_stay(self) -> str:
        if self.teardowns.waiting:
            return f"{', '.join(self.teardowns.waiting)} is not torn down yet"
        if self.teardowns.running:
            return f"{self.teardowns.running[0]} is being torn down: leaving waits for the step at work"
        if self.launching.busy:
            rented = ", and waits until what it rented is destroyed" if self.launching.rented else ""
            return f"a launch is under way: leaving stops it{rented}"
        return f"{self.work_shown[0]} stops when you leave" if self.work_shown[0] else ""

    def _parting_words(self) -> str | None:
        money = self.money
        if self.launching.busy and self.launching.rented:
            return (
                f"The launch of {self.launching.what} was stopped, and what it rented told to go; "
                "`ups-console fleet` shows that it is gone, and what else goes on."
            )
        if money is None or not money.running:
            return None
        noun = "instance goes" if money.running == 1 else "instances go"
        return (
            f"{money.running} {noun} on at ${money.usd_per_hour:.2f}/h, today ${money.usd_today:.2f}; "
            "`ups-console` comes back to it, `ups-console fleet` lists, `ups-console destroy ID` ends."
        )


def run_console(operations: "Operations", look: Look | None = None, *, typed: str = "") -> None:
    """Open the console and stay until it is left.

    Args:
        operations: what it works on.
        look: its theme and keys.
        typed: what the user pressed while it was opening.

    Raises:
        ConfigError: there is no such theme, or the user's keys are not possible.
    """
    app = UpsConsole(operations, look)
    app.typed_early = typed
    app.run()


def collect_again() -> None:
    """Look for garbage from now on, but not among what was made by now: it stays as long as the console."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def run_viewer(home: "Home", screen: str, source: object, look: Look | None = None) -> None:
    """Open the console on a run that is only looked at.

    Args:
        home: for the other screens.
        screen: `module:Class` of the screen to begin with; imported after the first frame.
        source: what it shows.
        look: its theme and keys.

    Raises:
        ConfigError: there is no such theme, or the user's keys are not possible.
    """

    def first() -> "ConsoleScreen":
        module, _, kind = screen.partition(":")
        made: ConsoleScreen = getattr(importlib.import_module(module), kind)(source)
        return made

    def operations() -> "Operations":
        from console.operations import Operations

        return Operations(home)

    UpsConsole(operations, look, first, configured=home.config.exists()).run()
