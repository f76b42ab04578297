"""Data: what is in the bucket, is it right, what is missing, and what does it cost?"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from console.api import DatasetRow, Inventory
from console.tui import data_commands
from console.tui.drawing.text import Row, size
from console.tui.messages import DeletionWeighed, InventoryRead, OperationFailed
from console.tui.screens.base import ConsoleScreen
from console.tui.screens.data_rows import (
    CACHE_COLUMNS,
    CacheGroup,
    cache_cells,
    cache_details,
    dataset_cells,
    dataset_columns,
    dataset_details,
    grouped,
    in_order,
    usage_note,
)
from console.tui.widgets.table import CheckList, Column, Table
from console.tui.widgets.text import TextPanel

_READING = "reading the store"
_USUAL_VERSION = "upt_128d_128tok"
"""Proposed where the store has no cache yet."""


class DataScreen(ConsoleScreen):
    """All tasks with their datasets, and the latent caches."""

    NAME = "Data"
    CSS_PATH = "data.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "details", "Details", id="data.details"),
        Binding("m", "make", "Make data", id="data.make"),
        Binding("c", "cache", "Build cache", id="data.cache"),
        Binding("f", "fetch", "Fetch", id="data.fetch"),
        Binding("v", "verify", "Verify", id="data.verify"),
        Binding("D", "delete", "Delete", id="data.delete"),
        Binding("r", "reread", "Read again", id="data.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.inventory: Inventory | None = None
        self.datasets: dict[str, DatasetRow] = {}
        self.groups: dict[str, CacheGroup] = {}
        """Version and task → caches."""
        self.shows_caches = False
        """The details, and the keys, are about the table of caches."""

    def body(self) -> Iterable[Widget]:
        yield CheckList([Column("task", flex=True)], title="datasets", empty=_READING, id="datasets")
        with Horizontal(id="lower"):
            yield CheckList(CACHE_COLUMNS, title="caches", empty=_READING, id="caches")
            yield TextPanel(heading="details", id="details")

    def on_mount(self) -> None:
        self._table.focus()

    @property
    def _table(self) -> CheckList:
        """The table that the keys are about."""
        return self.query_one("#caches" if self.shows_caches else "#datasets", CheckList)

    def refresh_data(self) -> None:
        self.query_one("#datasets", CheckList).note = [(_READING, "muted")]
        self.query_one("#datasets", CheckList).changed()
        self.operate(_READING, lambda ops: ops.inventory(), InventoryRead, group="data-read")

    # --- what was read -----------------------------------------------------------------------

    @on(InventoryRead)
    def _show_inventory(self, message: InventoryRead) -> None:
        found, now = message.inventory, time.time()
        self.inventory = found
        self.datasets = {row.task: row for row in found.datasets}
        self.groups = grouped(found.caches)
        versions = list(dict.fromkeys(group.version for group in self.groups.values()))
        rent = found.usage.usd_per_month is not None
        table = self.query_one("#datasets", CheckList)
        table.columns = dataset_columns(versions, rent=rent)
        table.set_rows(
            dataset_cells(row, self._groups_of(row.task, versions), now, rent=rent)
            for row in in_order(found.datasets)
        )
        table.note = usage_note(found.usage)
        caches = self.query_one("#caches", CheckList)
        caches.empty = "none yet: c builds one for the tasks above"
        caches.set_rows(cache_cells(group) for group in self.groups.values())
        caches.note = [(size(found.usage.areas["caches"].bytes), "muted")] if self.groups else []
        self._show_details()

    def _groups_of(self, task: str, versions: Sequence[str]) -> list[CacheGroup]:
        """The task's caches of each version, empty ones too."""
        return [self.groups.get(f"{version}/{task}", CacheGroup(version, task, ())) for version in versions]

    @on(OperationFailed)
    def _reading_failed(self, message: OperationFailed) -> None:
        if message.what == _READING:
            for table in self.query(CheckList):
                table.empty = "it could not be read: r tries again"
                table.note = [] if self.inventory is None else [("as it was: it could not be read", "warn")]
                table.changed()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, CheckList):
            self.shows_caches = event.widget.id == "caches"
            self._show_details()

    @on(Table.Moved)
    def _show_details(self) -> None:
        if self.inventory is None:
            return
        panel, now = self.query_one("#details", TextPanel), time.time()
        key = self._table.cursor_key or ""
        if self.shows_caches and key in self.groups:
            group = self.groups[key]
            heading: Row = [("● ", f"task:{group.task}"), (f"{group.version}, {group.task}", "title")]
            panel.show(cache_details(group, now), heading)
        elif not self.shows_caches and key in self.datasets:
            own = [group for group in self.groups.values() if group.task == key]
            heading = [("● ", f"task:{key}"), (key, "title")]
            panel.show(dataset_details(self.datasets[key], own, self.inventory.usage, now), heading)

    @on(Table.Selected)
    def action_details(self) -> None:
        """Go to the details of what is under the cursor."""
        self.query_one("#details", TextPanel).focus()

    # --- keys --------------------------------------------------------------------------------

    def _chosen(self) -> list[str]:
        """The ticked rows of the table in use, else the one under the cursor."""
        table = self._table
        return table.ticked_in_order or ([table.cursor_key] if table.cursor_key else [])

    def _chosen_tasks(self) -> list[str]:
        """The tasks of the chosen rows that the store has anything of."""
        return [task for task in self._chosen() if self.datasets[task].state != "missing"]

    def _chosen_caches(self) -> tuple[str, list[str]]:
        """The version under the cursor, and the chosen tasks of it."""
        groups = [self.groups[key] for key in self._chosen()]
        under = self.groups.get(self._table.cursor_key or "")
        version = under.version if under in groups and under is not None else groups[0].version
        return version, [group.task for group in groups if group.version == version]

    def _has_rows(self) -> bool:
        if self._table.cursor_key is None:
            self.ups.notice("there is nothing here" if self.inventory else _READING)
        return self._table.cursor_key is not None

    def possible(self, action: str) -> bool:
        """All but reading again is about a row; only missing data is made, only what is there else."""
        if action == "reread":
            return True
        key = self._table.cursor_key
        if key is None or self.shows_caches:
            return key is not None
        states = {self.datasets[task].state for task in self._chosen() if task in self.datasets}
        if action == "make":
            return "missing" in states
        return action == "details" or bool(states - {"missing"})

    def action_make(self) -> None:
        """Make reference data for the chosen tasks."""
        if not self._has_rows():
            return
        names = self._chosen_caches()[1] if self.shows_caches else self._chosen()
        chosen = [self.datasets[task] for task in names]
        able = [row.task for row in chosen if row.can_make and row.state == "missing"]
        unable = [row.task for row in chosen if not row.can_make]
        if able:
            self.ups.run_data_command(data_commands.make(able))
        elif unable:
            self.ups.notice(
                f"no built-in solver makes {', '.join(unable)}", "`ups-console data import TASK FILE…`"
            )
        else:
            self.ups.notice(
                "their data exist already", "`ups-console data make TASK --replace` makes them anew"
            )

    def action_cache(self) -> None:
        """Build a latent cache for the chosen tasks."""
        if not self._has_rows():
            return
        if self.shows_caches:
            version, tasks = self._chosen_caches()
            self.ups.run_data_command(data_commands.build_caches(version, tasks))
            return
        tasks = self._chosen_tasks()
        if not tasks:
            self.ups.notice("a cache is made of a dataset, and there is none", "m makes reference data")
            return
        versions = [group.version for group in self.groups.values() if group.states != ("legacy",)]
        self._ask(
            f"caching {', '.join(tasks)}",
            "which version? its name says how wide and how many tokens",
            versions[0] if versions else _USUAL_VERSION,
            lambda version: self.ups.run_data_command(data_commands.build_caches(version, tasks)),
        )

    def action_fetch(self) -> None:
        """Bring the chosen datasets or caches to a folder of this machine."""
        if not self._has_rows():
            return
        version, tasks = self._chosen_caches() if self.shows_caches else ("", self._chosen_tasks())
        if not tasks:
            self.ups.notice("there is nothing to fetch", "m makes reference data")
            return

        def begin(folder: str) -> None:
            path = Path(folder).expanduser().absolute()
            fetch = data_commands.fetch_caches(version, tasks, path) if version else None
            self.ups.run_data_command(fetch or data_commands.fetch(tasks, path))

        self._ask(f"fetching {version} {', '.join(tasks)}", "to which folder?", str(Path.cwd()), begin)

    def action_verify(self) -> None:
        """Read every byte of the chosen datasets or caches and compare the checksums."""
        if not self._has_rows():
            return
        if self.shows_caches:
            self.ups.run_data_command(data_commands.verify_caches(*self._chosen_caches()))
        elif tasks := self._chosen_tasks():
            self.ups.run_data_command(data_commands.verify(tasks))
        else:
            self.ups.notice("there is nothing to verify", "m makes reference data")

    def action_delete(self) -> None:
        """Delete the dataset or the caches under the cursor, after a typed word."""
        if not self._has_rows():
            return
        key = self._table.cursor_key or ""
        group = self.groups[key] if self.shows_caches else None
        task, version = (group.task, group.version) if group is not None else (key, "")
        if group is None and self.datasets[task].state == "missing":
            self.ups.notice("there is nothing to delete")
            return
        self.operate(
            "looking for runs that use it",
            lambda ops: ops.living_users(tasks=[task], version=version),
            lambda runs: DeletionWeighed(task, version, runs),
            group="deletion",
        )

    @on(DeletionWeighed)
    def _ask_deletion(self, message: DeletionWeighed) -> None:
        from console.tui.screens.typed_word import TypedWord

        task, version = message.task, message.version
        group, row = self.groups.get(f"{version}/{task}"), self.datasets.get(task)
        if (group if version else row) is None or self.inventory is None:
            return  # read anew since, and gone
        held = group.bytes if group is not None and version else row.bytes if row is not None else 0
        what = f"the cache {version} of {task}" if version else f"the dataset {task}"
        question = f"deletes {what}, {size(held)}, from {self.inventory.usage.url}"
        if message.runs:
            question += f". ALIVE AND USING IT: {', '.join(message.runs)}"
        command = data_commands.delete_caches(version, task) if version else data_commands.delete(task)

        def answered(typed: bool | None) -> None:
            if typed:
                self.ups.run_data_command(command)
            else:
                self.ups.notice("nothing was deleted", ink="muted")

        self.app.push_screen(TypedWord(question, version or task), answered)

    def _ask(self, heading: str, question: str, proposed: str, then: Callable[[str], None]) -> None:
        from console.tui.screens.asked_text import AskedText

        self.app.push_screen(
            AskedText(heading, question, proposed), lambda answer: then(answer) if answer else None
        )

    def action_reread(self) -> None:
        """Read the store again."""
        self.refresh_data()
