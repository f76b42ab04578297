"""A finished run played again: Live with a clock that can be stopped, moved and made faster."""

import math
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from console.runs.replay import SPEEDS, Replay
from console.tui.drawing.text import Row, clock
from console.tui.screens.view import ViewScreen
from console.tui.widgets.bars import progress_bar

if TYPE_CHECKING:
    from console.api import InstanceRow
    from console.tui.live_run import LiveRun

_REDRAW_SECONDS = 0.25
_STEP = 0.05
"""Share of the run that a key seeks."""
_BAR = 24


def speed_name(speed: float) -> str:
    """60×, or max."""
    return "max" if math.isinf(speed) else f"{speed:g}×"


class ReplayScreen(ViewScreen):
    """Live over a recording; the keys of its clock come before those of the charts."""

    WITHOUT_LOG = "none: its lines have no times, enter on History shows them"
    FIRST: ClassVar[frozenset[str]] = frozenset({"pause", "seek", "restart", "close"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Back", show=False, priority=True, id="replay.close"),
        Binding("space", "pause", "Pause", priority=True, id="replay.pause"),
        Binding("right", "seek(1)", "5 % on", priority=True, id="replay.on"),
        Binding("left", "seek(-1)", "5 % back", priority=True, id="replay.back"),
        Binding(
            "plus,equals_sign,greater_than_sign", "speed(1)", "Faster", key_display="+", id="replay.faster"
        ),
        Binding("minus,less_than_sign", "speed(-1)", "Slower", key_display="-", id="replay.slower"),
        Binding("m", "full_speed", "Max", show=False, id="replay.max"),
        Binding("home", "restart", "From the start", show=False, priority=True, id="replay.restart"),
    ]

    def __init__(self, source: Replay) -> None:
        super().__init__(source)
        self.replay = source

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(_REDRAW_SECONDS, self._redraw)

    def _redraw(self) -> None:
        """The position moves on also where no event comes."""
        if self.is_active and self.is_whole and not self.replay.clock.is_paused:
            self._show_head()

    # --- the head ----------------------------------------------------------------------------

    def _show_head(self) -> None:
        super()._show_head()
        if self.live is not None:
            self.headline.show(self._headline(self.live))

    def _headline(self, live: "LiveRun") -> Row:
        of = self.replay.clock
        name = f"REPLAY {speed_name(of.speed)} {of.share:.0%}"
        row: Row = [(f" {name}", "accent bold"), (" paused " if of.is_paused else " ", "warn"),
                    *progress_bar(of.share, _BAR), ("  ", "text")]  # fmt: skip
        if of.duration_s is None:
            return [*row, ("reading its events", "muted")]
        row += [(live.view.name or "run", "title"), (f" · {live.run}", "muted")]
        if live.status is not None and live.status.ended:
            row.append((f" · {live.status}", "text"))
        elif live.view.stage:
            epoch = f" epoch {live.view.epoch + 1}" if live.view.epoch is not None else ""
            row.append((f" · {live.view.stage}{epoch}", "text"))
        return row

    def money(self, live: "LiveRun", instance: "InstanceRow | None") -> Row:
        """The time of day in the run; it costs nothing any more."""
        return [(f"at {clock(live.view.last_t)} ", "muted")] if live.view.last_t is not None else []

    # --- keys --------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Stand still, or go on."""
        of = self.replay.clock
        if of.is_paused:
            of.go_on()
        else:
            of.pause()
        self._show_head()

    def action_speed(self, by: int) -> None:
        """The next of the speeds, faster or slower."""
        of = self.replay.clock
        faster = [speed for speed in SPEEDS if speed > of.speed]
        slower = [speed for speed in SPEEDS if speed < of.speed]
        if by > 0 and faster:
            of.set_speed(faster[0])
        elif by < 0 and slower:
            of.set_speed(slower[-1])
        self._show_head()

    def action_full_speed(self) -> None:
        """As fast as it can be read."""
        self.replay.clock.set_speed(math.inf)
        self._show_head()

    def action_seek(self, by: int) -> None:
        """Go 5 % on or back."""
        self._moved(self.replay.clock.seek_by(_STEP * by))

    def action_restart(self) -> None:
        """Play it from the start."""
        self._moved(self.replay.clock.seek(0.0))

    def _moved(self, is_behind: bool) -> None:
        """Begin anew where what is shown has to be taken back."""
        if is_behind:
            self.begin(self.source)
        self._show_head()
