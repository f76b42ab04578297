"""What is known before paying: checks, time, money; and what to do while the store is empty."""

from console.api import Check, Level, Preflight
from console.tui.drawing.text import Row, drop_spans, duration, usd, wrap_row
from console.tui.widgets.panel import Panel

_MARKS = {
    Level.OK: ("✓", "good"),
    Level.WARNING: ("!", "warn"),
    Level.DANGER: ("‼", "bad"),
    Level.FAILED: ("✗", "bad"),
}


class PreflightPanel(Panel):
    """The checks of the request that enter would launch."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.preflight: Preflight | None = None
        self.reading = True
        self.invitation: Row = []
        """What to do first, where nothing can be launched yet."""

    def show(self, preflight: Preflight | None, *, reading: bool = False) -> None:
        """Show the checks; `reading` while newer ones are on their way."""
        self.preflight, self.reading = preflight, reading
        self.changed()

    def invite(self, invitation: Row) -> None:
        """Say what to do first; an empty row takes it away."""
        self.invitation = invitation
        self.changed()

    def title(self) -> Row:
        return [("before paying", "title")]

    def summary(self) -> Row:
        if self.reading or self.preflight is None:
            return [("checking", "muted")]
        failed = sum(check.level is Level.FAILED for check in self.preflight.checks)
        if failed:
            return [(f"{failed} to mend first", "bad")]
        if self.preflight.usd_per_hour:
            price = f" asks, again rents at {usd(self.preflight.usd_per_hour)}/h"
            return [("ready: ", "good"), ("enter", "key"), (price, "good")]
        return [("ready: ", "good"), ("enter", "key"), (" launches, free", "good")]

    def draw(self, width: int, height: int) -> list[Row]:
        invitation = [[(" ", "text"), *row] for row in wrap_row(self.invitation, width - 2)]
        rows: list[Row] = [*invitation, []] if self.invitation else []
        if self.preflight is None:
            return rows or [[(" checking", "muted")]]
        money = [drop_spans(_money_row(self.preflight), width)]
        room = height - len(rows) - len(money)
        rows += check_rows(self.preflight.checks, width, max(1, room), hints=not self.invitation)
        rows += [[] for _ in range(height - len(rows) - len(money))]
        return [*rows[: height - len(money)], *money]


def check_rows(checks: tuple[Check, ...], width: int, room: int, *, hints: bool = True) -> list[Row]:
    """Failed checks first, each with its hint; then dangers and warnings; what is well side by side."""
    rows: list[Row] = []
    for level in (Level.FAILED, Level.DANGER, Level.WARNING):
        mark, ink = _MARKS[level]
        for check in checks:
            if check.level is level:
                row: Row = [(f"{mark} {check.text}", ink)]
                if check.hint and hints:
                    row.append((f"   {check.hint}", "muted"))
                rows += [
                    [(" " if n == 0 else "   ", "text"), *r] for n, r in enumerate(wrap_row(row, width - 4))
                ]
    well: Row = [(" ", "text")]
    used = 1
    for check in checks:
        if check.level is Level.OK:
            if used + len(check.text) + 5 > width and len(well) > 1:
                rows.append(well)
                well, used = [(" ", "text")], 1
            well += [("✓ ", "good"), (check.text + "   ", "text")]
            used += len(check.text) + 5
    if len(well) > 1:
        rows.append(well)
    if len(rows) > room and hints and all(check.level is not Level.FAILED for check in checks):
        return check_rows(checks, width, room, hints=False)  # the balance matters more
    if len(rows) > room:
        hidden = len(rows) - room + 1
        return [*rows[: room - 1], [(f" … {hidden} more lines: enlarge the terminal", "muted")]]
    return rows


def _guessed(preflight: Preflight) -> str:
    """The range of a guess, where one can be made."""
    low, high = preflight.usd_range
    return f", {usd(low)} to {usd(high)}" if preflight.estimate.parts and preflight.usd_per_hour else ""


def _money_row(preflight: Preflight) -> Row:
    """What it will cost, on what ground that is said, and what it can cost at most."""
    seconds, price = preflight.expected_seconds, preflight.usd_per_hour
    row: Row = [(" expected ", "muted")]
    if not price:
        row += [("$0.00", "text bold"), (" here", "muted")]
    elif preflight.expected_usd is None:
        row += [("unknown", "text bold"), (f" at {usd(price)}/h{_guessed(preflight)}", "muted")]
    else:
        row += [(usd(preflight.expected_usd), "text bold"), (f" at {usd(price)}/h", "muted")]
    if price:
        row += [("   at most ", "muted"), (usd(preflight.cap_usd), "text bold")]
    if seconds is None:
        row.append(("   this config never ran from here", "muted"))
    elif preflight.estimate.parts and not preflight.estimate.measured:
        row.append((f"   ≈ {duration(seconds)}, a guess{_guessed(preflight)}", "muted"))
    else:
        row.append((f"   ≈ {duration(seconds)} as earlier runs took", "muted"))
    return [*row, (f"   ends after {preflight.deadline_hours:g} h whatever happens", "muted")]
