"""The machine a run computes on: which device, how many threads, whose process, which versions."""

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from remote import machine, watchdog
from ups.errors import ConfigError, MachineError, UsageError
from ups.ranks import ALONE, Ranks
from ups.rundir import code_version

DEVICE_VARIABLE = "UPS_REMOTE_DEVICE"
_NVIDIA_NODE = "/dev/nvidiactl"
_GPU_NODES = (_NVIDIA_NODE, "/dev/dxg", "/dev/kfd")
_TRAIN_EXTRA = frozenset({"torch", "einops", "httpx", "safetensors", "scipy"})


def device(ranks: Ranks = ALONE) -> str:
    """`cuda` where there is one, else `cpu`; `UPS_REMOTE_DEVICE` decides otherwise.

    Raises:
        ConfigError: the asked device is not on this machine.
        MachineError: it has a GPU that cannot be used, or fewer than processes.
    """
    wanted = os.environ.get(DEVICE_VARIABLE, "").strip()
    if wanted == "cpu" or (not wanted and not any(Path(node).exists() for node in _GPU_NODES)):
        return "cpu"  # known without the seconds that importing torch takes
    machine.require_gpus(wanted, ranks)
    import torch

    available = torch.cuda.is_available()
    if wanted.startswith("cuda") and not available:
        raise ConfigError(
            f"{DEVICE_VARIABLE} is {wanted}, but torch {torch.__version__} sees no GPU here",
            hint=f"unset it, or set {DEVICE_VARIABLE}=cpu",
        )
    if not available and torch.version.cuda is not None and Path(_NVIDIA_NODE).exists():
        raise MachineError(
            f"this machine has an NVIDIA GPU that torch {torch.__version__} cannot use",
            hint=f"`nvidia-smi` may say why; {DEVICE_VARIABLE}=cpu trains without it",
        )
    return wanted or ("cuda" if available else "cpu")


def share_cores() -> None:
    """Let torch's idle threads wait a moment and then sleep; only in time before torch is imported.

    OpenMP's default is to spin: on a machine that does other work besides, training was then up to
    ten times slower. Sleeping at once costs an idle machine 70 %, a thousand spins first cost it 15 %.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(threads: int | None) -> int:
    """Give torch this many CPU threads; returns how many it has."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return int(torch.get_num_threads())


def describe(on: str, threads: int | None) -> dict[str, Any]:
    """What the `run` event says of the machine; no host name, no path."""
    return {
        "device_name": _device_name(on),
        "threads": threads,
        "cores": os.cpu_count(),
        "ram": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "platform": f"{platform.system()} {platform.machine()}",
        "code_version": code_version(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _device_name(on: str) -> str:
    if on.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(on))
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def missing_extra(error: ImportError) -> ConfigError | None:
    """The error to show where the `train` extra is not installed; None for any other failed import."""
    if (error.name or "").partition(".")[0] not in _TRAIN_EXTRA:
        return None
    return ConfigError(f"this needs {error.name}, which is not installed", hint=INSTALL_HINT)


INSTALL_HINT = "pip install 'ups-console[train]'"


def record_process(run_dir: Path, ranks: Ranks = ALONE) -> None:
    """Write `run.pid`, by which the watchdog and the console know the run's process.

    Under torchrun that is the launcher: it lives on while it starts the others anew.
    """
    process = psutil.Process(os.getppid() if ranks.launched else os.getpid())
    content = {"pid": process.pid, "start_time": process.create_time(), "boot_id": _boot_id()}
    temporary = run_dir / f".{watchdog.PID_FILE}.part"
    temporary.write_text(json.dumps(content))
    temporary.replace(run_dir / watchdog.PID_FILE)


def _boot_id() -> str:
    known = watchdog.boot_id()
    return known if known != "boot" else f"boot-{psutil.boot_time():.0f}"


@contextlib.contextmanager
def sole_process(run_dir: Path) -> Iterator[None]:
    """Hold the run directory; the lock dies with the process.

    Raises:
        UsageError: another process is executing this run.
    """
    with (run_dir / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{run_dir} is being executed by another process",
                hint="wait for it, or send it SIGTERM: `run.pid` names it",
            ) from None
        yield
