"""What the run's machine did over time, as small charts; all GPUs in one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from textual import events
from textual.containers import Container

from console.tui.chart_view import ChartView
from console.tui.drawing.axes import XAxis
from console.tui.drawing.text import Row, number
from console.tui.widgets.panel import Panel

if TYPE_CHECKING:
    import numpy as np

    from console.runs.system_track import SystemTrack

    Array = np.ndarray[Any, Any]

_LEAST_WIDTH, _LEAST_HEIGHT = 24, 6
_MOST_NAMED = 4
"""GPUs whose newest figures stand in the frame."""


class Figure(Struct, frozen=True):
    """One figure of the machine."""

    name: str
    """As `SystemTrack` calls it."""
    title: str
    unit: str = "%"
    scale: float = 1.0
    """What the figure is divided by."""
    top: float | None = None
    """Upper end of the y axis, which begins at zero; None: as high as the figure goes."""


FIGURES = (
    Figure("util", "gpu", top=100),
    Figure("memory", "gpu memory", "GB", 1e9),
    Figure("power", "gpu power", "W"),
    Figure("temp", "gpu heat", "°C"),
    Figure("cpu", "cpu", top=100),
    Figure("ram", "ram", top=100),
    Figure("net_recv", "network in", "MB/s", 1e6),
    Figure("net_sent", "network out", "MB/s", 1e6),
    Figure("disk_free", "disk free", "GB", 1e9),
)


class FigurePanel(Panel):
    """One figure over time, a line a GPU."""

    def __init__(self, figure: Figure, view: ChartView) -> None:
        super().__init__()
        self.figure = figure
        self.view = view
        self.left_out = 0
        """Figures after this one that have no room."""
        self.times: Array | None = None
        self.lines: Mapping[int, tuple[Array, Array, Array]] = {}

    def show(self, times: "Array", lines: "Mapping[int, tuple[Array, Array, Array]]") -> None:
        """Show a figure.

        Args:
            times: [n] seconds since the run began, ascending.
            lines: GPU, or 0 → mean, least and greatest, each [n].
        """
        self.times, self.lines = times, lines
        self.changed()

    def title(self) -> Row:
        return [(self.figure.title, "title"), (f" {self.figure.unit}", "muted")]

    @property
    def title_least(self) -> int:
        return 1  # rather the figure than its unit

    def footnote(self) -> Row:
        return [(f"{self.left_out} more need room", "muted")] if self.left_out else []

    def summary(self) -> Row:
        row: Row = []
        for index, (mean, _, _) in list(self.lines.items())[:_MOST_NAMED]:
            newest = float(mean[-1]) / self.figure.scale if len(mean) else None
            row.append((f"{' ' if row else ''}{number(newest)}", _ink(index)))
        return row

    def draw(self, width: int, height: int) -> list[Row]:
        import numpy as np

        from console.tui.drawing.curves import Chart, Trace, draw_chart

        if self.times is None:
            return []
        traces = []
        for index, (mean, low, high) in self.lines.items():
            scaled = [values / self.figure.scale for values in (mean, low, high)]
            traces.append(Trace(self.times, scaled[0], _ink(index), spread=(scaled[1], scaled[2])))
        known = [np.nanmax(trace.y) for trace in traces if np.isfinite(trace.y).any()]
        in_step = self.view.axis is XAxis.TIME
        chart = Chart(
            traces,
            log_y=False,
            cross=self.view.cross if in_step else None,
            x_range=self.view.window.shown if in_step else None,
            axis=XAxis.TIME,
            y_range=(0.0, float(self.figure.top or 1.1 * max(known, default=1.0)) or 1.0),
        )
        return draw_chart(chart, width, height) or []


def _ink(index: int) -> str:
    return f"task:gpu{index}"


class Machine(Container):
    """A panel for each figure that the run's events have."""

    DEFAULT_CSS = """
    Machine { layout: grid; grid-size: 4; grid-rows: 1fr; height: 1fr; }
    """

    def __init__(self, view: ChartView, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self._panels: dict[str, FigurePanel] = {}

    def show(self, track: "SystemTrack", since: float) -> None:
        """Show what is known of a machine.

        Args:
            track: its figures.
            since: when the run began, in Unix seconds.
        """
        import numpy as np

        times = np.maximum.accumulate(track.times - since)
        found = {figure.name: track.lines(figure.name) for figure in FIGURES}
        for figure in FIGURES:
            lines = {
                index: (values[0].copy(), values[1].copy(), values[2].copy())
                for index, values in found[figure.name].items()
            }
            if lines and figure.name not in self._panels:
                panel = self._panels[figure.name] = FigurePanel(figure, self.view)
                self.mount(panel)
            if figure.name in self._panels:
                self._panels[figure.name].show(times, lines)
        self._arrange()

    def repaint(self) -> None:
        """Draw all panels now."""
        for panel in self._panels.values():
            panel.repaint()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Show the figures that are known, the first ones where not all have room."""
        known = [panel for figure in FIGURES if (panel := self._panels.get(figure.name)) and panel.lines]
        down = max(1, self.size.height // _LEAST_HEIGHT)
        fits = max(1, self.size.width // _LEAST_WIDTH)
        shown = known[: down * fits]
        for panel in self._panels.values():
            panel.display = panel in shown
            panel.left_out = len(known) - len(shown) if panel is shown[-1] else 0
        rows = min(down, -(-len(shown) // fits)) or 1
        columns = max(1, -(-len(shown) // rows))
        if self.styles.grid_size_columns != columns:
            self.styles.grid_size_columns = columns
