"""A program `nvidia-smi` for a machine that has none: it says what it was told to."""

import shlex
from pathlib import Path

CARD = "NVIDIA GeForce RTX 4090"


def install(folder: Path, *, listing: str, query: str, code: int = 0) -> Path:
    """Write it into a folder of PATH; what is said, and the exit code, are the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    says = "".join(f"{case}) printf %s {shlex.quote(text)} ;;\n"
                   for case, text in (("-L", listing), ("--query-gpu*", query)))  # fmt: skip
    program.write_text(f'#!/bin/sh\ncase "$1" in\n{says}esac\nexit {code}\n')
    program.chmod(0o755)
    return program


def good(folder: Path, count: int = 1, *, driver: str = "570.86.10", dead: int | None = None) -> Path:
    """So many cards, of which one may be dead."""
    listing = "".join(f"GPU {index}: {CARD} (UUID: GPU-{index})\n" for index in range(count))
    rows = [
        f"{i}, {CARD}, {driver}" if i != dead else f"{i}, [GPU is lost], [GPU is lost]" for i in range(count)
    ]
    return install(folder, listing=listing, query="".join(f"{row}\n" for row in rows))
