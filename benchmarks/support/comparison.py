"""What every benchmark has in common: its arguments, its table, its JSON, and when it fails."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of ours beside the peer's, and the bar that it has to hold."""

    what: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    better: Literal["lower", "higher"]
    bar: float | None = None
    """Bound of `ratio`: at most it where lower is better, else at least it. None: reported only."""
    judged: bool = True
    """False: measured at sizes at which the bar means nothing."""
    paired: float | None = None
    """Where ours and the peer took turns: the median of the ratios of the turns."""

    @property
    def ratio(self) -> float | None:
        """Ours by the peer's, turn by turn where that is known; None where the peer's is 0."""
        if self.paired is not None:
            return self.paired
        return self.ours / self.peer if self.peer else None

    @property
    def holds(self) -> bool | None:
        """The bar is held; None where there is none, or it was not judged."""
        if self.bar is None or not self.judged or self.ratio is None:
            return None
        return self.ratio <= self.bar if self.better == "lower" else self.ratio >= self.bar

    def to_json(self) -> dict[str, Any]:
        """The row as the JSON output holds it."""
        return {
            "what": self.what, "ours": self.ours, "peer": self.peer, "peer_name": self.peer_name,
            "unit": self.unit, "better": self.better, "ratio": self.ratio, "bar": self.bar,
            "holds": self.holds,
        }  # fmt: skip


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the rows here")
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    return parser


def finish(rows: Sequence[Row], out: Path | None, circumstances: Mapping[str, Any] | None = None) -> int:
    """Print the table, write the JSON; the exit code: 0 when every judged bar holds, else 1.

    Args:
        rows: what was measured.
        out: where the JSON goes.
        circumstances: what else is to be known of the machine, such as what others did on it.
    """
    sys.stdout.write(table(rows))
    if out is not None:
        content = {
            "machine": {**machine(), **(circumstances or {})},
            "rows": [row.to_json() for row in rows],
        }
        out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if any(row.holds is False for row in rows) else 0


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    cells = [("", "ours", "peer", "", "ratio", "bar", "")]
    for row in rows:
        sign = "≤" if row.better == "lower" else "≥"
        cells.append(
            (
                row.what,
                f"{row.ours:.4g} {row.unit}",
                f"{row.peer:.4g} {row.unit}",
                row.peer_name,
                "–" if row.ratio is None else f"{row.ratio:.3g}",
                "–" if row.bar is None else f"{sign} {row.bar:g}",
                {True: "holds", False: "MISSED", None: "not judged"}[row.holds],
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in cells
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())
