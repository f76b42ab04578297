"""Calling the person at the terminal: its bell, and a notification of the desktop by OSC 9."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.runs.alerts import Alert

BELL = "\a"
_LONGEST = 200


def call(title: str, *, tmux: bool | None = None) -> str:
    """What the terminal is sent: OSC 9 and the bell.

    tmux passes it on where `allow-passthrough` is on, and swallows it otherwise; the bell it always knows.

    Args:
        title: what has happened; control characters are left out.
        tmux: whether one lies between; None: as `$TMUX` says.
    """
    text = "".join(char for char in title if char.isprintable())[:_LONGEST]
    notification = f"\x1b]9;ups-console: {text}{BELL}"
    if os.environ.get("TMUX") if tmux is None else tmux:
        doubled = notification.replace("\x1b", "\x1b\x1b")
        notification = f"\x1bPtmux;{doubled}\x1b\\"
    return notification + BELL


@dataclass(slots=True)
class Heard:
    """Which alerts this console has told; what was there when it was opened is no news."""

    keys: set[str] | None = field(default=None)

    def news(self, alerts: "Iterable[Alert]") -> "list[Alert]":
        """Those that are new, and new no more."""
        found = list(alerts)
        if self.keys is None:
            self.keys = {alert.key for alert in found}
            return []
        fresh = [alert for alert in found if alert.key not in self.keys]
        self.keys.update(alert.key for alert in fresh)
        return fresh
