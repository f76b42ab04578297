"""Processes of this machine, known by more than their pid.

A pid is reused; boot id, pid and start time together are not. The environment marker finds every
process that belongs to an instance, its children included.
"""

import contextlib
import json
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_START_TOLERANCE_S = 2.0
"""The boot time that start times are counted from moves with the wall clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One process, for ever."""

    pid: int
    start_time: float
    """Unix seconds."""
    boot_id: str

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Identity)
            and self.pid == other.pid
            and self.boot_id == other.boot_id
            and abs(self.start_time - other.start_time) < _START_TOLERANCE_S
        )

    def __hash__(self) -> int:
        return hash((self.pid, self.boot_id))

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Identity | None":
        """None where the content is no identity (half-written, damaged)."""
        try:
            record = json.loads(content)
            return cls(int(record["pid"]), float(record["start_time"]), str(record["boot_id"]))
        except (ValueError, KeyError, TypeError):
            return None


def boot_id() -> str:
    """Differs after every start of the machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"boot-{psutil.boot_time():.0f}"


def identify(pid: int) -> Identity | None:
    """The living process with this pid; a zombie is dead."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, process.create_time(), boot_id())
    except psutil.Error:
        return None


def marked(key: str, value: str) -> list[psutil.Process]:
    """Living processes whose environment has `key=value`; those of other users are not seen."""
    found = []
    # `psutil.process_iter` keeps what it saw before: of a pid that was used again it would give the
    # process that is dead, and signals to that one are not sent.
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            if process.environ().get(key) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Iterable[psutil.Process], *, patience_s: float) -> None:
    """SIGTERM to all, and SIGKILL to those that are still there after `patience_s`."""
    processes = list(processes)
    for process in processes:
        _signal(process, signal.SIGTERM)
    left = wait_until_dead(processes, timeout_s=patience_s)
    for process in left:
        _signal(process, signal.SIGKILL)
    wait_until_dead(left, timeout_s=5)


def wait_until_dead(processes: Iterable[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Those that still live after the time.

    A zombie is dead: in a container whose first process does not reap, it stays for ever.
    """
    until = time.monotonic() + timeout_s
    left = list(processes)
    while left := [process for process in left if _lives(process)]:
        if time.monotonic() >= until:
            break
        time.sleep(0.02)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return True
        process.wait(0)  # reaps a child of our own
    except psutil.Error:
        pass
    return False


def wait_until_none(key: str, value: str, *, timeout_s: float) -> bool:
    """Whether no marked process is left within the time."""
    until = time.monotonic() + timeout_s
    while marked(key, value):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):  # gone already
        process.send_signal(number)
