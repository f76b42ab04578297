"""What `nvidia-smi` says of a machine's GPUs, and whether a run can use them. Pure, and free of torch.

A GPU that is dead is named: a training on the others would take twice as long, and nobody would know why.
"""

import re
from dataclasses import dataclass

LIST_COMMAND = ("nvidia-smi", "-L")
QUERY_COMMAND = ("nvidia-smi", "--query-gpu=index,name,driver_version", "--format=csv,noheader")

_LISTED = re.compile(r"^GPU (\d+): (.+?)(?: \(UUID: .*)?$")
_NO_HANDLE = re.compile(r"Unable to determine the device handle for (?:gpu\s*)?(.+): ([^:]+)$", re.IGNORECASE)
_BROKEN = re.compile(r"\[(GPU is lost|Unknown Error|GPU requires reset)\]|\bERR!", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")

_LEAST_DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""Major version of CUDA → the oldest driver that runs what was built for any of its minor versions."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that a machine has, as its driver sees them."""

    names: tuple[str, ...] = ()
    """Of those that answer."""
    dead: tuple[str, ...] = ()
    """Those that are there and do not, with what is said of them."""
    driver: str | None = None
    trouble: str = ""
    """What is said where none answers."""

    @property
    def count(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a machine's GPUs will not do."""

    message: str
    hint: str


def read(listing: str, query: str) -> Gpus:
    """Read what the two commands have written, on stdout and stderr together; "" where they are not there."""
    listed: dict[str, str] = {}
    dead: dict[str, str] = {}
    answering: dict[str, str] = {}
    driver, said = None, []
    for line in listing.splitlines():
        if (found := _LISTED.match(line.strip())) is not None:
            listed[found[1]] = found[2]
    for line in (*listing.splitlines(), *query.splitlines()):
        if (found := _NO_HANDLE.search(line)) is not None:
            dead.setdefault(_place(found[1]), f"GPU {_place(found[1])}: {found[2].strip().rstrip('.')}")
    for line in query.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 3 or not cells[0].isdigit():
            said += [line.strip()] if line.strip() else []
        elif (broken := _BROKEN.search(line)) is not None:
            name = listed.get(cells[0], cells[1])
            dead[cells[0]] = f"GPU {cells[0]} ({name}): {broken[1] or broken[0]}"
        else:
            answering[cells[0]] = ", ".join(cells[1:-1])
            driver = cells[-1] if _NUMBER.match(cells[-1]) else driver
    for index, name in listed.items():
        if answering and index not in answering and index not in dead:
            dead[index] = f"GPU {index} ({name}): it does not answer"
    trouble = "" if answering else next(iter(said), "")
    return Gpus(tuple(answering.values()), tuple(dead.values()), driver, trouble)


def fault_of(gpus: Gpus, *, wanted: int, cuda: str | None = None) -> Fault | None:
    """Why the GPUs will not do, the first reason; None where they will.

    Args:
        gpus: those of the machine.
        wanted: so many have to be there.
        cuda: version that the installed torch was built for; None: unknown, or for none.
    """
    if gpus.dead:
        others = f"; {gpus.count} of {gpus.count + len(gpus.dead)} answer" if gpus.count else ""
        return Fault(
            f"{' and '.join(gpus.dead)}{others}",
            "take another machine, or leave it out with CUDA_VISIBLE_DEVICES where that is meant",
        )
    if wanted and not gpus.count:
        said = f": {gpus.trouble}" if gpus.trouble else ": nvidia-smi finds none"
        return Fault(
            f"{_number(wanted)} wanted, and the machine has none{said}",
            "take another machine; UPS_REMOTE_DEVICE=cpu trains without one",
        )
    if gpus.count < wanted:
        return Fault(
            f"{_number(wanted)} wanted, and the machine has {gpus.count}: {', '.join(gpus.names)}",
            "rent as many with --num-gpus, or ask for fewer processes",
        )
    return driver_fault(gpus.driver, cuda) if gpus.count else None


def driver_fault(driver: str | None, cuda: str | None) -> Fault | None:
    """Why a driver cannot run what was built for a version of CUDA; None where it can, or that is unknown."""
    least = _LEAST_DRIVERS.get(_version(cuda)[0]) if cuda and _version(cuda) else None
    if driver is None or least is None or _version(driver) >= _version(least):
        return None
    return Fault(
        f"the driver {driver} is too old for torch's CUDA {cuda}, which needs {least} or newer",
        "take a machine with a newer driver, or an --image with a torch for an older CUDA",
    )


def visible(variable: str | None, count: int) -> int:
    """How many of so many GPUs CUDA_VISIBLE_DEVICES leaves; all where it is not set."""
    if variable is None:
        return count
    return min(count, len([part for part in variable.split(",") if part.strip() not in ("", "-1")]))


def _place(text: str) -> str:
    """`GPU1: 0000:41:00.0` and `0000:41:00.0` as people write them."""
    return re.sub(r"^(\d+):\s*(?=[0-9A-Fa-f]{4,8}:)", r"\1 at ", text.strip())


def _number(count: int) -> str:
    return f"{count} GPU{'s are' if count != 1 else ' is'}"


def _version(text: str) -> list[int]:
    return [int(part) for part in _NUMBER.findall(text)[:3]]
