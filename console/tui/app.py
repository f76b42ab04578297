"""The console's app: five screens, one top line, teardown, help. Wiring only.

Opening must be quick: only what the first frame needs is imported here; screens, numpy and all that
reads files come after it, by name or in workers.
"""

import importlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import get_current_worker

from console.tui.attempt import attempt
from console.tui.messages import (
    DataChanged,
    DataProgressed,
    MoneyRead,
    OperationFailed,
    SettingsRead,
    TeardownEnded,
    TeardownStepped,
)
from console.tui.teardown import Teardowns
from console.tui.theme import THEMES, variable_defaults
from console.tui.widgets.top import TopBar
from ups.errors import UpsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from console.operations import Money, Operations
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


_DATA_VERBS = {"make": "making reference data", "verify": "verifying"}
_DATA_DONE = {"make": "reference data made", "verify": "every byte as recorded"}
_READING_MONEY = "reading the ledger"
_POLL_SECONDS = 5.0
_LEAVE_AGAIN_SECONDS = 3.0


class UpsConsole(App[None]):
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
        Binding("tab", "app.focus_next", "Next pane", show=False, id="app.next_pane"),
        Binding("shift+tab", "app.focus_previous", "Previous pane", show=False, id="app.previous_pane"),
        Binding("question_mark", "help", "Help", id="app.help"),
        Binding("q", "leave", "Quit", id="app.quit"),
        Binding("ctrl+q", "leave", "Quit", show=False, id="app.quit_too", priority=True),
    ]

    def __init__(self, operations: "Operations") -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        # Before the first style is computed: a change of theme later costs a second of them.
        self.set_reactive(App.theme, THEMES[0].name)
        self.stylesheet.set_variables(self.get_css_variables())
        self.operations = operations
        self.money: Money | None = None
        self.money_read_at = 0.0
        self.money_stale_since: float | None = None
        self.selected_run: str | None = None
        """The run that Live shows and `x` acts on."""
        self.work_shown: tuple[str, int, int] = ("", 0, 0)
        """What a data command is doing, how much of how much; empty while none runs."""
        self.teardowns = Teardowns()
        self._asked_to_leave_at = -_LEAVE_AGAIN_SECONDS

    # --- start ------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults()

    def get_key_display(self, binding: Binding) -> str:
        return "enter" if binding.key == "enter" else super().get_key_display(binding)

    def on_mount(self) -> None:
        self.call_after_refresh(self._start)

    def compose(self) -> ComposeResult:
        """The first frame: the top line; the first screen follows when it is painted."""
        yield TopBar()

    async def _start(self) -> None:
        """What waits for the first frame."""
        if len(self.screen_stack) == 1:
            await self.push_screen("launch")
        self._read_settings()
        self.read_money()
        self.set_interval(_POLL_SECONDS, self.read_money)

    @work(thread=True, exclusive=True, group="settings", exit_on_error=False)
    def _read_settings(self) -> None:
        self._tell(attempt("reading the settings", lambda: SettingsRead(self.operations.settings)))

    @on(SettingsRead)
    def _apply_settings(self, message: SettingsRead) -> None:
        if message.settings.keymap:
            self.set_keymap(message.settings.keymap)
        theme = message.settings.theme
        if theme and theme in self.available_themes:
            self.theme = theme
        elif theme:
            self.notice(f"there is no theme {theme!r}", "the command palette (ctrl+p) lists them")

    # --- screens ----------------------------------------------------------------------------

    async def action_show(self, name: str) -> None:
        """Bring a screen to the front."""
        while len(self.screen_stack) > 2:  # help or a question is open
            await self.pop_screen()
        if len(self.screen_stack) == 1:
            await self.push_screen(name)
        elif self.screen is not self.get_screen(name):
            await self.switch_screen(name)

    def action_help(self) -> None:
        """Show the keys that work here."""
        from console.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def get_system_commands(self, screen: Screen[Any]) -> "Iterable[SystemCommand]":
        yield from super().get_system_commands(screen)
        for number, name in enumerate(SCREEN_CLASSES, 1):
            show = partial(self.call_later, self.action_show, name)
            yield SystemCommand(f"Show {name.capitalize()}", f"Screen {number}", show)

    def notice(self, text: str, hint: str = "", ink: str = "warn") -> None:
        """One line at the foot of the screen in front."""
        from console.tui.widgets.foot import NoticeBar

        for bar in self.screen.query(NoticeBar):
            bar.show(text, hint, ink)

    @on(OperationFailed)
    def _failed(self, message: OperationFailed) -> None:
        if message.what.startswith("could not "):
            self._show_work("", 0, 0)
        if message.what == _READING_MONEY:
            if self.money_stale_since is not None:
                return  # said once: the top line goes on saying it
            self.money_stale_since = self.money_read_at or time.time()
            self._show_top()
        self.notice(f"{message.what}: {message.text}", message.hint, "bad")

    # --- the top line -------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="money", exit_on_error=False)
    def read_money(self) -> None:
        """Read the figures of the top line."""
        message = attempt(_READING_MONEY, lambda: MoneyRead(self.operations.money()))
        self._tell(message)

    def _tell(self, message: Any) -> None:
        if message is not None and not get_current_worker().is_cancelled:
            self.post_message(message)

    @on(MoneyRead)
    def _show_money(self, message: MoneyRead) -> None:
        self.money, self.money_read_at, self.money_stale_since = message.money, time.time(), None
        self._show_top()

    def _show_top(self) -> None:
        for bar in self.screen.query(TopBar):
            bar.show(self.money, self.money_stale_since)

    # --- data commands ------------------------------------------------------------------------

    def data_command(self, verb: str, tasks: list[str]) -> None:
        """Make or verify datasets in the background, one command at a time.

        Args:
            verb: "make" or "verify".
            tasks: names of tasks; none is all that the store has.
        """
        if self.work_shown[0]:
            self.notice(f"{self.work_shown[0]}: one data command at a time")
            return
        self._show_work(_DATA_VERBS[verb], 0, 0)
        self._run_data_command(verb, tasks)

    @work(thread=True, group="data", exit_on_error=False)
    def _run_data_command(self, verb: str, tasks: list[str]) -> None:
        worker = get_current_worker()

        def progress(what: str, done: int, total: int) -> None:
            if worker.is_cancelled:
                raise UpsError("the console was left")
            self.post_message(DataProgressed(verb, what, done, total))

        def command() -> DataChanged:
            if verb == "make":
                self.operations.make_data(tasks, progress=progress)
                return DataChanged(verb, tasks, {})
            return DataChanged(verb, tasks, self.operations.verify_data(tasks, progress))

        message = attempt(f"could not {verb} {', '.join(tasks) or 'the data'}", command)
        self.post_message(message or DataChanged(verb, tasks, {}))

    @on(DataProgressed)
    def _data_progressed(self, message: DataProgressed) -> None:
        self._show_work(f"{_DATA_VERBS[message.verb]} {message.what}", message.done, message.total)

    @on(DataChanged)
    def _data_changed(self, message: DataChanged) -> None:
        self._show_work("", 0, 0)
        bad = [f"{task} is {state}" for task, state in message.states.items() if state != "verified"]
        what = ", ".join(message.tasks) or "all data"
        if bad:
            self.notice("; ".join(bad), "make or import it again", "bad")
        else:
            self.notice(f"{what}: {_DATA_DONE[message.verb]}", ink="good")
        self._refresh_screen()

    def _show_work(self, what: str, done: int, total: int) -> None:
        self.work_shown = (what, done, total)
        from console.tui.widgets.foot import WorkBar

        for bar in self.screen.query(WorkBar):
            bar.show(what, done, total)

    def _refresh_screen(self) -> None:
        from console.tui.screens.base import ConsoleScreen

        if isinstance(self.screen, ConsoleScreen):
            self.screen.refresh_data()

    # --- teardown -----------------------------------------------------------------------------

    def tear_down(self, targets: list[str], loses: str) -> None:
        """Open the five-second window for these instances or runs."""
        if self.teardowns.ask(targets, loses):
            self._show_teardown()
            self.set_timer(0.25, self._tick_teardown)
        else:
            self.notice("it is being torn down already")

    def action_take_back(self) -> None:
        """Close the window: nothing is torn down."""
        saved = self.teardowns.take_back()
        if saved:
            self._show_teardown()
            self.notice(f"{', '.join(saved)} stays", "nothing was done", "good")

    def _tick_teardown(self) -> None:
        begun = self.teardowns.due()
        if begun and len(self.teardowns.running) == len(begun):
            self._tear_down(self.teardowns.running[0])
        if self.teardowns.waiting:
            self.set_timer(0.25, self._tick_teardown)
        self._show_teardown()

    @work(thread=True, group="teardown", exit_on_error=False)
    def _tear_down(self, target: str) -> None:
        def steps() -> TeardownEnded:
            for step in self.operations.teardown(target):
                self.post_message(TeardownStepped(target, step))
            return TeardownEnded(target, None)

        message = attempt(f"tearing down {target}", steps)
        if isinstance(message, OperationFailed):
            message = TeardownEnded(target, f"{message.text} {message.hint}".strip())
        if message is not None:
            self.post_message(message)

    @on(TeardownStepped)
    def _stepped(self, message: TeardownStepped) -> None:
        step = message.step
        ink = "good" if step.done else "warn" if step.text.startswith("!") else "text"
        self.teardowns.note(step.text, ink, "✓" if step.done else "·")
        self._show_teardown()

    @on(TeardownEnded)
    def _ended(self, message: TeardownEnded) -> None:
        if message.error is not None:
            self.teardowns.note(f"{message.target}: NOT verified: {message.error}", "bad", "✗")
        self.teardowns.running = [t for t in self.teardowns.running if t != message.target]
        if self.teardowns.running:
            self._tear_down(self.teardowns.running[0])
        elif message.error is None:
            self.set_timer(15.0, self._forget_teardown)
        self._show_teardown()
        self.read_money()
        self._refresh_screen()

    def _forget_teardown(self) -> None:
        if not self.teardowns.busy:
            self.teardowns.lines = []
            self._show_teardown()

    def _show_teardown(self) -> None:
        from console.tui.widgets.foot import TeardownBar

        for bar in self.screen.query(TeardownBar):
            bar.show(self.teardowns.rows())

    # --- leaving --------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leave; what runs goes on. Asks again where leaving would stop something."""
        again = time.monotonic() - self._asked_to_leave_at < _LEAVE_AGAIN_SECONDS
        reason = self._reason_to_stay()
        if reason and not again:
            self._asked_to_leave_at = time.monotonic()
            self.notice(reason, "q again leaves all the same")
            return
        self.exit(message=self._parting_words())

    def _reason_to_stay(self) -> str:
        if self.teardowns.waiting:
            return f"{', '.join(self.teardowns.waiting)} is not torn down yet"
        if self.teardowns.running:
            return f"{self.teardowns.running[0]} is being torn down: leaving waits for the step at work"
        return f"{self.work_shown[0]} stops when you leave" if self.work_shown[0] else ""

    def _parting_words(self) -> str | None:
        money = self.money
        if money is None or not money.running:
            return None
        noun = "instance goes" if money.running == 1 else "instances go"
        return (
            f"{money.running} {noun} on at ${money.usd_per_hour:.2f}/h, today ${money.usd_today:.2f}; "
            "`ups-console` comes back to it, `ups-console fleet` lists, `ups-console destroy ID` ends."
        )


def run_console(operations: "Operations") -> None:
    """Open the console and stay until it is left."""
    UpsConsole(operations).run()
