"""What all five screens share: top line, foot, a word when the terminal is too small, workers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import get_current_worker

from console.tui.attempt import attempt
from console.tui.drawing.text import Row, row_width, wrap_row
from console.tui.messages import Pointed, Told
from console.tui.widgets.foot import KeyBar, LaunchBar, NoticeBar, TeardownBar, WorkBar
from console.tui.widgets.panel import Panel
from console.tui.widgets.top import TopBar

if TYPE_CHECKING:
    from console.operations import Operations
    from console.tui.app import UpsConsole

Result = TypeVar("Result")

LEAST_WIDTH, LEAST_HEIGHT = 60, 16
_NARROW, _SHORT = 90, 30
"""Below these a screen gets the class `-narrow` or `-short`."""


class TooSmall(Panel):
    """Stands in for the whole screen where it has no room."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    TooSmall { display: none; width: 100%; height: 100%; layer: above; }
    """

    def draw(self, width: int, height: int) -> list[Row]:
        needs, here = f"needs {LEAST_WIDTH}×{LEAST_HEIGHT}", f"here are {width}×{height}"
        wholes: tuple[tuple[Row, ...], ...] = (
            (
                [(f"ups-console {needs}; {here}.", "warn")],
                [("Enlarge the terminal: nothing is lost.", "muted")],
            ),
            ([(needs, "warn")], [(here, "warn")], [("nothing is lost", "muted")]),
            ([(needs, "warn")],),
        )  # the first that fits; nothing fits where nothing can be read anyhow
        for whole in wholes:
            rows = [line for row in whole for line in wrap_row(row, width)]
            if len(rows) <= height:
                break
        centred: list[Row] = [
            [(" " * max(0, (width - row_width(row)) // 2), "text"), *row] for row in rows[:height]
        ]
        return [*([[]] * max(0, (height - len(rows)) // 2)), *centred]


class ConsoleScreen(Screen[None]):
    """A screen of the console. Subclasses provide `body` and say what to read in `refresh_data`."""

    NAME: ClassVar[str] = ""
    """As in the top line."""
    DEFAULT_CSS = """
    ConsoleScreen { layers: base above; background: $background; }
    ConsoleScreen > #foot { dock: bottom; height: auto; }
    ConsoleScreen.-too-small > * { display: none; }
    ConsoleScreen.-too-small > TooSmall { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        # By name, as they are wanted with every message.
        self.top_bar = TopBar(self.NAME)
        self.key_bar = KeyBar()

    @property
    def ups(self) -> "UpsConsole":
        """The app, by its own type."""
        from console.tui.app import UpsConsole

        assert isinstance(self.app, UpsConsole)
        return self.app

    def body(self) -> Iterable[Widget]:
        """The widgets between top line and foot."""
        raise NotImplementedError

    def refresh_data(self) -> None:
        """Read again what the screen shows; called when it comes to the front."""

    def possible(self, action: str) -> bool:
        """Whether an action has something to act on now; where not, its key is not offered at the foot.

        The key works all the same, and says why it cannot.

        Args:
            action: as the binding names it, without arguments.
        """
        return True

    def compose(self) -> ComposeResult:
        yield self.top_bar
        with Vertical(id="foot"):
            yield NoticeBar()
            yield TeardownBar()
            yield LaunchBar()
            yield WorkBar()
            yield self.key_bar
        yield from self.body()
        yield TooSmall()

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.set_class(width < LEAST_WIDTH or height < LEAST_HEIGHT, "-too-small")
        self.set_class(width < _NARROW, "-narrow")
        self.set_class(height < _SHORT, "-short")

    def on_screen_resume(self) -> None:
        self.top_bar.show(self.ups.money, self.ups.money_stale_since)
        self.query_one(TeardownBar).show(self.ups.teardowns.rows())
        self.query_one(LaunchBar).show(self.ups.launching.row())
        self.query_one(WorkBar).show(*self.ups.work_shown)
        self.key_bar.gather()
        self.refresh_data()

    # --- workers ----------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether its widgets are there: when the console is left they go before its last timers.

        Those of a screen that is not in front go one by one then, in any order.
        """
        return self.top_bar.is_attached and self.app.is_running

    async def _on_message(self, message: Message) -> None:
        if isinstance(message, Told) and not self.is_whole:
            return  # a worker's last word
        await super()._on_message(message)
        if isinstance(message, Told | Pointed) and self.is_whole:
            self.key_bar.gather()

    def operate(
        self,
        what: str,
        call: "Callable[[Operations], Result]",
        told: Callable[[Result], Message | None],
        *,
        group: str,
        exclusive: bool = True,
    ) -> None:
        """Call an operation in a thread; its result arrives as a message, its error as a notice.

        Args:
            what: The operation in words, for the notice.
            call: Calls the operation; runs in the thread.
            told: Makes the message of the result; runs in the thread.
            group: A newer call of the same group makes an older one's result void.
            exclusive: Whether it does.
        """
        operations = self.ups.operations

        def work() -> None:
            worker = get_current_worker()
            message = attempt(what, lambda: told(call(operations)))
            if message is not None and not worker.is_cancelled:
                self.post_message(message)

        self.run_worker(work, thread=True, exclusive=exclusive, group=group, exit_on_error=False)
