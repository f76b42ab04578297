"""Fleet: what am I paying for, and why?"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.api import InstanceRow, Transition
from console.fleet.model import LIVING, InstanceKind, InstanceState
from console.tui.drawing.text import Row, ago, clock, duration, usd
from console.tui.messages import FleetRead, TransitionsRead
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.table import Cell, Column, Table, TableRow
from console.tui.widgets.text import TextPanel

if TYPE_CHECKING:
    from console.tui.drawing.text import Ink

_POLL_SECONDS = 5.0


class FleetScreen(ConsoleScreen):
    """All instances, and the history of the one under the cursor."""

    NAME = "Fleet"
    CSS_PATH = "fleet.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "tear_down", "Teardown", id="fleet.teardown"),
        Binding("X", "tear_down_all", "Teardown all", id="fleet.teardown_all"),
        Binding("r", "reread", "Ask again", id="fleet.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.instances: dict[str, InstanceRow] = {}

    def body(self) -> Iterable[Widget]:
        yield Table(
            [Column("instance", most=24), Column("where", optional=70), Column("what", flex=True),
             Column("state"), Column("age", align="right"), Column("$/h", align="right"),
             Column("spent", align="right"),
             Column("run", most=28, optional=80), Column("last sign", optional=96)],
            title="instances", empty="nothing is rented, and nothing ever was from here", id="instances",
        )  # fmt: skip
        yield TextPanel(heading="history", id="details")

    def on_mount(self) -> None:
        self.query_one(Table).focus()
        self.set_interval(_POLL_SECONDS, self._poll)

    def refresh_data(self) -> None:
        self.operate("asking the providers", lambda ops: ops.fleet(), FleetRead, group="fleet")
        self._read_transitions()

    def _poll(self) -> None:
        if self.is_active:
            self.refresh_data()

    # --- what was read -----------------------------------------------------------------------

    @on(FleetRead)
    def _show_fleet(self, message: FleetRead) -> None:
        self.instances = {row.label: row for row in message.instances}
        table, now = self.query_one(Table), time.time()
        table.set_rows(instance_cells(row, now) for row in message.instances)
        living = [row for row in message.instances if row.state in LIVING]
        rate = sum(row.usd_per_hour for row in living if row.kind is not InstanceKind.FOREIGN)
        table.note = [(f"{len(living)} living, {usd(rate)}/h", "muted")]

    @on(Table.Moved)
    def _read_transitions(self) -> None:
        label = self.query_one(Table).cursor_key
        if label is not None:
            self.operate(
                "reading the history",
                lambda ops: ops.transitions(label),
                lambda rows: TransitionsRead(label, rows),
                group="transitions",
            )

    @on(TransitionsRead)
    def _show_transitions(self, message: TransitionsRead) -> None:
        row = self.instances.get(message.label)
        if row is None or message.label != self.query_one(Table).cursor_key:
            return
        heading: Row = [("history of ", "muted"), (row.instance or row.label, "title")]
        rows = [deadline_row(row, time.time()), *(transition_cells(t) for t in message.transitions)]
        self.query_one("#details", TextPanel).show([*rows, [(row.label, "muted")]], heading)

    # --- keys --------------------------------------------------------------------------------

    def action_reread(self) -> None:
        """Ask the providers now."""
        self.refresh_data()

    def action_tear_down(self) -> None:
        """Tear down the instance under the cursor."""
        row = self.instances.get(self.query_one(Table).cursor_key or "")
        if row is None:
            self.ups.notice("there is no instance here")
        elif row.kind is InstanceKind.FOREIGN:
            self.ups.notice("that is somebody else's: it is never touched")
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
        from console.tui.screens.typed_word import TypedWord

        rate = sum(row.usd_per_hour for row in ours)
        question = f"tears down {len(ours)} instance{'s' * (len(ours) != 1)}, {usd(rate)}/h in all"
        self.app.push_screen(
            TypedWord(question, "destroy"), lambda typed: self._all_confirmed(ours, bool(typed))
        )

    def _all_confirmed(self, rows: list[InstanceRow], typed: bool) -> None:
        if typed:
            self.ups.tear_down([row.instance or row.label for row in rows], "artifacts are fetched first")


_TORN_DOWN_BY_ALL = (InstanceKind.OURS, InstanceKind.ORPHAN)


def instance_cells(row: InstanceRow, now: float) -> TableRow:
    """The table row of an instance."""
    living = row.state in LIVING
    mark, ink = _mark(row, living)
    run: Cell = row.run or ""
    if row.kind is InstanceKind.ORPHAN:
        run = ("none: orphan, x destroys it", "bad")
    elif row.kind is InstanceKind.FOREIGN:
        run = ("not ours, left alone", "muted")
    elif row.kind is InstanceKind.OTHER_CONSOLE:
        run = ("another console's", "bad" if row.deadline < now else "muted")
    cells: list[Cell] = [
        [(f"{mark} ", ink), (row.instance or row.label, "text" if living else "muted")],
        row.provider,
        row.what,
        (str(row.state), ink),
        duration(now - row.created) if living else "",
        f"{row.usd_per_hour:.2f}",
        usd(row.usd),
        run,
        ago(now - row.last_sign) if row.last_sign else "–",
    ]
    return TableRow(row.label, cells, ink="text" if living else "muted")


def _mark(row: InstanceRow, living: bool) -> "tuple[str, Ink]":
    if row.kind is InstanceKind.ORPHAN:
        return "▲", "bad"
    if row.kind is InstanceKind.FOREIGN:
        return "○", "muted"
    if row.state in (InstanceState.LOST, InstanceState.STOPPED, InstanceState.AMBIGUOUS):
        return "▲", "bad"
    if living:
        return "●", "good"
    return ("✓", "muted") if row.state is InstanceState.DESTROYED else ("·", "muted")


def deadline_row(row: InstanceRow, now: float) -> Row:
    """When the instance ends whatever happens."""
    if row.state not in LIVING:
        return [("gone: costs nothing any more", "muted")]
    if row.kind is InstanceKind.FOREIGN:
        return [("somebody else's: never touched", "muted")]
    left = row.deadline - now
    if left <= 0:
        return [(f"past its deadline since {duration(-left)}", "bad")]
    return [("ends by itself when its run is over, at the latest in ", "muted"), (duration(left), "text")]


def transition_cells(transition: Transition) -> Row:
    """One line of an instance's history."""
    after = transition.after
    ink = "bad" if after in (InstanceState.LOST, InstanceState.AMBIGUOUS) else "text"
    before = f"{transition.before} → " if transition.before is not None else ""
    return [
        (clock(transition.t) + "  ", "muted"),
        (before, "muted"),
        (f"{after}  ", ink),
        (transition.cause, "text"),
    ]
