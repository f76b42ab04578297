"""The top line, on every screen: what runs, what is forgotten, what it costs."""

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events

from console.tui.drawing.text import Row, ago, row_width, usd
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from console.operations import Money

SCREEN_NAMES = ("Launch", "Live", "Fleet", "Data", "History")


class TopBar(Panel):
    """The line that never lies: what runs, what is forgotten, what it costs."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    TopBar { height: 1; dock: top; background: $panel; }
    """

    def __init__(self, current: str = "Launch", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.current = current
        self.money: Money | None = None
        self.stale_since: float | None = None
        """When the figures could last be read, where they cannot be read now."""
        self._drawn: Row = []
        """The screens, as they were drawn last."""

    def show(self, money: "Money | None", stale_since: float | None) -> None:
        """Show new figures; None until they were read once."""
        self.money, self.stale_since = money, stale_since
        self.changed()

    async def on_click(self, event: events.Click) -> None:
        """Show the screen whose number or name was clicked on."""
        for place, name in enumerate(SCREEN_NAMES):
            end = 1 + 2 * (place + 1)  # a number and a name for each, behind the console's own
            if row_width(self._drawn[: end - 2]) <= event.x < row_width(self._drawn[:end]):
                await self.run_action(f"app.show('{name.lower()}')")

    def draw(self, width: int, height: int) -> list[Row]:
        right = self._figures(short=width < 100)
        row = self._screens(named=True)
        if row_width(row) + row_width(right) + 2 > width:
            row = self._screens(named=False)
        self._drawn = row
        room = width - row_width(row) - row_width(right) - 1
        return [[*row, (" " * max(1, room), "text"), *right]]

    def _screens(self, *, named: bool) -> Row:
        """The screens with their keys; unless `named`, only the one in front has its name."""
        row: Row = [(" ups ", "title")]
        for number, name in enumerate(SCREEN_NAMES, 1):
            chosen = name == self.current
            row.append((f" {number}", "accent bold" if chosen else "key"))
            row.append((f" {name} " if chosen or named else "", "accent bold" if chosen else "muted"))
        return row

    def _figures(self, *, short: bool) -> Row:
        money = self.money
        if money is None:
            text = "figures unread" if self.stale_since is None else "figures cannot be read"
            return [(text, "muted" if self.stale_since is None else "warn")]
        row: Row = [(f"● {money.running}", "good" if money.running else "muted")]
        row += [(" running" if not short else "", "good" if money.running else "muted")]
        orphans = f"▲ {money.orphans}" + ("" if short else " orphan" + "s" * (money.orphans != 1))
        row += [("  ", "text"), (orphans, "bad" if money.orphans else "muted")]
        if money.stalled:
            row += [("  ", "text"), (f"▲ {len(money.stalled)} idle", "warn")]
        row += [("  ", "text"), (f"{usd(money.usd_per_hour)}/h", "text" if money.usd_per_hour else "muted")]
        over = money.usd_today >= money.cap_usd_per_day
        cap = f"{'' if short else 'today '}{usd(money.usd_today)} of ${money.cap_usd_per_day:g}"
        row += [("  ", "text"), (cap, "bad" if over else "text")]
        if self.stale_since is not None:
            row.append((f"  as of {ago(time.time() - self.stale_since)}", "warn"))
        return row
