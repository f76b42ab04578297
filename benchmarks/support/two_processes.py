"""What a second process is worth: training, converting and precomputing by one and by two, a core for each.

Every process is bound to a core of its own and has one thread, so that the second one brings a second core
and nothing else. Starting them does not count: all wait for one another before the clock runs.

Beside each stands the control: two that do the whole work each and share nothing. What they do together, of
what one does, is the most that a second core of this machine can be worth; it is not judged.
"""

import math
import mmap
import multiprocessing
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.support.comparison import Row
from benchmarks.support.measured_run import Clock, Datasets
from benchmarks.support.originals import Original
from ups.config import TrainConfig
from ups.errors import UpsError
from ups.ranks import ALONE, Ranks

BAR_TRAINING, BAR_SHARED = 1.7, 1.8
_How = Literal["together", "apart"]
_SETTINGS: tuple[tuple[int, _How], ...] = ((1, "together"), (2, "together"), (2, "apart"))
_ROUNDS = 3
_SHARD_BYTES = 16 * 1024 * 1024
_TOUCHED_BYTES = 4 * 1024**3
"""No work takes more, in memory and in the cache of files together."""
_BUSY = 0.5
"""A machine whose load is higher has no two cores free."""


def rows(
    folder: Path, config: TrainConfig, datasets: Datasets, raw: Original, *, judged: bool
) -> Iterator[Row]:
    """Rows of training, convert and precompute; the best of some rounds counts, taken in turn.

    Args:
        folder: to work in.
        config: of a training.
        datasets: that it trains on.
        raw: a raw file.
        judged: the sizes mean something; no bar is judged where no two cores are free.
    """
    rounds, touched = (_ROUNDS, _TOUCHED_BYTES) if judged else (1, 0)
    judged = judged and len(os.sched_getaffinity(0)) >= 2 and os.getloadavg()[0] < _BUSY
    size = raw.path.stat().st_size / 1e6
    works: tuple[tuple[str, Any, float, str, float], ...] = (
        ("training", _Training(config, datasets), 1.0, "samples/s", BAR_TRAINING),
        ("convert", _Converting(raw), size, "MB/s", BAR_SHARED),
        ("precompute", _Precomputing(raw), size, "MB/s", BAR_SHARED),
    )
    for what, work, amount, unit, bar in works:
        measured = [
            [_run(count, work, folder, how, touched=touched) for count, how in _SETTINGS]
            for _ in range(rounds)
        ]
        one, two, apart = (amount * max(rates) for rates in zip(*measured, strict=True))
        yield Row(f"{what} by two processes", two, one, "one process", unit, "higher", bar, judged)
        yield Row(f"{what} twice at once, nothing shared", apart, one, "one process", unit, "higher")


def _run(count: int, work: Any, folder: Path, how: _How, *, touched: int) -> float:
    """What some processes do a second, all of them together, each on its core, after memory was touched."""
    _touch(touched)
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    place = folder / f"{type(work).__name__}-{time.monotonic_ns()}"
    places = [place if how == "together" else place / str(core) for core in range(count)]
    for own in dict.fromkeys(places):
        own.mkdir(parents=True)
        work.prepare(own)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        context.Process(
            target=_begin, args=(core, _ranks(core, count, how), port, work, own, barrier, answers)
        )
        for core, own in enumerate(places)
    ]
    for child in children:
        child.start()
    try:
        rates = []
        for _ in children:
            rate = answers.get(timeout=900)
            if isinstance(rate, BaseException):
                raise rate
            rates.append(rate)
    finally:
        for child in children:
            child.join(1.0)
            child.kill()
        shutil.rmtree(place)
    return float(sum(rates))


def _touch(size: int) -> None:
    """Have so much of the memory used once and free again.

    On a virtual machine a page that was never used costs far more than the work that first writes to it,
    and whichever measurement came first would pay for it.
    """
    if size:
        size = min(size, psutil.virtual_memory().available // 2)
        with mmap.mmap(-1, size) as memory:
            for first in range(0, size, mmap.PAGESIZE):
                memory[first] = 1


def _ranks(core: int, count: int, how: _How) -> Ranks:
    if how == "apart":
        return ALONE
    return Ranks(rank=core, world_size=count, local_rank=core, local_world_size=count)


def _begin(
    core: int, ranks: Ranks, port: int, work: Any, place: Path, barrier: Barrier, answers: "Queue[Any]"
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    os.environ.update(
        RANK=str(ranks.rank), WORLD_SIZE=str(ranks.world_size), LOCAL_RANK=str(ranks.local_rank),
        LOCAL_WORLD_SIZE=str(ranks.local_world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    import torch

    torch.set_num_threads(1)
    try:
        rate = work.do(ranks, barrier, place)
        answers.put(rate if ranks.is_main else 0.0)  # of what they share all would count the same
    except UpsError as error:
        answers.put(error)


class _Training:
    """samples/s within the first epoch."""

    def __init__(self, config: TrainConfig, datasets: Datasets) -> None:
        self._config, self._datasets = config, datasets

    def prepare(self, place: Path) -> None:
        """Nothing."""

    def do(self, ranks: Ranks, barrier: Barrier, place: Path) -> float:
        from ups.rundir import RunDirectory, RunSpec, config_sha256
        from ups.training.job import SILENCE, TrainingJob
        from ups.training.run import train

        config, clock = self._config, Clock()
        spec = RunSpec(
            run="benchmark", name="benchmark", created=0.0, config=config, tasks=config.data.task,
            stages=config.stages.names, seed=0, threads=1, store="dir:/none", datasets={}, code_version="0",
            config_sha256=config_sha256(config),
        )  # fmt: skip
        barrier.wait()
        job = TrainingJob(spec, RunDirectory(place), self._datasets, "cpu", ranks=ranks)
        train(job, clock if ranks.is_main else SILENCE)
        if not ranks.is_main:
            return math.nan
        first, last = clock.ends(config.training.samples_per_epoch)
        return (last.samples - first.samples) / (last.wall - first.wall)


class _Shared:
    """How often a second work could be done that processes share."""

    def __init__(self, raw: Original) -> None:
        self._raw = raw

    def prepare(self, place: Path) -> None:
        """Nothing."""

    def do(self, ranks: Ranks, barrier: Barrier, place: Path) -> float:
        work = self.work(ranks, place)
        barrier.wait()
        began = time.monotonic()
        work()
        return 1.0 / (time.monotonic() - began)

    def work(self, ranks: Ranks, place: Path) -> Callable[[], object]:
        raise NotImplementedError


class _Converting(_Shared):
    def work(self, ranks: Ranks, place: Path) -> Callable[[], object]:
        from ups.data.convert import Labour, import_raw
        from ups.stores.directory import DirectoryStore

        store = DirectoryStore(place)
        return lambda: import_raw(store, self._raw.task, [self._raw.path], labour=Labour(1, ranks))


class _Precomputing(_Shared):
    def prepare(self, place: Path) -> None:
        from ups.data.convert import import_raw
        from ups.stores.directory import DirectoryStore

        import_raw(DirectoryStore(place), self._raw.task, [self._raw.path])

    def work(self, ranks: Ranks, place: Path) -> Callable[[], object]:
        from remote import precompute
        from ups.data.cache_shape import CacheShape
        from ups.data.convert import Labour
        from ups.stores.directory import DirectoryStore

        store, shape = DirectoryStore(place), CacheShape("upt_128d_256tok", 128, 256)
        (recipe,) = precompute.missing(store, [self._raw.task], shape, ["train"])
        file = precompute.stored_file(store, recipe, place)
        building = precompute.Building(Labour(1, ranks), shard_bytes=_SHARD_BYTES)
        return lambda: precompute.build(store, recipe, file, shape.version, lambda *_: None, building)
