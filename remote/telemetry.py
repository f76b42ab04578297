"""The two threads beside a run: what the machine does every 2 s, and a heartbeat when all is silent."""

import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from remote.journal import Journal
from ups.errors import StoreError
from ups.events import HEARTBEAT_SECONDS, EventType
from ups.store import free_bytes

TELEMETRY_SECONDS = 2.0


class Telemetry:
    """Writes `system` and `heartbeat` events until it is left; never ends the run by its own failure."""

    def __init__(
        self,
        journal: Journal,
        disk: Path,
        *,
        every_s: float = TELEMETRY_SECONDS,
        heartbeat_s: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._journal = journal
        self._disk = disk
        self._every_s = every_s
        self._heartbeat_s = heartbeat_s
        self._rates = Rates(traffic)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(look,), name=name, daemon=True)
            for look, name in ((self._system, "telemetry"), (self._heartbeat, "heartbeat"))
        ]

    def __enter__(self) -> "Telemetry":
        self._gpus = gpu_reader()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, look: Callable[[], float]) -> None:
        psutil.cpu_percent()  # the first call of a thread only sets its starting point
        wait = self._every_s
        while not self._stopped.wait(wait):
            try:
                wait = look()
            except (OSError, StoreError):  # the disk is full: the run's own next event tells it
                return

    def _system(self) -> float:
        memory = psutil.virtual_memory()
        self._journal.write(
            EventType.SYSTEM,
            gpu=self._gpus(),
            cpu=psutil.cpu_percent(),
            ram=memory.percent,
            ram_used=memory.total - memory.available,
            ram_total=memory.total,
            disk_free=free_bytes(self._disk),
            **self._rates.read(),
        )
        return self._every_s

    def _heartbeat(self) -> float:
        silent = time.time() - self._journal.last_write
        if silent < self._heartbeat_s:
            return max(self._heartbeat_s - silent, 0.05)
        self._journal.write(EventType.HEARTBEAT)
        return self._heartbeat_s


class Rates:
    """Turns counters into rates, bytes per second since the last reading."""

    def __init__(
        self, counters: Callable[[], Mapping[str, int]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counters, self._clock = counters, clock
        self._last, self._read_at = counters(), clock()

    def read(self) -> dict[str, float]:
        """The rates by name; without those that are not known, or whose counter began anew."""
        now, at = self._counters(), self._clock()
        last, elapsed = self._last, at - self._read_at
        self._last, self._read_at = now, at
        if elapsed <= 0:
            return {}
        return {
            name: round((count - last[name]) / elapsed)
            for name, count in now.items()
            if name in last and count >= last[name]
        }


def traffic() -> dict[str, int]:
    """Bytes so far over the network, but for what stays on this machine, and to and from its disks."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, RuntimeError):  # a container may hide either
        cards = [of for name, of in psutil.net_io_counters(pernic=True).items() if name != "lo"]
        found["net_recv"] = sum(card.bytes_recv for card in cards)
        found["net_sent"] = sum(card.bytes_sent for card in cards)
    with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
        if (disks := psutil.disk_io_counters()) is not None:
            found["disk_read"], found["disk_write"] = disks.read_bytes, disks.write_bytes
    return found


def gpu_reader() -> Callable[[], list[dict[str, float]]]:
    """A function that reads all NVIDIA GPUs; it returns [] where there is none, or no library to ask."""
    try:
        pynvml: Any = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 - a process boundary: the driver may fail in any way
        return list

    def read() -> list[dict[str, float]]:
        with contextlib.suppress(pynvml.NVMLError):
            return [_read_gpu(pynvml, handle) for handle in handles]
        return []

    return read


def _read_gpu(pynvml: Any, handle: Any) -> dict[str, float]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "util": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "mem_used": memory.used,
        "mem_total": memory.total,
        "power": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "temp": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
    }
