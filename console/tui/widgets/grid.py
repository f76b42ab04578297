"""Small multiples of curves: as many columns as fit, one alone when zoomed."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.containers import Container

from console.tui.widgets.curve import CurvePanel, Curves

_LEAST_WIDTH = 38


class CurveGrid(Container):
    """Lays out one `CurvePanel` per task."""

    DEFAULT_CSS = """
    CurveGrid {
        layout: grid;
        grid-size: 1;
        grid-rows: 1fr;
        height: 1fr;
        min-height: 5;
    }
    CurveGrid.-zoomed CurvePanel { display: none; }
    CurveGrid.-zoomed CurvePanel.-chosen { display: block; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = set()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._panels: dict[str, CurvePanel] = {}
        self._zoomed: str | None = None

    @property
    def panels(self) -> dict[str, CurvePanel]:
        """task → its panel, in the order shown."""
        return self._panels

    async def set_curves(self, curves: Sequence[Curves]) -> None:
        """Show exactly these; panels of tasks that stay are kept."""
        wanted = {item.name: item for item in curves}
        for name in [name for name in self._panels if name not in wanted]:
            await self._panels.pop(name).remove()
        for name, item in wanted.items():
            if name in self._panels:
                self._panels[name].curves = item
                self._panels[name].changed()
            else:
                self._panels[name] = CurvePanel(item)
                await self.mount(self._panels[name])
        if self._zoomed not in self._panels:
            self.zoom(None)
        self._arrange()

    def order(self, names: Sequence[str]) -> None:
        """Put the panels in this order; nothing moves where it is the order already."""
        if list(self._panels) == list(names) or set(names) != set(self._panels):
            return
        self._panels = {name: self._panels[name] for name in names}
        for before, after in zip(names[1:], names, strict=False):
            self.move_child(self._panels[before], after=self._panels[after])

    def zoom(self, name: str | None) -> None:
        """Show one panel alone, or all."""
        self._zoomed = name
        self.set_class(name is not None, "-zoomed")
        for task, panel in self._panels.items():
            panel.set_class(task == name, "-chosen")
        if name is not None:
            self._panels[name].focus()
        self._arrange()

    @property
    def zoomed(self) -> str | None:
        """The task shown alone, if any."""
        return self._zoomed

    def toggle_zoom(self) -> None:
        """Zoom into the focused panel (else the first), or out."""
        if self._zoomed is not None:
            self.zoom(None)
            return
        chosen = next((name for name, panel in self._panels.items() if panel.has_focus), None)
        first = next(iter(self._panels), None)
        if chosen or first:
            self.zoom(chosen or first)

    def changed(self, names: Sequence[str] | None = None) -> None:
        """The data of these panels changed, or of all."""
        for name, panel in self._panels.items():
            if names is None or name in names:
                panel.changed()

    @on(CurvePanel.Zoom)
    def _clicked_twice(self, message: CurvePanel.Zoom) -> None:
        message.stop()
        self.zoom(None if self._zoomed else message.panel.curves.name)

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        shown = 1 if self._zoomed else max(1, len(self._panels))
        fits = max(1, self.size.width // _LEAST_WIDTH)
        rows = -(-shown // fits)
        self.styles.grid_size_columns = -(-shown // rows)
