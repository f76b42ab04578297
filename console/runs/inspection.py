"""A look at a box that has just let us in: its clock and its GPUs, before anything is sent there.

A machine that will not do is given back at once, and another one is tried.
"""

import re
import shlex
import time
from collections.abc import Callable

from console.errors import UnfitError
from console.runs.transport import Transport
from ups import gpus
from ups.gpus import Gpus

CLOCK_TOLERANCE_S = 300.0
"""A bucket refuses what was signed a quarter of an hour off."""
_ANSWER_S = 90.0
_PART = b"\n--- ups part\n"
_COUNT = re.compile(r"×(\d+)$")

_SCRIPT = "\n".join(
    ("date +%s", *(f"printf '\\n--- ups part\\n'\n{shlex.join(command)} 2>&1"
                   for command in (gpus.LIST_COMMAND, gpus.QUERY_COMMAND)), "exit 0")
)  # fmt: skip


def gpus_rented(what: str) -> int:
    """How many GPUs an instance was rented with, as the ledger has it: `RTX 4090 ×2`."""
    found = _COUNT.search(what)
    return int(found[1]) if found is not None else 0


def inspect(transport: Transport, *, rented_gpus: int, clock: Callable[[], float] = time.time) -> Gpus:
    """The GPUs of a box that will do.

    Args:
        transport: to the box.
        rented_gpus: so many have to work; 0: none is asked for.
        clock: Unix seconds of this machine.

    Raises:
        UnfitError: its clock is wrong, or a GPU is dead or missing.
        ProviderError: the box cannot be reached.
    """
    before = clock()
    done = transport.run(["sh", "-c", _SCRIPT], timeout_s=_ANSWER_S)
    time_there, *said = done.out.split(_PART)
    _require_clock(time_there, before, clock())
    if not rented_gpus:
        return Gpus()
    listing, query = (part.decode(errors="replace") for part in (*said, b"", b"")[:2])
    found = gpus.read(listing, query)
    fault = gpus.fault_of(found, wanted=rented_gpus)
    if fault is not None:
        raise UnfitError(fault.message, hint=fault.hint)
    return found


def require_driver(found: Gpus, cuda: str | None) -> None:
    """Raises UnfitError where the driver is too old for a torch that was built for this version of CUDA."""
    fault = gpus.driver_fault(found.driver, cuda)
    if fault is not None:
        raise UnfitError(fault.message, hint=fault.hint)


def _require_clock(said: bytes, before: float, after: float) -> None:
    try:
        there = float(said.split()[-1])
    except (ValueError, IndexError):
        return  # a box that cannot tell the time is not refused for it
    off = there - min(max(there, before), after)
    if abs(off) > CLOCK_TOLERANCE_S:
        raise UnfitError(
            f"the box's clock is {_words(abs(off))} {'ahead' if off > 0 else 'behind'}",
            hint="a bucket would refuse its uploads; take another machine, or set this machine's clock",
        )


def _words(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
