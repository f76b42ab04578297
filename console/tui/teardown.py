"""Teardown from the keyboard: a five-second window, then one instance after the other, all visible.

Belongs to the app, not to a screen: switching screens neither hides nor stops it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from console.tui.drawing.text import Ink, Row

WINDOW_SECONDS = 5.0


@dataclass(slots=True)
class Teardowns:
    """What is about to go, what is going, and what was seen of it."""

    window_s: float = WINDOW_SECONDS
    now: Callable[[], float] = time.monotonic
    waiting: list[str] = field(default_factory=list)
    """Targets in the window: instance ids, labels or runs."""
    running: list[str] = field(default_factory=list)
    """Targets being torn down; the first one is at work."""
    until: float = 0.0
    """When the window closes."""
    lines: list[Row] = field(default_factory=list)
    loses: str = ""

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def ask(self, targets: list[str], loses: str) -> bool:
        """Open the window for targets that are not going already; False where there are none."""
        new = [t for t in targets if t not in self.running and t not in self.waiting]
        if not new:
            return False
        if not self.running:
            self.lines = []
        self.waiting += new
        self.loses = loses
        self.until = self.now() + self.window_s
        return True

    def take_back(self) -> list[str]:
        """Close the window without doing anything; what was saved."""
        saved, self.waiting = self.waiting, []
        return saved

    def due(self) -> list[str]:
        """The targets whose window has closed: they are now running."""
        if not self.waiting or self.now() < self.until:
            return []
        begun, self.waiting = self.waiting, []
        self.running += begun
        return begun

    def note(self, text: str, ink: Ink = "text", mark: str = " ") -> None:
        """Add a line."""
        self.lines.append([(f" {mark} ", ink), (text, ink)])

    def rows(self) -> list[Row]:
        """What the bar shows."""
        rows = list(self.lines)
        if self.waiting:
            left = max(0.0, self.until - self.now())
            what = ", ".join(self.waiting)
            rows.append([
                (" tearing down ", "bad"), (what, "title"), (f" in {left:.0f} s  ", "bad"),
                ("u", "key"), (" takes it back   ", "text"), (self.loses, "muted"),
            ])  # fmt: skip
        return rows
