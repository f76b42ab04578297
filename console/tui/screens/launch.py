"""Launch: what shall run, where, what will it cost and will it work?"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.timer import Timer
from textual.widget import Widget

from console.api import DatasetRow, LaunchRequest, Preflight, RentOptions
from console.fleet.model import ANY_MACHINE
from console.tui import data_commands
from console.tui.drawing.text import Row, count, duration, usd
from console.tui.messages import (
    ConfigsRead,
    DataRead,
    DryRunRead,
    OffersRead,
    PreflightRead,
)
from console.tui.screens.base import ConsoleScreen
from console.tui.screens.launch_offers import (
    LOCAL_OFFER,
    ORDERS,
    in_order,
    note,
    offer_key,
    offer_row,
    reasons,
)
from console.tui.widgets.preflight import PreflightPanel
from console.tui.widgets.table import Cell, CheckList, Column, Table, TableRow

if TYPE_CHECKING:
    from console.api import ConfigEntry, Market
    from console.fleet.model import Offer
    from console.operations import Operations

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
        Binding("slash", "ask_gpu", "GPU", id="launch.gpu"),
        Binding("c", "ask_cap", "Cap", id="launch.cap"),
        Binding("o", "order", "Sort offers", id="launch.order"),
        Binding("w", "why", "Why not", id="launch.why"),
        Binding("d", "dry_run", "Dry run", id="launch.dry_run"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, ConfigEntry] = {}
        self.datasets: dict[str, DatasetRow] = {}
        self.markets: Sequence[Market] = ()
        self.offers: dict[str, Offer] = {}
        self.asked_for = ANY_MACHINE
        """What the offers on the screen were asked for with."""
        self.gpus: tuple[str, ...] | None = None
        """The wanted GPU and its fallbacks; None: as configured."""
        self.cap_usd: float | None = None
        """Cap of the run; None: a multiple of what is expected."""
        self.order = ORDERS[0]
        self._checked: tuple[LaunchRequest, Preflight] | None = None
        self._awaited: LaunchRequest | None = None
        """What shall be launched once it is checked: enter came before that."""
        self._settling: Timer | None = None
        self._asked: tuple[LaunchRequest, float, float] | None = None
        """What enter again would rent, its price by the hour, and when that was asked."""

    def body(self) -> Iterable[Widget]:
        with_tasks = [
            Column("task", flex=True),
            Column("data"),
            Column("samples", align="right", optional=44),
        ]
        yield Container(
            Horizontal(
                Table([Column("name", flex=True), Column("took", align="right", optional=32)], title="config",
                      header=False, empty="reading the configs", id="configs"),
                CheckList(with_tasks, title="tasks", empty="reading the store", id="tasks"),
                id="what",
            ),
            Table([Column("$/h", align="right"), Column("GPU", most=22), Column("VRAM", align="right"),
                   Column("net", align="right", optional=50), Column("rel.", align="right", optional=58),
                   Column("cores", align="right", optional=66), Column("RAM", align="right", optional=74),
                   Column("where", flex=True, most=30)],
                  title="offers", empty="asking the providers", id="offers"),
            id="choices",
        )  # fmt: skip
        yield PreflightPanel(id="preflight")

    def on_mount(self) -> None:
        self.query_one("#configs").focus()

    def on_screen_suspend(self) -> None:
        self._awaited = None

    def refresh_data(self) -> None:
        self.operate("reading the configs", lambda ops: ops.configs(), ConfigsRead, group="configs")
        self.operate(
            "reading the store",
            lambda ops: ops.datasets(),
            DataRead,
            group="data-read",
        )
        self._ask_for_offers()

    def _ask_for_offers(self) -> None:
        gpus = self.gpus

        def ask(operations: "Operations") -> OffersRead:
            query = operations.settings.offers
            query = query if gpus is None else replace(query, gpus=gpus)
            return OffersRead(operations.markets(query), query)

        self.query_one("#offers", Table).note = [("asking", "muted")]
        self.query_one("#offers", Table).changed()
        self.operate("asking for offers", ask, lambda message: message, group="offers")

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
        self.markets, self.asked_for = message.markets, message.query
        self._list_offers()
        self._check_soon()

    def _list_offers(self) -> None:
        table = self.query_one("#offers", Table)
        offers = in_order(self.markets, self.order)
        self.offers = {offer_key(offer): offer for offer in offers}
        table.heading = [("offers", "title")]
        if self.asked_for.gpus:
            table.heading.append((f"  {', else '.join(self.asked_for.gpus)}", "muted"))
        table.empty = "none will do: w says why"
        chosen = table.cursor_key
        table.set_rows(offer_row(offer) for offer in offers)
        if chosen is None or chosen not in self.offers:
            table.move_to(LOCAL_OFFER)  # nobody shall rent what has slipped under the cursor
            if chosen is not None and not chosen.startswith("local/"):
                self.ups.notice(f"the offer {chosen.partition('/')[2]} is gone: this machine is chosen")
        table.note = note(self.markets, self.order)
        table.changed()

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
            rent=RentOptions(
                provider=offer.provider if offer else "local",
                query=self.asked_for,
                offer_id=offer.id if offer else None,
                budget_usd=self.cap_usd,
            ),
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

    @property
    def is_whole(self) -> bool:
        """Its tables may go before the bars, and a check reads them."""
        return super().is_whole and bool(self.query("#configs"))

    def _check(self) -> None:
        request = self.request() if self.is_whole else None
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
            if self._awaited == message.request:
                self.action_launch()

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

    def possible(self, action: str) -> bool:
        """Data is made where it is missing; there is a why where something was passed over."""
        if action == "launch":  # while it is being checked it stays where it is
            return self._checked is None or self._checked[1].ok
        if action == "make":
            return bool(self._to_make())
        return any(m.passed_over or m.problem for m in self.markets) if action == "why" else True

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

    def action_ask_gpu(self) -> None:
        """Ask which GPU is wanted, and what will do instead."""
        from console.tui.screens.asked_text import AskedText

        def take(answer: str | None) -> None:
            if answer is not None:
                self.gpus = tuple(name.strip() for name in answer.split(",") if name.strip(" ,*"))
                self._ask_for_offers()

        question = "GPU and its fallbacks, such as RTX_4090, H200; * for any"
        self.app.push_screen(AskedText("offers", question, ", ".join(self.gpus or ()) or "*"), take)

    def action_ask_cap(self) -> None:
        """Ask what the run may cost at most."""
        from console.tui.screens.asked_text import AskedText

        def take(answer: str | None) -> None:
            if answer is None:
                return
            try:
                self.cap_usd = max(0.0, float(answer.strip().lstrip("$")))
            except ValueError:
                self.ups.notice(f"{answer!r} is no number of dollars", ink="bad")
                return
            self._check_soon()

        checked = self._checked[1].cap_usd if self._checked else 0.0
        question = "US dollars that this run may cost at most"
        self.app.push_screen(AskedText("cap", question, f"{self.cap_usd or checked:.2f}"), take)

    def action_order(self) -> None:
        """Sort the offers by the next column."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self._list_offers()

    def action_why(self) -> None:
        """Say why offers were passed over."""
        self.ups.show_text("passed over", reasons(self.markets))

    def action_dry_run(self) -> None:
        """Show what a launch would send, without sending it."""
        request = self.request()
        if request is not None:
            self.operate("a dry run", lambda ops: ops.dry_run(request), DryRunRead, group="dry-run")

    @on(DryRunRead)
    def _show_dry_run(self, message: DryRunRead) -> None:
        rows: list[Row] = []
        for step in message.steps:
            rows += [[(step.title, "title")], *_text_rows(step.text), []]
        self.ups.show_text("dry run: nothing is sent", rows)

    @on(Table.Selected)
    def action_launch(self) -> None:
        """Launch what is chosen, when all checks are passed; renting asks once more, with the price."""
        if self.ups.launching.busy:
            self.ups.notice("a launch is under way", "the next can begin when its run has started")
            return
        if self.ups.launching.failure:
            self.ups.launching.failure = ""
            self.ups.show_launch()
        if self._checked is None:
            self._awaited = self.request()
            if self._awaited is None:
                self.ups.notice("still reading: enter again in a moment")
            else:
                self.ups.notice(
                    "still checking: it is launched when that has gone well", "another choice forgets it"
                )
            return
        self._awaited = None
        request, preflight = self._checked
        if not preflight.ok:
            mend = "m makes the data" if self._to_make() else "see the ✗ lines above"
            self.ups.notice("something must be mended first", mend, "bad")
            return
        if preflight.usd_per_hour and not self._is_confirmed(request, preflight.usd_per_hour):
            self._ask_to_rent(request, preflight)
            return
        self._asked = None
        self.ups.launch(request, self._in_words(request))

    def _is_confirmed(self, request: LaunchRequest, price: float) -> bool:
        """Whether this very request was asked about at this price, a moment ago."""
        if self._asked is None:
            return False
        asked, asked_price, when = self._asked
        return asked == request and asked_price == price and time.monotonic() - when <= _CONFIRM_SECONDS

    def _ask_to_rent(self, request: LaunchRequest, preflight: Preflight) -> None:
        self._asked = (request, preflight.usd_per_hour, time.monotonic())
        expected = f", expected {usd(preflight.expected_usd)}" if preflight.expected_usd is not None else ""
        self.ups.notice(
            f"enter again rents {self._machine(request)} at {usd(preflight.usd_per_hour)}/h{expected}, "
            f"at most {usd(preflight.cap_usd)}"
        )

    def _machine(self, request: LaunchRequest) -> str:
        offer = self.offers.get(f"{request.rent.provider}/{request.rent.offer_id}")
        return f"{offer.gpu} of {offer.provider}, {offer.region}" if offer else request.rent.provider

    def _in_words(self, request: LaunchRequest) -> str:
        where = "here" if request.rent.provider == "local" else f"on {self._machine(request)}"
        return f"{request.config.stem} {where}"


def _text_rows(text: str) -> list[Row]:
    return [[(line, "text")] for line in text.splitlines()]


def _config_row(entry: "ConfigEntry") -> TableRow:
    took: Cell = (duration(entry.seconds), "muted") if entry.seconds else ""
    # Names differ at their end, and the column is narrow.
    name = entry.name.removeprefix("train_").removeprefix("pdebench_")
    if entry.error is not None:
        return TableRow(entry.name, [name, ("✗", "muted")], ink="muted")
    return TableRow(entry.name, [name, took])


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
    state = ("–", "muted") if row.state == "missing" else data_state(row)  # the panel below says what m makes
    return TableRow(row.task, [(row.task, ink), state, count(train.samples) if train else ""])
