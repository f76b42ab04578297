"""How all charts of a screen are drawn just now: one value that they share, so that they stay in step."""

from msgspec import Struct, field

from console.tui.drawing.axes import XAxis
from console.tui.window import Window


class ChartView(Struct):
    """Scales, smoothing, what the x axis counts and which part of it is shown, the crosshair."""

    log_y: bool = True
    smooth: bool = True
    axis: XAxis = XAxis.STEP
    window: Window = field(default_factory=Window)
    cross: float | None = None
    """Position of the crosshair in all charts."""
