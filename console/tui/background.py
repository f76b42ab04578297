"""What goes on behind all screens: one launch, one data command at a time, and teardowns with their window.

All belong to the app: switching screens neither hides nor stops them.
"""

import threading
from typing import TYPE_CHECKING, TypeVar

from textual import on, work
from textual.app import App
from textual.widget import Widget
from textual.worker import get_current_worker

from console.tui.attempt import attempt
from console.tui.launching import Launching, until_left
from console.tui.messages import (
    DataChanged,
    DataProgressed,
    LaunchFailed,
    LaunchNamed,
    LaunchStepped,
    OperationFailed,
    RunLaunched,
    TeardownEnded,
    TeardownStepped,
)
from console.tui.teardown import Teardowns
from ups.errors import UpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from console.operations import LaunchRequest, Operations
    from console.tui.data_commands import DataCommand

Shown = TypeVar("Shown", bound=Widget)

DATA_FAILED = "could not "
"""Begins the name of every failed data command."""


class BackgroundApp(App[None]):
    """The part of the console that works while screens come and go."""

    def __init__(self, operations: "Operations | Callable[[], Operations]") -> None:
        """
        Args:
            operations: what the screens call; or what makes them when the first one is wanted.
        """
        super().__init__()
        self._operations = operations
        self._making = threading.Lock()
        self.work_shown: tuple[str, int, int] = ("", 0, 0)
        """What a data command is doing, how much of how much; empty while none runs."""
        self.teardowns = Teardowns()
        self.launching = Launching()
        self.selected_run: str | None = None
        """The run that Live shows and `x` acts on."""

    @property
    def operations(self) -> "Operations":
        """What the screens call; also from workers."""
        with self._making:
            if callable(self._operations):
                self._operations = self._operations()
            return self._operations

    def notice(self, text: str, hint: str = "", ink: str = "warn") -> None:
        """One line at the foot of the screen in front."""
        from console.tui.widgets.foot import NoticeBar

        for bar in self.in_front(NoticeBar):
            bar.show(text, hint, ink)

    def in_front(self, kind: type[Shown]) -> "Iterable[Shown]":
        """The widgets of a kind on the screen in front; none while the app starts or ends."""
        return self.screen_stack[-1].query(kind) if self.screen_stack else ()

    def things_changed(self) -> None:
        """Read the top line and the screen in front again; the console says how."""

    # --- data commands ------------------------------------------------------------------------

    def run_data_command(self, command: "DataCommand") -> None:
        """Do something long with data in the background, one command at a time."""
        if self.work_shown[0]:
            self.notice(f"{self.work_shown[0]}: one data command at a time")
            return
        self.show_work(command.doing, 0, 0)
        self._run_data_command(command)

    @work(thread=True, group="data", exit_on_error=False)
    def _run_data_command(self, command: "DataCommand") -> None:
        worker = get_current_worker()

        def progress(what: str, done: int, total: int) -> None:
            if worker.is_cancelled:
                raise UpsError("the console was left")
            self.post_message(DataProgressed(f"{command.doing} {what}", done, total))

        def call() -> DataChanged:
            return DataChanged(command.done, command.call(self.operations, progress))

        message = attempt(f"{DATA_FAILED}{command.what}", call)
        if message is not None:
            self.post_message(message)

    @on(DataProgressed)
    def _data_progressed(self, message: DataProgressed) -> None:
        self.show_work(message.what, message.done, message.total)

    @on(DataChanged)
    def _data_changed(self, message: DataChanged) -> None:
        self.show_work("", 0, 0)
        bad = [f"{name} is {state}" for name, state in message.states.items() if state != "verified"]
        if bad:
            self.notice("; ".join(bad), "make, import or build it again", "bad")
        else:
            self.notice(message.done, ink="good")
        self.things_changed()

    def show_work(self, what: str, done: int, total: int) -> None:
        """Show a data command's progress; an empty `what` hides it."""
        self.work_shown = (what, done, total)
        from console.tui.widgets.foot import WorkBar

        for bar in self.in_front(WorkBar):
            bar.show(what, done, total)

    # --- launch -------------------------------------------------------------------------------

    def launch(self, request: "LaunchRequest", what: str) -> None:
        """Rent, ship and start in the background; one launch at a time.

        Args:
            request: what was checked.
            what: the same in words.
        """
        self.launching.begin(what, rented=request.rent.provider != "local")
        self.show_launch()
        self.set_timer(1.0, self._tick_launch)
        self._launch(request)

    @work(thread=True, group="launch", exit_on_error=False)
    def _launch(self, request: "LaunchRequest") -> None:
        def say(text: str) -> None:
            self.post_message(LaunchStepped(text))

        def named(run: str) -> None:
            self.post_message(LaunchNamed(run))

        told = until_left(say, self.launching.left)
        message = attempt("launching", lambda: RunLaunched(self.operations.launch(request, told, named)))
        if isinstance(message, OperationFailed):
            message = LaunchFailed(message.text, message.hint)
        if message is not None:
            self.post_message(message)

    @on(LaunchNamed)
    async def _launch_named(self, message: LaunchNamed) -> None:
        self.launching.run = self.selected_run = message.run
        await self.follow_launch()

    async def follow_launch(self) -> None:
        """Show the run that is being launched; the console says how."""

    @on(LaunchStepped)
    def _launch_stepped(self, message: LaunchStepped) -> None:
        self.launching.step = message.text
        self.show_launch()
        self.things_changed()

    @on(RunLaunched)
    def _launched(self, message: RunLaunched) -> None:
        what = self.launching.what
        self.launching.end()
        self.show_launch()
        self.notice(
            f"{what}: run {message.launched.run} has started on {message.launched.instance}", ink="good"
        )
        self.things_changed()

    @on(LaunchFailed)
    def _launch_failed(self, message: LaunchFailed) -> None:
        self.launching.end(f"{message.text}   {message.hint}".strip())
        self.show_launch()
        self.things_changed()

    def _tick_launch(self) -> None:
        if self.launching.busy:
            self.show_launch()
            self.set_timer(1.0, self._tick_launch)

    def show_launch(self) -> None:
        """Show how far the launch is."""
        from console.tui.widgets.foot import LaunchBar

        for bar in self.in_front(LaunchBar):
            bar.show(self.launching.row())

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
        self.things_changed()

    def _forget_teardown(self) -> None:
        if not self.teardowns.busy:
            self.teardowns.lines = []
            self._show_teardown()

    def _show_teardown(self) -> None:
        from console.tui.widgets.foot import TeardownBar

        for bar in self.in_front(TeardownBar):
            bar.show(self.teardowns.rows())
