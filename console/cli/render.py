"""Plain text for people: aligned tables, sizes, durations, money, a progress line with an ETA."""

import sys
import time
from collections.abc import Callable, Sequence

import click

from console.api import KILOBYTES, Check, Level

MARKS = {Level.OK: "✓", Level.WARNING: "!", Level.DANGER: "‼", Level.FAILED: "✗"}
"""How a check's level is shown."""


def check_line(check: Check) -> str:
    """A check with its mark and hint."""
    text = f"{MARKS[check.level]} {check.text}"
    if check.level is Level.DANGER:
        text = click.style(text, fg="red", bold=True)
    return text + (f"  ({check.hint})" if check.hint else "")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns aligned with two spaces between; those in `right` are right-aligned."""
    if not rows:
        return "nothing"
    grid = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in grid) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]
    return "\n".join(lines)


def size(count: float) -> str:
    """Bytes in decimal units, as disks and buckets are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """h:mm:ss, or m:ss; a dash where it is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(since: float | None, now: float) -> str:
    """How long ago, in one unit; a dash where it is not known."""
    if since is None:
        return "–"
    seconds = max(0.0, now - since)
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def grid(shape: Sequence[int]) -> str:
    """Cells along each axis; a dash where they are not known."""
    return " × ".join(map(str, shape)) or "–"


def money(usd: float) -> str:
    """Dollars, to the cent; never rounded down to nothing where something is owed."""
    return "<$0.01" if 0 < usd < 0.005 else f"${usd:.2f}"


def counted(count: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def number(value: float | None) -> str:
    """Four significant places, a dash where there is none."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:.3g}"


class ProgressLine:
    """Progress of a long operation on stderr: one line that is redrawn, or lines where it is no terminal."""

    _BAR = 28

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            clock: seconds; of what is told long after it was done, when that was.
        """
        self._clock = clock
        self._live = sys.stderr.isatty()
        self._what = ""
        self._since = 0.0
        self._printed = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if what != self._what:
            self.close()
            self._what, self._since, self._printed = what, now, 0.0
        finished = done >= total
        if not finished and now - self._printed < (0.1 if self._live else 5.0):
            return
        self._printed = now
        elapsed = now - self._since
        eta = elapsed * (total - done) / done if done else None
        filled = self._BAR * done // total if total else self._BAR
        ending = duration(elapsed) if finished else f"ETA {duration(eta)}"
        bar = f"{'━' * filled}{'─' * (self._BAR - filled)}"
        text = f"{what.removesuffix(KILOBYTES)}  {bar}  {_amounts(what, done, total, elapsed)}  {ending}"
        if self._live:
            click.echo(f"\r\x1b[2K{text}", nl=finished, err=True)
        else:
            click.echo(text, err=True)
        if finished:
            self._what = ""

    def close(self) -> None:
        """End an unfinished line."""
        if self._live and self._what:
            click.echo(err=True)
        self._what = ""


def _amounts(what: str, done: int, total: int, elapsed_s: float) -> str:
    """How much of how much; of bytes also the rate."""
    if not what.endswith(KILOBYTES):
        return f"{done}/{total}"
    rate = f"  {size(1000 * done / elapsed_s)}/s" if elapsed_s > 0 else ""
    return f"{size(1000 * done)}/{size(1000 * total)}{rate}"
