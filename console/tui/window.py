"""The part of the x axis that all charts show: all of it, or a window that keeps to the newest end."""

import math

from msgspec import Struct

from console.tui.drawing.axes import nice_step

Range = tuple[float, float]
"""Positions of the left and of the right end."""

_AHEAD = 1 / 128
"""Share of the whole; the round positions where the axis ends while points come are no closer."""
_MOST_ZOOM = 1e-5
"""The smallest share of the whole that a window may be."""


class Window(Struct):
    """A range within another that may grow at its right end."""

    whole: Range | None = None
    """As far as any chart reaches; None while there is no point."""
    width: float | None = None
    """Of the window; None: all is shown."""
    end: float | None = None
    """Where the window ends; None: at the newest point, also when more come."""
    _edge: float = -math.inf
    """Where the axis ends while all is shown, if that is beyond the newest point."""

    @property
    def shown(self) -> Range | None:
        """What is in sight."""
        if self.whole is None:
            return None
        if self.width is None:
            return self.whole[0], max(self.whole[1], self._edge)
        end = self.whole[1] if self.end is None else self.end
        return end - self.width, end

    @property
    def follows(self) -> bool:
        """Whether the newest point stays in sight."""
        return self.end is None

    def cover(self, whole: Range | None, *, more_come: bool) -> bool:
        """Take over how far the charts reach now; returns whether what is in sight changed.

        With every point that comes all others would move a little to the left, and all charts were to be
        drawn anew: while more come the axis ends at the next round position.
        """
        before = self.shown
        self.whole, self._edge = whole, -math.inf
        if whole is not None and more_come:
            step = nice_step(_AHEAD * (whole[1] - whole[0]))
            self._edge = step * math.ceil(whole[1] / step)
        return self.shown != before

    def zoom(self, factor: float, around: float | None = None) -> None:
        """Show `factor` of what is in sight now.

        Args:
            factor: below 1 magnifies.
            around: a position that stays where it is; None: the newest end where it is followed, else the
                middle.
        """
        shown = self.shown
        if shown is None or self.whole is None:
            return
        low, high = shown
        if around is None or not low <= around <= high:
            around = high if self.follows else (low + high) / 2
        all_of_it = self.whole[1] - self.whole[0]
        width = max((high - low) * factor, all_of_it * _MOST_ZOOM)
        if width >= all_of_it:
            self.reset()
            return
        self._place(around - (around - low) * width / (high - low), width)

    def pan(self, share: float) -> None:
        """Move by a share of the window, to the right where it is positive."""
        shown = self.shown
        if shown is not None and self.width is not None:
            self._place(shown[0] + share * self.width, self.width)

    def reveal(self, position: float) -> None:
        """Move as little as is needed to have a position in sight."""
        shown = self.shown
        if shown is None or self.width is None or shown[0] <= position <= shown[1]:
            return
        self._place(position if position < shown[0] else position - self.width, self.width)

    def reset(self) -> None:
        """Show all, and follow the newest point."""
        self.width = self.end = None

    def _place(self, low: float, width: float) -> None:
        assert self.whole is not None
        low = max(low, self.whole[0])
        end = low + width
        self.width = width
        self.end = None if end >= self.whole[1] - 1e-9 * abs(self.whole[1]) else end
