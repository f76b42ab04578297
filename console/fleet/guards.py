"""Who sees to it that an instance ends, in plain words: at some providers all of them can die at once."""

from collections.abc import Iterator, Sequence

from console.api import Check, Level
from console.fleet.providers.base import Capabilities

UNBOUNDED = (
    "no key is safe enough for the box: if this laptop and `watch` both die, nothing stops it, "
    "and it goes on costing"
)
"""Where an instance cannot end itself."""


def guards_of(capabilities: Capabilities, *, watched: bool) -> Sequence[str]:
    """The dead-man switches of an instance, each independent of the others; at least one line."""
    if not capabilities.rented:
        return ("its own watchdog ends it with its run, and at its deadline",)
    watch = (
        "`ups-console watch` destroys it when its run is over, and at its deadline or cap"
        if watched
        else "`ups-console watch` does not run: it would destroy it at its deadline or cap"
    )
    console = "this console does the same while it is open"
    if capabilities.scoped_key:
        return ("its own watchdog destroys it with a key that opens nothing else", watch, console)
    return (watch, console, "its own watchdog can only switch it off, and it then costs the full price")


def unbounded_words(capabilities: Capabilities) -> str:
    """Why an instance may outlive everybody who would end it; empty where it ends itself."""
    return "" if capabilities.scoped_key or not capabilities.rented else UNBOUNDED


def guard_checks(capabilities: Capabilities, *, watched: bool = True) -> Iterator[Check]:
    """What is said of it before paying; a paid launch starts `watch`, so that it runs by then."""
    words = unbounded_words(capabilities)
    if words:
        yield Check(
            Level.DANGER,
            words,
            hint="`ups-console watch --labels-only` on a host that is always on destroys it at its deadline",
        )
    elif capabilities.rented:
        guards = len(guards_of(capabilities, watched=watched))
        yield Check(
            Level.OK, f"{guards} guards, any of which ends it: its own watchdog, `watch`, this console"
        )
