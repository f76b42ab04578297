"""Small multiples of curves: pages of as many as can be read, one alone when zoomed."""

import re
from collections.abc import Collection, Sequence

from textual import events, on
from textual.containers import Container

from console.tui.chart_view import ChartView
from console.tui.curves import Curves
from console.tui.drawing.multiples import Multiples, multiples
from console.tui.widgets.curve import CurvePanel


class CurveGrid(Container):
    """Lays charts out. There are only as many panels as are in sight, whatever they show."""

    DEFAULT_CSS = """
    CurveGrid {
        layout: grid;
        grid-size: 1;
        grid-rows: 1fr;
        height: 1fr;
        min-height: 5;
    }
    """

    def __init__(self, view: ChartView | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view or ChartView()
        self._curves: list[Curves] = []
        self._slots: list[CurvePanel] = []
        self._used = 0
        """Of the slots, from the first on."""
        self._zoomed: str | None = None
        self._filter: re.Pattern[str] | None = None
        self._page = 0

    # --- what is shown -----------------------------------------------------------------------

    @property
    def panels(self) -> dict[str, CurvePanel]:
        """name → panel of the charts in sight, in their order."""
        return {panel.curves.name: panel for panel in self._slots[: self._used]}

    @property
    def matching(self) -> list[Curves]:
        """The charts that the filter lets through."""
        if self._filter is None:
            return self._curves
        return [curves for curves in self._curves if self._filter.search(curves.name)]

    @property
    def total(self) -> int:
        """How many charts there are."""
        return len(self._curves)

    @property
    def place(self) -> tuple[int, int]:
        """(number of the page in sight, counted from 1; number of pages)."""
        layout = self._layout(len(self.matching))
        return layout.in_range(self._page) + 1, layout.pages

    @property
    def zoomed(self) -> str | None:
        """The chart shown alone, if any."""
        return self._zoomed

    def set_curves(self, curves: Sequence[Curves]) -> None:
        """Show exactly these, in this order."""
        self._curves = list(curves)
        if self._zoomed is not None and self._zoomed not in {item.name for item in curves}:
            self._zoomed = None
        self._arrange()

    def order(self, names: Sequence[str]) -> None:
        """Put the charts in this order; nothing moves where it is the order already."""
        known = {item.name: item for item in self._curves}
        if list(known) != list(names) and known.keys() == set(names):
            self.set_curves([known[name] for name in names])

    def filter(self, pattern: re.Pattern[str] | None) -> None:
        """Show only the charts whose name matches somewhere."""
        self._filter = pattern
        self._page = 0
        self._arrange()

    def turn(self, by: int) -> bool:
        """Show another page, or, where one chart is zoomed, another chart; False where there is none."""
        page, pages = self.place
        wanted = page - 1 + by
        if not 0 <= wanted < pages:
            return False
        self._page = wanted
        if self._zoomed is not None:
            self._zoomed = self.matching[wanted].name
        self._arrange()
        return True

    # --- zoom --------------------------------------------------------------------------------

    def zoom(self, name: str | None) -> None:
        """Show one chart alone, or all."""
        names = [item.name for item in self.matching]
        before, self._zoomed = self._zoomed, name if name in names else None
        if self._zoomed is not None:
            self._page = names.index(self._zoomed)
        elif before in names:
            self._page = names.index(before) // self._layout(len(names)).per_page
        self._arrange()
        panel = self.panels.get(name or before or "")
        if panel is not None and (name is not None or self._has_focus):
            panel.focus()

    def toggle_zoom(self) -> None:
        """Zoom into the focused chart (else the first), or out."""
        if self._zoomed is not None:
            self.zoom(None)
            return
        chosen = next((name for name, panel in self.panels.items() if panel is self.screen.focused), None)
        self.zoom(chosen or next(iter(self.panels), None))

    @on(CurvePanel.Zoom)
    def _clicked_twice(self, message: CurvePanel.Zoom) -> None:
        if self._zoomed is None:
            self.zoom(message.panel.curves.name)
        else:
            self.zoom(None)

    # --- repainting --------------------------------------------------------------------------

    def changed(self, names: Collection[str] | None = None) -> None:
        """The data of these charts changed, or of all."""
        for name, panel in self.panels.items():
            if names is None or name in names:
                panel.changed()

    def repaint(self, but: CurvePanel | None = None) -> None:
        """Draw the charts in sight now, all but one that has been drawn."""
        for panel in self._slots[: self._used]:
            if panel is not but:
                panel.repaint()

    @on(CurvePanel.Crossed)
    def _crossed(self, message: CurvePanel.Crossed) -> None:
        self.repaint()

    # --- layout ------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    @property
    def _has_focus(self) -> bool:
        return self.screen.focused in self._slots

    def _layout(self, charts: int) -> Multiples:
        if self._zoomed is not None:
            return Multiples(1, 1, max(1, charts))
        return multiples(charts, self.size.width, self.size.height)

    def _arrange(self) -> None:
        """Give each chart of the page a panel.

        The focus stays with its chart; where nothing has it the first chart takes it with its place on the
        screen, which may come later than its data: without a chart in focus `/` would filter none.
        """
        if not self.is_attached or not self.size:
            return
        focused = next((p.curves.name for p in self._slots[: self._used] if p is self.screen.focused), None)
        had_focus = self._has_focus
        matching = self.matching
        layout = self._layout(len(matching))
        self._page = layout.in_range(self._page)
        shown = matching[layout.page(self._page)]
        self._give_slots(shown)
        if self.styles.grid_size_columns != layout.columns:
            self.styles.grid_size_columns = layout.columns
        chosen = self.panels.get(focused or "") or next(iter(self.panels.values()), None)
        if chosen is not None and self.screen.focused is None:
            self.screen.set_focus(chosen)
        elif had_focus and chosen is not None and chosen is not self.screen.focused:
            chosen.focus()

    def _give_slots(self, shown: Sequence[Curves]) -> None:
        for curves in shown[len(self._slots) :]:
            panel = CurvePanel(curves, self.view)
            self._slots.append(panel)
            self.mount(panel)
        self._used = len(shown)
        for index, panel in enumerate(self._slots):
            if panel.display != (index < len(shown)):
                panel.display = index < len(shown)
            if index < len(shown):
                panel.show(shown[index])
