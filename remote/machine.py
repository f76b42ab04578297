"""Whether this machine can run what it is to run: its GPUs, and the driver for the torch that is installed.

Asked before anything is fetched. Nothing is imported for it: torch alone takes seconds.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ups import gpus
from ups.errors import MachineError
from ups.ranks import ALONE, Ranks

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
_PATIENCE_S = 60.0
_CUDA = re.compile(r"^cuda\b[^=]*=\s*'([\d.]+)'", re.MULTILINE)


def require_gpus(device: str, ranks: Ranks = ALONE) -> None:
    """Raises MachineError where a GPU is dead, the driver too old, or fewer are there than processes.

    Args:
        device: what was asked for: "" for whatever there is, `cpu`, `cuda`, or a certain one.
        ranks: the processes that share this machine.
    """
    if device == "cpu" or re.fullmatch(r"cuda:\d+", device):
        return
    found = gpus.read(_said(gpus.LIST_COMMAND), _said(gpus.QUERY_COMMAND))
    chosen = os.environ.get(VISIBLE_VARIABLE)
    if chosen is not None:  # whoever chooses leaves dead ones out on purpose
        found = gpus.Gpus(found.names[: gpus.visible(chosen, found.count)], (), found.driver, found.trouble)
    if not found.names and not found.dead and device != "cuda":
        return
    wanted = ranks.local_world_size if ranks.world_size > 1 or device == "cuda" else 0
    fault = gpus.fault_of(found, wanted=wanted, cuda=torch_cuda())
    if fault is not None:
        raise MachineError(fault.message, hint=fault.hint)


def torch_cuda() -> str | None:
    """The version of CUDA that the installed torch was built for; None: for none, or there is no torch."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    try:
        text = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    version = _CUDA.search(text)
    return version[1] if version is not None else None


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    except subprocess.TimeoutExpired:  # a driver that hangs
        return f"nvidia-smi does not answer within {_PATIENCE_S:.0f} s"
    return done.stdout.decode(errors="replace")
