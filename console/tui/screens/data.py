"""Data: what is in the bucket, is it right, what is missing?"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from console.api import CacheRow, DatasetRow
from console.tui.drawing.text import Row, count, size
from console.tui.messages import DataRead
from console.tui.screens.base import ConsoleScreen
from console.tui.screens.launch import data_state
from console.tui.widgets.table import Cell, CheckList, Column, Table, TableRow
from console.tui.widgets.text import TextPanel
from ups.tasks import TASK_SPECS

_SPLITS = ("train", "val", "test")


class DataScreen(ConsoleScreen):
    """All tasks with their datasets and caches."""

    NAME = "Data"
    CSS_PATH = "data.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "details", "Details", id="data.details"),
        Binding("m", "make", "Make reference data", id="data.make"),
        Binding("v", "verify", "Verify", id="data.verify"),
        Binding("r", "reread", "Read again", id="data.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.datasets: dict[str, DatasetRow] = {}
        self.caches: Sequence[CacheRow] = ()

    def body(self) -> Iterable[Widget]:
        yield CheckList(
            [Column("task", flex=True)], title="datasets", empty="reading the store", id="datasets"
        )
        yield TextPanel(heading="details", id="details")

    def on_mount(self) -> None:
        self.query_one(CheckList).focus()

    def refresh_data(self) -> None:
        self.operate(
            "reading the store",
            lambda ops: (ops.datasets(), ops.caches()),
            lambda read: DataRead(*read),
            group="data-read",
        )

    # --- what was read -----------------------------------------------------------------------

    @on(DataRead)
    def _show_data(self, message: DataRead) -> None:
        self.datasets = {row.task: row for row in message.datasets}
        self.caches = message.caches
        versions = sorted({cache.version for cache in message.caches})
        table = self.query_one(CheckList)
        table.columns = [
            Column("task", flex=True), Column("state"),
            *(Column(split, align="right") for split in _SPLITS),
            Column("samples", align="right", optional=76), Column("source", most=18, optional=100),
            *(Column(version, most=20, optional=90) for version in versions),
            Column("runs", align="right", optional=70),
        ]  # fmt: skip
        table.set_rows(dataset_cells(row, versions, message.caches) for row in _in_order(message.datasets))
        total = sum(split.bytes for row in message.datasets for split in row.splits.values())
        table.note = [(f"{size(total)} in the store", "muted")]
        self._show_details()

    @on(Table.Moved)
    def _show_details(self) -> None:
        row = self.datasets.get(self.query_one(CheckList).cursor_key or "")
        if row is not None:
            caches = [cache for cache in self.caches if cache.task == row.task]
            heading: Row = [("● ", f"task:{row.task}"), (row.task, "title")]
            self.query_one("#details", TextPanel).show(details(row, caches), heading)

    @on(Table.Selected)
    def action_details(self) -> None:
        """Go to the details of the task under the cursor."""
        self.query_one("#details", TextPanel).focus()

    # --- keys --------------------------------------------------------------------------------

    def _chosen(self) -> list[str]:
        """The ticked tasks, else the one under the cursor."""
        table = self.query_one(CheckList)
        return table.ticked_in_order or ([table.cursor_key] if table.cursor_key else [])

    def action_make(self) -> None:
        """Make reference data for the chosen tasks."""
        chosen = [self.datasets[task] for task in self._chosen()]
        able = [row.task for row in chosen if row.can_make and row.state == "missing"]
        if able:
            self.ups.data_command("make", able)
            return
        unable = [row.task for row in chosen if not row.can_make]
        if unable:
            self.ups.notice(
                f"no built-in solver makes {', '.join(unable)}", "`ups-console data import TASK FILE…`"
            )
        else:
            self.ups.notice(
                "their data exist already", "`ups-console data make TASK --replace` makes them anew"
            )

    def action_verify(self) -> None:
        """Read every byte of the chosen datasets and compare the checksums."""
        present = [task for task in self._chosen() if self.datasets[task].state != "missing"]
        if present:
            self.ups.data_command("verify", present)
        else:
            self.ups.notice("there is nothing to verify", "m makes reference data")

    def action_reread(self) -> None:
        """Read the store again."""
        self.refresh_data()


def _in_order(rows: Sequence[DatasetRow]) -> list[DatasetRow]:
    """What is there first, then what can be made, then the rest."""
    return sorted(
        rows, key=lambda row: (row.state == "missing") + (row.state == "missing" and not row.can_make)
    )


def dataset_cells(row: DatasetRow, versions: Sequence[str], caches: Sequence[CacheRow]) -> TableRow:
    """The table row of a task."""
    mark = (("✓", "good") if row.state == "verified" else ("!", "warn"),)
    splits: list[Cell] = []
    for name in _SPLITS:
        split = row.splits.get(name)
        splits.append([(size(split.bytes) + " ", "text"), *mark] if split else ("–", "muted"))
    samples = "/".join(count(row.splits[name].samples) for name in _SPLITS if name in row.splits)
    source = ", ".join(row.provenance[:1]) + (
        f" +{len(row.provenance) - 1}" if len(row.provenance) > 1 else ""
    )
    known = row.state != "missing"
    cells: list[Cell] = [
        (row.task, f"task:{row.task}" if known or row.can_make else "muted"),
        data_state(row) if row.state != "verified" else ("verified", "good"),
        *splits,
        samples,
        source,
        *(_cache_cell(row.task, version, caches) for version in versions),
        str(row.used_by) if row.used_by else "",
    ]
    return TableRow(row.task, cells)


def _cache_cell(task: str, version: str, caches: Sequence[CacheRow]) -> Cell:
    found = [cache for cache in caches if cache.task == task and cache.version == version]
    if not found:
        return ("–", "muted")
    states = {cache.state for cache in found}
    total = size(sum(cache.bytes for cache in found))
    return (
        (f"✓ {total}", "good") if states == {"verified"} else (f"{'/'.join(sorted(states))} {total}", "warn")
    )


def details(row: DatasetRow, caches: Sequence[CacheRow]) -> list[Row]:
    """Everything known of a dataset."""
    spec = TASK_SPECS[row.task]
    rows: list[Row] = [[(spec.title, "title"), (f"   {spec.equation}", "text")]]
    domain = " × ".join(f"[{low:g}, {high:g}]" for low, high in spec.domain)
    rows.append([(f"{', '.join(spec.fields)} on {domain}, {spec.boundary} boundary", "muted")])
    for name, split in row.splits.items():
        shape = "×".join(str(n) for n in split.shape)
        rows.append(
            [(f"{name:<6}", "muted"), (f"{split.samples} samples, {shape}, {size(split.bytes)}", "text")]
        )
    for name, values in row.parameters.items():
        shown = ", ".join(f"{value:g}" for value in values[:12]) + (" …" if len(values) > 12 else "")
        rows.append([(f"{name:<6}", "muted"), (shown, "text")])
    if row.provenance:
        rows.append([("from  ", "muted"), (", ".join(row.provenance), "text")])
    for cache in caches:
        text = f"{cache.version} {cache.split}: {cache.state}, {cache.samples} samples, {size(cache.bytes)} "
        rows.append(
            [("cache ", "muted"), (text + cache.note, "text" if cache.state == "verified" else "warn")]
        )
    if row.note:
        rows.append([(row.note, "warn")])
    if row.state == "missing":
        how = "m makes reference data" if row.can_make else f"`ups-console data import {row.task} FILE…`"
        rows.append([("not in the store: ", "muted"), (how, "accent")])
    return rows
