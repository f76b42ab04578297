"""Instances and volumes as rows of the Fleet screen, and what is told of the one under the cursor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.api import InstanceRow, Transition, VolumeRow
from console.fleet.model import LIVING, InstanceKind, InstanceState
from console.tui.drawing.text import Row, ago, clock, duration, usd
from console.tui.widgets.table import Cell, TableRow

if TYPE_CHECKING:
    from console.tui.drawing.text import Ink


def instance_cells(row: InstanceRow, now: float) -> TableRow:
    """The table row of an instance."""
    living = row.state in LIVING
    mark, ink = _mark(row, living)
    run: Cell = row.run or ""
    if row.kind is InstanceKind.ORPHAN:
        run = ("orphan: x ends it", "bad")
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
        f"{row.gpu_percent:.0f} %" if row.gpu_percent is not None else "–",
        run,
        ago(now - row.last_sign) if row.last_sign else "–",
    ]
    return TableRow(row.label, cells, ink="text" if living else "muted")


def _mark(row: InstanceRow, living: bool) -> "tuple[str, Ink]":
    if row.kind is InstanceKind.ORPHAN:
        return "▲", "bad"
    if row.kind is InstanceKind.FOREIGN:
        return "○", "muted"
    if row.alarm or row.state in (InstanceState.LOST, InstanceState.STOPPED, InstanceState.AMBIGUOUS):
        return "▲", "bad"
    if living and row.stalled:
        return "▲", "warn"
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
    if row.kind is InstanceKind.ORPHAN:
        told: Row = [("nobody here waits for it: ", "bad"), ("x", "key"), (" ends it", "text")]
        return [*told, (f"; its deadline is in {duration(left)}", "muted")]
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


def volume_cells(key: str, volume: VolumeRow, now: float) -> TableRow:
    """The table row of a block volume; one that nobody uses stands out."""
    idle = volume.instance is None and volume.ours
    mark, ink = ("▲", "bad") if idle else ("○", "muted")
    use: Cell = f"on {volume.instance}" if volume.instance else ("on no instance", ink)
    cells: list[Cell] = [
        [(f"{mark} ", ink), (volume.id[:20], "text" if volume.ours else "muted")],
        volume.provider,
        f"volume, {volume.size_gb:.0f} GB",
        ("volume", ink),
        duration(now - volume.created),
        f"{volume.usd_per_hour:.3f}",
        "",
        "–",
        use if volume.ours else ("not ours, left alone", "muted"),
        "–",
    ]
    return TableRow(key, cells, ink="text" if volume.ours else "muted")


def volume_details(volume: VolumeRow) -> list[Row]:
    """What is told of a volume."""
    rows: list[Row] = [[(volume.label, "text")]]
    if not volume.ours:
        return [*rows, [("somebody else's: never touched", "muted")]]
    monthly = usd(volume.usd_per_hour * 730)
    where = f"on {volume.instance}" if volume.instance else "on no instance: it costs all the same"
    return [*rows, [(f"{monthly} a month, {where}", "text" if volume.instance else "bad")],
            [("x", "key"), (" deletes it, with all that is on it", "muted")]]  # fmt: skip


def details(
    row: InstanceRow, transitions: Sequence[Transition], guards: Sequence[str], now: float
) -> list[Row]:
    """When it ends whatever happens, who sees to that, and its history, the newest first."""
    rows: list[Row] = [deadline_row(row, now)]
    if row.alarm:
        rows.insert(0, [(row.alarm, "bad")])
    if row.stalled:
        rows.insert(0, [(row.stalled, "warn"), (": ", "muted"), ("x", "key"), (" ends it", "text")])
    if row.state in LIVING and row.usd_per_hour:
        rows.append([(f"{usd(row.usd)} so far, {usd(row.usd + row.usd_to_end)} at most", "text")])
    if row.status:
        rows.append([(f"{row.provider} says: ", "muted"), (row.status, "text")])
    if row.state in LIVING:
        rows += [[("guard  ", "muted"), (text, "text")] for text in guards]
    return [*rows, *(transition_cells(t) for t in reversed(transitions)), [(row.label, "muted")]]
