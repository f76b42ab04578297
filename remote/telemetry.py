"""The two threads beside a run: what the machine does every 2 s, and a heartbeat when all is silent."""

import contextlib
import importlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from remote.journal import Journal
from ups.errors import StoreError
from ups.events import HEARTBEAT_SECONDS, EventType
from ups.store import free_bytes

TELEMETRY_SECONDS = 2.0


class Traffic:
    """Bytes a second over all network interfaces, since the last look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = self._look()

    def _look(self) -> tuple[float, int, int] | None:
        try:
            counters = psutil.net_io_counters()
        except OSError:  # a box that hides its interfaces
            return None
        return (self._clock(), counters.bytes_recv, counters.bytes_sent) if counters is not None else None

    def per_second(self) -> tuple[float | None, float | None]:
        """Received and sent; None where nothing is known."""
        before, self._seen = self._seen, self._look()
        if before is None or self._seen is None or self._seen[0] <= before[0]:
            return None, None
        span = self._seen[0] - before[0]
        return max(0, self._seen[1] - before[1]) / span, max(0, self._seen[2] - before[2]) / span


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
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(look,), name=name, daemon=True)
            for look, name in ((self._system, "telemetry"), (self._heartbeat, "heartbeat"))
        ]

    def __enter__(self) -> "Telemetry":
        self._gpus = gpu_reader()
        self._traffic = Traffic()
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
        received, sent = self._traffic.per_second()
        self._journal.write(
            EventType.SYSTEM,
            gpu=self._gpus(),
            cpu=psutil.cpu_percent(),
            ram=memory.percent,
            ram_used=memory.total - memory.available,
            ram_total=memory.total,
            disk_free=free_bytes(self._disk),
            net_in=received,
            net_out=sent,
        )
        return self._every_s

    def _heartbeat(self) -> float:
        silent = time.time() - self._journal.last_write
        if silent < self._heartbeat_s:
            return max(self._heartbeat_s - silent, 0.05)
        self._journal.write(EventType.HEARTBEAT)
        return self._heartbeat_s


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
