"""What one chart shows: a task's training and validation, marks, a level, and lines laid over them."""

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from console.tui.drawing.text import Ink

if TYPE_CHECKING:
    from console.tui.alerts import Alert
    from console.tui.series import Series


class Line(Struct, frozen=True):
    """A further line of a chart."""

    label: str
    series: "Series"
    ink: Ink
    smooth: bool = False
    """Its average is drawn, not its points; then it is solid."""

    @property
    def newest(self) -> float | None:
        """The newest value of what is drawn."""
        return float(self.series.smooth[-1]) if self.smooth and len(self.series) else self.series.last


class Curves:
    """One training and one validation series, marks and a level."""

    def __init__(self, name: str, *, quantity: str = "loss", val_quantity: str = "nRMSE") -> None:
        self.name = name
        self.quantity, self.val_quantity = quantity, val_quantity
        self.train: Series | None = None
        self.val: Series | None = None
        self.level: float | None = None
        """Validation error of persistence."""
        self.stages: list[tuple[float, str]] = []
        """(position, name) at which each stage but the first begins."""
        self.others: list[Line] = []
        """Laid over this chart: other tasks, or the same task of other runs."""
        self.alert: Alert | None = None

    @property
    def all_series(self) -> "list[Series]":
        """Those that have points, the main one first."""
        candidates = [self.train, self.val, *(line.series for line in self.others)]
        return [series for series in candidates if series is not None and len(series)]

    @property
    def reach(self) -> tuple[float, float] | None:
        """Positions of its first and of its last point; None where it has none."""
        found = self.all_series
        if not found:
            return None
        return min(float(s.x[0]) for s in found), max(float(s.x[-1]) for s in found)

    @property
    def badness(self) -> tuple[int, float]:
        """Orders charts: the greater, the more it should be looked at."""
        severity = self.alert.severity if self.alert is not None else 0
        error = self.val.last if self.val is not None else None
        return severity, error if error is not None and math.isfinite(error) else 0.0


def reach_of(charts: "list[Curves]") -> tuple[float, float] | None:
    """As far as any of them reaches."""
    found = [reach for chart in charts if (reach := chart.reach) is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None
