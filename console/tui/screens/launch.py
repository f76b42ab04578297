"""Launch: what shall run, where, what will it cost and will it work?"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget

from console.api import DatasetRow, LaunchRequest, Preflight
from console.tui import data_commands
from console.tui.drawing.text import Row, count, duration, size
from console.tui.messages import (
    ConfigsRead,
    DataRead,
    OffersRead,
    OperationFailed,
    PreflightRead,
    RunLaunched,
)
from console.tui.screens.base import ConsoleScreen
from console.tui.widgets.preflight import PreflightPanel
from console.tui.widgets.table import Cell, CheckList, Column, Table, TableRow

if TYPE_CHECKING:
    from console.api import ConfigEntry
    from console.fleet.model import Offer

_SETTLE_SECONDS = 0.15
_CONFIRM_SECONDS = 6.0


class LaunchScreen(ConsoleScreen):
    """Tick tasks, pick a config and an offer, read the checks, press enter."""

    NAME = "Launch"
    CSS_PATH = "launch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "Launch", id="launch.launch"),
        Binding("m", "make", "Make data", id="launch.make"),
        Binding("r", "reread", "Check again", id="launch.reread"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, ConfigEntry] = {}
        self.datasets: dict[str, DatasetRow] = {}
        self.offers: dict[str, Offer] = {}
        self._checked: tuple[LaunchRequest, Preflight] | None = None
        self._settling: Timer | None = None
        self._launching = False
        self._asked_at = -_CONFIRM_SECONDS

    def body(self) -> Iterable[Widget]:
        with_tasks = [
            Column("task", flex=True),
            Column("data"),
            Column("samples", align="right", optional=44),
        ]
        yield Horizontal(
            Table([Column("name", flex=True), Column("took", align="right")], title="config", header=False,
                  empty="reading the configs", id="configs"),
            CheckList(with_tasks, title="tasks", empty="reading the store", id="tasks"),
            Table([Column("$/h", align="right"), Column("GPU", flex=True), Column("cores", align="right"),
                   Column("RAM", align="right"), Column("where", optional=44)],
                  title="offers", empty="asking the providers", id="offers"),
            id="choices",
        )  # fmt: skip
        yield PreflightPanel(id="preflight")

    def on_mount(self) -> None:
        self.query_one("#configs").focus()

    def refresh_data(self) -> None:
        self.operate("reading the configs", lambda ops: ops.configs(), ConfigsRead, group="configs")
        self.operate(
            "reading the store",
            lambda ops: ops.datasets(),
            DataRead,
            group="data-read",
        )
        self.operate("asking for offers", lambda ops: ops.offers(), OffersRead, group="offers")

    # --- what was read -----------------------------------------------------------------------

    @on(ConfigsRead)
    def _show_configs(self, message: ConfigsRead) -> None:
        first = not self.configs
        self.configs = {entry.name: entry for entry in message.configs}
        self.query_one("#configs", Table).set_rows(_config_row(entry) for entry in message.configs)
        if first and self.config is not None:
            self._tick_tasks_of(self.config)
        self._check_soon()

    @on(DataRead)
    def _show_data(self, message: DataRead) -> None:
        self.datasets = {row.task: row for row in message.datasets}
        usable = sorted(message.datasets, key=lambda row: row.state == "missing" and not row.can_make)
        self.query_one("#tasks", CheckList).set_rows(_task_row(row) for row in usable)
        self._check_soon()

    @on(OffersRead)
    def _show_offers(self, message: OffersRead) -> None:
        self.offers = {offer.id: offer for offer in message.offers}
        self.query_one("#offers", Table).set_rows(_offer_row(offer) for offer in message.offers)
        self._check_soon()

    # --- what is chosen ----------------------------------------------------------------------

    @property
    def config(self) -> "ConfigEntry | None":
        """The config under the cursor."""
        return self.configs.get(self.query_one("#configs", Table).cursor_key or "")

    @property
    def tasks(self) -> list[str]:
        """The ticked tasks."""
        return self.query_one("#tasks", CheckList).ticked_in_order

    def request(self) -> LaunchRequest | None:
        """What enter would launch."""
        config = self.config
        if config is None:
            return None
        same = set(self.tasks) == set(config.tasks)
        offer = self.offers.get(self.query_one("#offers", Table).cursor_key or "")
        return LaunchRequest(
            config=config.path,
            tasks=() if same else tuple(self.tasks),
            provider=offer.provider if offer else "local",
            offer_id=offer.id if offer else None,
        )

    def _tick_tasks_of(self, config: "ConfigEntry") -> None:
        self.query_one("#tasks", CheckList).tick(config.tasks)

    @on(Table.Moved, "#configs")
    def _config_chosen(self) -> None:
        if self.config is not None:
            self._tick_tasks_of(self.config)
        self._check_soon()

    @on(Table.Moved, "#offers")
    @on(CheckList.Ticked, "#tasks")
    def _choice_changed(self) -> None:
        self._check_soon()

    # --- checks ------------------------------------------------------------------------------

    def _check_soon(self) -> None:
        """Check what is chosen once it has settled."""
        self._checked = None
        panel = self.query_one(PreflightPanel)
        panel.show(panel.preflight, reading=True)
        panel.invite(self._invitation())
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_SECONDS, self._check)

    def _check(self) -> None:
        request = self.request()
        if request is not None and self.datasets:
            self.operate(
                "checking",
                lambda ops: ops.preflight(request),
                lambda p: PreflightRead(request, p),
                group="preflight",
            )

    @on(PreflightRead)
    def _show_preflight(self, message: PreflightRead) -> None:
        if message.request == self.request():
            self._checked = (message.request, message.preflight)
            self.query_one(PreflightPanel).show(message.preflight)

    def _invitation(self) -> Row:
        """The first step, where the ticked tasks have no data that could be used."""
        missing = self._to_make()
        if not self.datasets or not missing:
            return []
        empty = all(row.state == "missing" for row in self.datasets.values())
        head = "The store is empty. " if empty else ""
        return [
            (head, "text bold"), ("m", "key"),
            (f" makes reference data for {', '.join(missing)} with the built-in solvers: no GPU, no cost",
             "text"),
        ]  # fmt: skip

    def _to_make(self) -> list[str]:
        rows = (self.datasets.get(task) for task in self.tasks)
        return [row.task for row in rows if row is not None and row.state == "missing" and row.can_make]

    # --- keys --------------------------------------------------------------------------------

    def action_make(self) -> None:
        """Make the data that the ticked tasks lack."""
        tasks = self._to_make()
        if tasks:
            self.ups.run_data_command(data_commands.make(tasks))
        else:
            self.ups.notice(
                "the ticked tasks have their data, or no solver that could make it", "4 shows all of it"
            )

    def action_reread(self) -> None:
        """Read configs, store and offers again."""
        self.refresh_data()

    @on(Table.Selected)
    def action_launch(self) -> None:
        """Launch what is chosen, when all checks are passed."""
        if self._launching:
            self.ups.notice("a launch is under way")
            return
        if self._checked is None:
            self.ups.notice("still checking: enter again in a moment")
            return
        request, preflight = self._checked
        if not preflight.ok:
            self.ups.notice("something must be mended first", "see the ✗ lines above", "bad")
            return
        if preflight.usd_per_hour and time.monotonic() - self._asked_at > _CONFIRM_SECONDS:
            self._asked_at = time.monotonic()
            self.ups.notice(
                f"enter again rents at ${preflight.usd_per_hour:.2f}/h, cap ${preflight.cap_usd:.2f}"
            )
            return
        self._launching = True
        self.ups.notice("launching: renting, shipping, starting", ink="muted")
        self.operate(
            "launching", lambda ops: ops.launch(request), RunLaunched, group="launch", exclusive=False
        )

    @on(RunLaunched)
    async def _launched(self, message: RunLaunched) -> None:
        self._launching = False
        self.ups.selected_run = message.launched.run
        self.ups.read_money()
        await self.ups.action_show("live")

    @on(OperationFailed)
    def _launch_failed(self, message: OperationFailed) -> None:
        if message.what == "launching":
            self._launching = False


def _config_row(entry: "ConfigEntry") -> TableRow:
    took: Cell = (duration(entry.seconds), "muted") if entry.seconds else ""
    if entry.error is not None:
        return TableRow(entry.name, [entry.name, ("✗", "muted")], ink="muted")
    return TableRow(entry.name, [entry.name, took])


_STATES: dict[str, tuple[str, str]] = {
    "verified": ("✓", "good"),
    "unverified": ("unverified", "warn"),
    "writing": ("being written", "warn"),
    "damaged": ("damaged", "bad"),
    "incomplete": ("incomplete", "warn"),
    "missing": ("–", "muted"),
}


def data_state(row: DatasetRow) -> tuple[str, str]:
    """The state of a dataset as a mark and its ink."""
    if row.state == "missing" and row.can_make:
        return ("– m makes it", "muted")
    return _STATES.get(row.state, (row.state, "warn"))


def _task_row(row: DatasetRow) -> TableRow:
    train = row.splits.get("train")
    usable = row.state != "missing" or row.can_make
    ink = f"task:{row.task}" if usable else "muted"
    return TableRow(row.task, [(row.task, ink), data_state(row), count(train.samples) if train else ""])


def _offer_row(offer: "Offer") -> TableRow:
    gpu = f"{offer.num_gpus} × {offer.gpu}" if offer.num_gpus > 1 else offer.gpu
    vram = f" {offer.vram_gb:.0f} G" if offer.vram_gb else ""
    price = "free" if not offer.usd_per_hour else f"{offer.usd_per_hour:.2f}"
    cells = [price, f"{gpu}{vram}", str(offer.cpu_cores), size(offer.ram_gb * 2**30), offer.region]
    return TableRow(offer.id, cells)
