"""One-line widgets of a run: where its phases stand, what its machine does."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from console.tui.drawing.text import Row, duration, row_width, size
from console.tui.widgets.panel import Panel


class PhaseView(Struct, frozen=True):
    """How a phase of the pipeline stands."""

    name: str
    state: str = "waiting"
    """waiting, started, interrupted, finished, skipped or failed."""
    seconds: float | None = None
    done: float = 0
    total: float = 0
    unit: str = ""
    eta_s: float | None = None
    detail: str = ""


class PhaseBar(Panel):
    """hydrate ✓ · precompute · train ━━╸── 18/40 · evaluate · publish."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    PhaseBar { height: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.phases: Sequence[PhaseView] = ()

    def show(self, phases: Sequence[PhaseView]) -> None:
        """Show where the phases stand."""
        if phases != self.phases:
            self.phases = phases
            self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        return [phase_row(self.phases, width)]


def phase_row(phases: Sequence[PhaseView], width: int) -> Row:
    """The phases in one line; the bar of the running one takes what room is left."""
    terse = next((n for n in (0, 1) if _phases_width(phases, terse=n) <= width), 2)
    bar = max(0, min(30, width - _phases_width(phases, terse=terse) - 2))
    row: Row = [(" ", "text")]
    for index, phase in enumerate(phases):
        row += [(" · ", "muted")] if index else []
        row += _phase(phase, bar, terse=terse)
    return row


def _phases_width(phases: Sequence[PhaseView], *, terse: int) -> int:
    return 1 + sum(row_width(_phase(phase, 0, terse=terse)) + 3 for phase in phases)


def _phase(phase: PhaseView, bar: int, *, terse: int) -> Row:
    if terse > 1 and phase.state in ("finished", "skipped"):
        return [("✓ ", "good"), (phase.name[:4], "muted")]
    match phase.state:
        case "finished":
            spent = f" {duration(phase.seconds)}" if phase.seconds is not None and not terse else ""
            return [("✓ ", "good"), (phase.name, "text"), (spent, "muted")]
        case "skipped":
            return [("✓ ", "muted"), (phase.name, "muted")]
        case "interrupted":
            return [("■ ", "warn"), (phase.name, "warn"), *_progress(phase, 0, terse=terse)]
        case "failed":
            return [("✗ ", "bad"), (phase.name, "bad")]
        case "started":
            row: Row = [("▶ ", "accent"), (phase.name, "accent bold")]
            return row + _progress(phase, bar, terse=terse)
    return [(phase.name, "muted")]


def _progress(phase: PhaseView, bar: int, *, terse: int) -> Row:
    if not phase.total:
        return []
    row: Row = [(" ", "text"), *progress_bar(phase.done / phase.total, bar)] if bar >= 4 else []
    amount = f" {_amount(phase.done, phase.unit)}/{_amount(phase.total, phase.unit)}"
    unit = phase.unit if phase.unit not in ("", "bytes") and not terse else ""
    row.append((f"{amount} {unit}".rstrip(), "text"))
    if phase.eta_s is not None:
        row.append((f" {duration(phase.eta_s)} left", "muted"))
    return row


def _amount(value: float, unit: str) -> str:
    return size(value) if unit == "bytes" else f"{value:,.0f}"


def progress_bar(share: float, width: int) -> Row:
    """━━━━╸──── in `width` cells, half a cell fine."""
    share = min(1.0, max(0.0, share))
    halves = round(share * 2 * width)
    full, half = divmod(halves, 2)
    done = "━" * full + ("╸" if half else "")
    return [(done, "accent"), ("─" * (width - len(done)), "frame")]


_LEVELS = " ▁▂▃▄▅▆▇█"
_NOTABLE_WAIT = 0.1


def meter(share: float, width: int = 8) -> str:
    """A share as a little bar of blocks."""
    eighths = round(min(1.0, max(0.0, share)) * 8 * width)
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width, "·")[:width]


def sparkline(values: Sequence[float], width: int) -> str:
    """Shares 0 … 1 as block heights, the newest at the right."""
    shown = [min(1.0, max(0.0, value)) for value in values[-width:]]
    return "".join(_LEVELS[max(1, round(value * 8))] for value in shown).rjust(width)


class SystemBar(Panel):
    """Processor, memory and GPUs of the box, from its last `system` event."""

    FRAMED: ClassVar[bool] = False
    DEFAULT_CSS = """
    SystemBar { height: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.fields: Mapping[str, Any] = {}
        self.cpu: Sequence[float] = ()
        self.tail: Row = []
        """Shown at the right: money, the last sign of life."""

    def show(self, fields: Mapping[str, Any], tail: Row, cpu: Sequence[float]) -> None:
        """Show a `system` event, what stands at the right, and the processor's last shares."""
        if fields is not self.fields or tail != self.tail:
            self.fields, self.tail, self.cpu = fields, tail, cpu
            self.changed()

    def draw(self, width: int, height: int) -> list[Row]:
        parts, tail = system_parts(self.fields, self.cpu), list(self.tail)
        first = row_width(parts[0]) + 2 if parts else 1
        while len(tail) > 2 and row_width(tail) + first > width:
            del tail[-2]  # its first and its last span say the most
        row: Row = [(" ", "text")]
        for part in parts:
            if row_width(row) + row_width(part) + row_width(tail) + 1 > width:
                break
            row += part
        return [[*row, (" " * max(1, width - row_width(row) - row_width(tail) - 1), "text"), *tail]]


def system_parts(fields: Mapping[str, Any], cpu_history: Sequence[float] = ()) -> list[Row]:
    """What may be left out from the end where there is no room; what is missing is no part.

    GPUs come first where there are any, then the processor.
    """
    parts = [part for gpu in fields.get("gpu") or () for part in _gpu(gpu)]
    cpu = _share(fields.get("cpu"))
    if cpu is not None:
        parts.append([
            ("cpu ", "muted"), (sparkline(cpu_history or [cpu], 8), "accent"), (f" {cpu:.0%}", "text")
        ])  # fmt: skip
    ram = _share(fields.get("ram"))
    if ram is not None:
        parts.append(
            [
                ("   ram ", "muted"),
                (meter(ram, 5), "accent"),
                (f" {ram:.0%}", "warn" if ram > 0.92 else "text"),
            ]
        )
    free = fields.get("disk_free")
    if isinstance(free, (int, float)):
        parts.append([("   disk ", "muted"), (f"{size(free)} free", "bad" if free < 2e9 else "text")])
    return parts


def data_wait_row(share: float | None) -> Row:
    """How much of its time training waits for batches, where that is worth a look."""
    if share is None or share < _NOTABLE_WAIT:
        return []
    return [(f"waits for data {share:.0%}   ", "warn")]


def _gpu(gpu: Mapping[str, Any]) -> list[Row]:
    util = _share(gpu.get("util"))
    head: Row = [("gpu ", "muted")]
    if util is not None:
        head += [(meter(util), "accent"), (f" {util:.0%} ", "text")]
    parts: list[Row] = [head]
    used, total = gpu.get("mem_used"), gpu.get("mem_total")
    if isinstance(used, (int, float)) and isinstance(total, (int, float)) and total:
        parts.append([(f"{size(used)} of {size(total)} ", "text")])
    if isinstance(gpu.get("temp"), (int, float)):
        parts.append([(f"{gpu['temp']:.0f} °C", "warn" if gpu["temp"] > 85 else "text")])
    parts[-1].append(("   ", "text"))
    return parts


def _share(value: object) -> float | None:
    """A share 0 … 1 of a figure in per cent."""
    if not isinstance(value, (int, float)):
        return None
    return float(value) / 100
