"""What colour the terminal has behind the text, where it tells in time: OSC 11.

The question goes out before the console's modules are imported, and the answer is fetched after that: a
terminal that answers at once costs nothing, and one that does not answer is not waited for.
"""

import contextlib
import os
import re
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_QUESTION = b"\x1b]11;?\x07\x1b[c"
"""The background; then what kind of terminal it is, which all of them tell, and in this order."""
_COLOUR = re.compile(
    rb"\x1b\]11;rgba?:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)[^\x07\x1b]*(?:\x07|\x1b\\)"
)
_KIND = re.compile(rb"\x1b\[\?[\d;]*c")
_LEAST = 0.05
"""Seconds that the rest of an answer may take which has begun to come."""


class Asked:
    """A question that is under way."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._heard = b""
        self._asked = False
        self.typed = ""
        """What the user pressed meanwhile."""

    def ask(self) -> None:
        """Send it."""
        with contextlib.suppress(OSError):
            os.write(self._terminal, _QUESTION)
            self._asked = True

    def is_light(self) -> bool | None:
        """Whether the background is light; None where the terminal has not said so by now."""
        if not self._asked:
            return None
        patience = 0.0
        while not _KIND.search(self._heard):
            if not select.select([self._terminal], [], [], patience)[0]:
                break
            try:
                chunk = os.read(self._terminal, 4096)
            except OSError:
                break
            if not chunk:
                break
            self._heard += chunk
            patience = _LEAST if b"\x1b" in self._heard else 0.0
        found = _COLOUR.search(self._heard)
        self.typed = _KIND.sub(b"", _COLOUR.sub(b"", self._heard)).decode(errors="ignore")
        return None if found is None else _is_light(found.groups())


@contextlib.contextmanager
def asked_terminal() -> "Iterator[Asked | None]":
    """Ask the terminal; None where there is none to ask. Nothing is echoed until the block is left."""
    try:
        import termios
        import tty
    except ImportError:
        yield None
        return
    terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
    if terminal < 0 or not os.isatty(terminal) or not _answers_in_time():
        yield None
        return
    before: list[Any] = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        asked = Asked(terminal)
        asked.ask()
        yield asked
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _answers_in_time() -> bool:
    """Whether an answer may be expected at once: one that comes late would be taken for keys."""
    far = any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "STY"))
    return not far and os.environ.get("TERM", "dumb") not in ("dumb", "linux")


def _is_light(channels: tuple[bytes, ...]) -> bool:
    red, green, blue = (int(value, 16) / (16 ** len(value) - 1) for value in channels)
    return bool(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5)
