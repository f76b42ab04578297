"""Small multiples: how many charts of a readable size fit, and how the others are paged."""

from msgspec import Struct

LEAST_WIDTH, LEAST_HEIGHT = 38, 7
"""Cells of a chart that can be read, its frame included."""


class Multiples(Struct, frozen=True):
    """A page of charts."""

    columns: int
    per_page: int
    pages: int
    """At least one."""

    def page(self, number: int) -> slice:
        """Which charts are on a page, counted from 0; one beyond the last is the last."""
        begin = self.in_range(number) * self.per_page
        return slice(begin, begin + self.per_page)

    def in_range(self, number: int) -> int:
        """The nearest page that there is."""
        return max(0, min(number, self.pages - 1))


def multiples(charts: int, width: int, height: int) -> Multiples:
    """How so many charts share `width` × `height` cells: as few rows as they need, never below readable."""
    across, down = max(1, width // LEAST_WIDTH), max(1, height // LEAST_HEIGHT)
    shown = max(1, min(charts, across * down))
    rows = -(-shown // across)
    return Multiples(-(-shown // rows), shown, max(1, -(-charts // shown)))
