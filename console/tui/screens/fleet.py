"""Fleet: what am I paying for, and why?"""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import on
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.api import FleetState, InstanceRow, VolumeRow
from console.fleet.model import LIVING, InstanceKind
from console.tui.drawing.text import Row, usd
from console.tui.messages import (
    FleetRead,
    PageRead,
    ShellReady,
    TransitionsRead,
    VolumeDeleted,
)
from console.tui.screens.base import ConsoleScreen
from console.tui.screens.fleet_rows import details, instance_cells, volume_cells, volume_details
from console.tui.widgets.foot import WrappedBar
from console.tui.widgets.table import Column, Table
from console.tui.widgets.text import TextPanel

_POLL_SECONDS = 5.0
_ASK_SECONDS = 60.0
"""Between two questions to the providers; in between the ledger is read."""
_VOLUME = "volume:"


class FleetScreen(ConsoleScreen):
    """All instances and volumes, and what is known of the one under the cursor."""

    NAME = "Fleet"
    CSS_PATH = "fleet.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "tear_down", "Teardown", id="fleet.teardown"),
        Binding("X", "tear_down_all", "Teardown all", id="fleet.teardown_all"),
        Binding("r", "reread", "Ask again", id="fleet.reread"),
        Binding("l", "provider_log", "Provider's log", id="fleet.log"),
        Binding("s", "shell", "Shell", id="fleet.shell"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.instances: dict[str, InstanceRow] = {}
        self.volumes: dict[str, VolumeRow] = {}

    def body(self) -> Iterable[Widget]:
        yield WrappedBar(id="problems")
        yield Table(
            [Column("instance", most=24), Column("where", optional=90), Column("what", flex=True),
             Column("state"), Column("age", align="right", optional=84), Column("$/h", align="right"),
             Column("spent", align="right"), Column("GPU", align="right", optional=104),
             Column("run", most=28, optional=66), Column("last sign", optional=112)],
            title="instances", empty="nothing is rented, and nothing ever was from here", id="instances",
        )  # fmt: skip
        yield TextPanel(heading="history", id="details")

    def on_mount(self) -> None:
        self.query_one(Table).focus()
        self.set_interval(_POLL_SECONDS, self._poll)

    def refresh_data(self) -> None:
        self._look(0.0)

    def _look(self, oldest_s: float) -> None:
        """Read the fleet; what the providers said may be so many seconds old."""
        self.operate(
            "asking the providers", lambda ops: ops.fleet_state(oldest_s=oldest_s), FleetRead, group="fleet"
        )
        self._read_transitions()

    def _poll(self) -> None:
        if self.is_active and self.is_whole:
            self._look(_ASK_SECONDS)

    # --- what was read -----------------------------------------------------------------------

    @on(FleetRead)
    def _show_fleet(self, message: FleetRead) -> None:
        state = message.state
        self.instances = {row.label: row for row in state.instances}
        self.volumes = {_VOLUME + row.id: row for row in state.volumes}
        table, now = self.query_one(Table), time.time()
        rows = [(_urgency_of_instance(row), instance_cells(row, now)) for row in state.instances] + [
            (_urgency_of_volume(row), volume_cells(key, row, now)) for key, row in self.volumes.items()
        ]
        table.set_rows(row for _, row in sorted(rows, key=lambda pair: pair[0]))
        table.note = _note(state)
        table.changed()
        self.query_one("#problems", WrappedBar).show(_problems(state))

    @on(Table.Moved)
    def _read_transitions(self) -> None:
        key = self.query_one(Table).cursor_key
        if key in self.volumes:
            volume = self.volumes[key]
            heading: Row = [("volume ", "muted"), (volume.id, "title")]
            self.query_one("#details", TextPanel).show(volume_details(volume), heading)
        elif key is not None:
            self.operate(
                "reading the history",
                lambda ops: (ops.transitions(key), ops.guards(key)),
                lambda found: TransitionsRead(key, *found),
                group="transitions",
            )

    @on(TransitionsRead)
    def _show_transitions(self, message: TransitionsRead) -> None:
        row = self.instances.get(message.label)
        if row is None or message.label != self.query_one(Table).cursor_key:
            return
        heading: Row = [("history of ", "muted"), (row.instance or row.label, "title")]
        rows = details(row, message.transitions, message.guards, time.time())
        self.query_one("#details", TextPanel).show(rows, heading)

    # --- keys --------------------------------------------------------------------------------

    def possible(self, action: str) -> bool:
        """Most keys are about what lives and is not somebody else's."""
        key = self.query_one(Table).cursor_key or ""
        row = self.instances.get(key)
        lives = row is not None and row.state in LIVING
        if action == "tear_down":
            ours = row is not None and row.kind is not InstanceKind.FOREIGN
            return (lives and ours) or (key in self.volumes and self.volumes[key].ours)
        if action == "tear_down_all":
            return any(r.state in LIVING and r.kind in _TORN_DOWN_BY_ALL for r in self.instances.values())
        return lives if action in ("provider_log", "shell") else True

    def action_reread(self) -> None:
        """Ask the providers now."""
        self.refresh_data()

    def action_tear_down(self) -> None:
        """Tear down the instance, or delete the volume, under the cursor."""
        key = self.query_one(Table).cursor_key or ""
        row = self.instances.get(key)
        if key in self.volumes:
            self._ask_to_delete(self.volumes[key])
        elif row is None:
            self.ups.notice("there is no instance here")
        elif row.kind is InstanceKind.FOREIGN:
            self.ups.notice("that is somebody else's: it is never touched")
        elif row.kind is InstanceKind.OTHER_CONSOLE:
            self._ask_word(
                f"{row.instance} was rented by another console: a second laptop, or a home that was lost",
                "destroy",
                lambda: self.ups.tear_down([row.instance or row.label], "nothing is fetched"),
            )
        elif row.state not in LIVING:
            self.ups.notice(f"it is {row.state} already")
        else:
            loses = "first the artifacts are fetched" if row.run else "no run of ours is on it"
            self.ups.tear_down([row.instance or row.label], loses)

    def action_tear_down_all(self) -> None:
        """Tear down everything that is ours, after a typed word."""
        ours = [r for r in self.instances.values() if r.state in LIVING and r.kind in _TORN_DOWN_BY_ALL]
        if not ours:
            self.ups.notice("nothing of ours lives")
            return
        rate = sum(row.usd_per_hour for row in ours)
        names = [row.instance or row.label for row in ours]
        self._ask_word(
            f"tears down {len(ours)} instance{'s' * (len(ours) != 1)}, {usd(rate)}/h in all",
            "destroy",
            lambda: self.ups.tear_down(names, "artifacts are fetched first"),
        )

    def _ask_word(self, question: str, word: str, then: Callable[[], None]) -> None:
        from console.tui.screens.typed_word import TypedWord

        self.app.push_screen(TypedWord(question, word), lambda typed: then() if typed else None)

    def _ask_to_delete(self, volume: VolumeRow) -> None:
        if not volume.ours:
            self.ups.notice("that volume is somebody else's: it is never touched")
            return

        def delete() -> None:
            self.operate(
                "deleting the volume",
                lambda ops: ops.delete_volume(volume.provider, volume.id),
                lambda _: VolumeDeleted(volume.id),
                group="volume",
            )

        question = f"deletes the volume {volume.id}, {volume.size_gb:.0f} GB, with all that is on it"
        self._ask_word(question, "delete", delete)

    @on(VolumeDeleted)
    def _volume_deleted(self, message: VolumeDeleted) -> None:
        self.ups.notice(f"the volume {message.volume} is gone", ink="good")
        self.refresh_data()

    def action_provider_log(self) -> None:
        """Show the provider's own log: all there is of a box that never opens SSH."""
        row = self._living_row()
        if row is not None:
            self.operate(
                "reading the provider's log",
                lambda ops: ops.provider_log(row.label),
                lambda lines: PageRead(f"{row.provider}'s log of {row.instance}", lines),
                group="provider-log",
            )

    @on(PageRead)
    def _show_page(self, message: PageRead) -> None:
        self.ups.show_text(message.heading, [[(line, "text")] for line in message.lines])

    def action_shell(self) -> None:
        """Open the user's own ssh client on the box; the console waits."""
        row = self._living_row()
        if row is not None:
            self.operate("opening a shell", lambda ops: ops.ssh_command(row.label), ShellReady, group="shell")

    @on(ShellReady)
    def _open_shell(self, message: ShellReady) -> None:
        try:
            with self.app.suspend():
                subprocess.run(message.argv, check=False)
        except SuspendNotSupported:  # in a browser there is no terminal to lend
            self.ups.notice("no shell can be opened from here; in a terminal", shlex.join(message.argv))
        self.refresh()

    def _living_row(self) -> InstanceRow | None:
        row = self.instances.get(self.query_one(Table).cursor_key or "")
        if row is None or row.state not in LIVING:
            self.ups.notice("there is no living instance here")
            return None
        return row


_TORN_DOWN_BY_ALL = (InstanceKind.OURS, InstanceKind.ORPHAN)


def _urgency_of_instance(row: InstanceRow) -> int:
    """What leaks money comes first, then what lives, then what is gone."""
    if row.kind is InstanceKind.ORPHAN:
        return 0
    return 2 if row.state in LIVING else 4


def _urgency_of_volume(volume: VolumeRow) -> int:
    return 1 if volume.ours and volume.instance is None else 3


def _problems(state: FleetState) -> Row:
    """Which providers did not answer, and that their rows may be old."""
    row: Row = []
    for problem in state.problems:
        row.append((f" ✗ {problem.provider} does not answer, its rows are as last seen: ", "bad"))
        row += [(problem.message, "bad"), (f"  {problem.hint}", "muted")]
    return row


def _note(state: FleetState) -> Row:
    living = [row for row in state.instances if row.state in LIVING]
    rate = sum(row.usd_per_hour for row in living if row.kind is not InstanceKind.FOREIGN)
    rate += sum(volume.usd_per_hour for volume in state.volumes if volume.ours)
    return [(f"{len(living)} living, {usd(rate)}/h", "muted")]
