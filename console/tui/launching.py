"""A launch from the keyboard: one at a time, its steps on every screen until its run has started.

Belongs to the app, not to a screen: switching screens neither hides nor stops it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from console.tui.drawing.text import Row, duration
from ups.errors import UpsError


class LaunchLeftError(UpsError):
    """The user left the console while something was launched."""


@dataclass(slots=True)
class Launching:
    """What is being launched, and how far that is; read and written by the screens' thread only."""

    now: Callable[[], float] = time.monotonic
    what: str = ""
    """Config and machine; empty: nothing is launched."""
    run: str | None = None
    """Its id, as soon as it has one."""
    rented: bool = False
    """It costs money."""
    step: str = ""
    since: float = 0.0
    failure: str = ""
    """Why the last launch failed; empty where it did not."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the console is left: the launch ends itself at its next step."""

    @property
    def busy(self) -> bool:
        return bool(self.what)

    def begin(self, what: str, *, rented: bool) -> None:
        """Something is launched from now on."""
        self.what, self.rented, self.run, self.failure = what, rented, None, ""
        self.step, self.since = "", self.now()

    def end(self, failure: str = "") -> None:
        """It has started, or failed."""
        if failure:
            self.failure = f"{self.what} did not start: {failure}"
        self.what = self.step = ""

    def row(self) -> Row:
        """What the bar shows; an empty row hides it."""
        if self.busy:
            spent = duration(self.now() - self.since)
            return [(" ▶ launching ", "accent"), (self.what, "title"), (f"  {spent}  ", "muted"),
                    (self.step or "checking", "text")]  # fmt: skip
        return (
            [(" ✗ ", "bad"), (self.failure, "bad"), ("   enter on 1 dismisses it", "muted")]
            if self.failure
            else []
        )


def until_left(say: Callable[[str], None], left: threading.Event) -> Callable[[str], None]:
    """`say`, but the first word after the console was left stops the launch, which then cleans up."""
    stopped = False

    def told(text: str) -> None:
        nonlocal stopped
        if left.is_set() and not stopped:
            stopped = True  # what is said while it cleans up must not stop that
            raise LaunchLeftError("the console was left during the launch")
        say(text)

    return told
