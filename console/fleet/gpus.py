"""Names of GPUs: `RTX_4090`, `RTX 4090`, `NVIDIA GeForce RTX 4090` and `rtx4090` are one."""

import difflib
import re
from collections.abc import Iterable, Sequence

from ups.errors import UsageError

KNOWN = (
    "A10", "A100 PCIE", "A100 SXM4", "A16", "A40", "A800 PCIE",
    "B200", "B300", "GB200", "GH200 SXM",
    "H100 NVL", "H100 PCIE", "H100 SXM", "H200", "H200 NVL",
    "L4", "L40", "L40S",
    "GTX 1070", "GTX 1080", "GTX 1080 Ti", "GTX 1660 S", "Titan RTX", "Titan V", "Titan Xp",
    "RTX 2060", "RTX 2070", "RTX 2080", "RTX 2080 Ti",
    "RTX 3060", "RTX 3060 Ti", "RTX 3070", "RTX 3070 Ti", "RTX 3080", "RTX 3080 Ti",
    "RTX 3090", "RTX 3090 Ti",
    "RTX 4060", "RTX 4060 Ti", "RTX 4070", "RTX 4070 Ti", "RTX 4070S", "RTX 4070S Ti",
    "RTX 4080", "RTX 4080S", "RTX 4090", "RTX 4090D",
    "RTX 5060", "RTX 5060 Ti", "RTX 5070", "RTX 5070 Ti", "RTX 5080", "RTX 5090",
    "RTX 4000Ada", "RTX 4500Ada", "RTX 5000Ada", "RTX 5880Ada", "RTX 6000Ada",
    "RTX A2000", "RTX A4000", "RTX A4500", "RTX A5000", "RTX A6000",
    "RTX PRO 4000", "RTX PRO 4500", "RTX PRO 5000", "RTX PRO 6000 S", "RTX PRO 6000 WS",
    "Q RTX 4000", "Q RTX 6000", "Q RTX 8000",
    "Tesla P100", "Tesla P40", "Tesla T4", "Tesla V100",
)  # fmt: skip
"""As the market writes them. A model that is missing here is still found where somebody offers it."""

_VENDOR = re.compile(r"\b(NVIDIA|GEFORCE|TESLA)\b")
_SOCKET = re.compile(r"SXM\d")
"""Its generation follows from the model."""
_FORM = re.compile(r"(SXM|PCIE|NVL|HBM\d?E?|\d+GB)*")
"""What may follow a model's name without making it another model."""
_NEAREST = 4


def written(name: str) -> str:
    """The name as people write it on a command line: `RTX_4090`."""
    return name.strip().replace(" ", "_")


def is_meant(wanted: str, offered: str) -> bool:
    """Whether who wants `wanted` gets it in `offered`.

    `H100` is any H100, whatever its socket; `RTX_4090` is no `RTX 4090D`, and `RTX_3090` no `RTX 3090 Ti`.
    """
    name, other = _compact(wanted), _compact(offered)
    if not name:
        return False
    return any(
        candidate.startswith(name) and _FORM.fullmatch(candidate[len(name) :]) is not None
        for candidate in (other, other.removeprefix("RTX"))
    )


def resolve(wanted: Sequence[str], offered: Iterable[str] = ()) -> tuple[str, ...]:
    """The market's names of the wanted models, in order of preference.

    `offered` adds names that somebody offers now to the known ones.

    Raises:
        UsageError: a name is of no GPU; it says which ones are near.
    """
    names = sorted({*KNOWN, *offered})
    found: dict[str, None] = {}
    for name in wanted:
        meant = [candidate for candidate in names if is_meant(name, candidate)]
        if not meant:
            near = nearest(name, names)
            raise UsageError(
                f"no GPU is called {name!r}",
                hint=f"did you mean {' or '.join(near)}?" if near else "as in RTX_4090, A100 or H100",
            )
        found.update(dict.fromkeys(meant))
    return tuple(found)


def is_known(wanted: str) -> bool:
    """Whether the name is of a model in `KNOWN`."""
    return any(is_meant(wanted, name) for name in KNOWN)


def nearest(name: str, names: Iterable[str] = KNOWN) -> list[str]:
    """The most similar names, as they are written on a command line; the best first."""
    compact = {_compact(candidate): written(candidate) for candidate in names}
    close = difflib.get_close_matches(_compact(name), list(compact), n=_NEAREST, cutoff=0.5)
    return [compact[candidate] for candidate in close]


def _compact(name: str) -> str:
    spaced = _VENDOR.sub(" ", name.upper().replace("_", " "))
    return re.sub(r"[^A-Z0-9]", "", _SOCKET.sub("SXM", spaced))
