"""What a second process is worth: training, converting and precomputing by one and by two, a core for each.

Every process is bound to a core of its own and has one thread, so that the second one brings a second core
and nothing else. Starting them does not count: all wait for one another before the clock runs.
"""

import multiprocessing
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.support.comparison import Row
from benchmarks.support.measured_run import Clock, Datasets
from benchmarks.support.originals import Original
from ups.config import TrainConfig
from ups.errors import UpsError
from ups.ranks import Ranks

BAR_TRAINING, BAR_SHARED = 1.7, 1.8
_ROUNDS = 3
_SHARD_BYTES = 16 * 1024 * 1024
_BUSY = 0.5
"""A machine whose load is higher has no two cores free."""


def rows(
    folder: Path, config: TrainConfig, datasets: Datasets, raw: Original, *, judged: bool
) -> Iterator[Row]:
    """A row for each of training, convert and precompute; the better of some rounds counts, taken in turn.

    Args:
        folder: to work in.
        config: of a training.
        datasets: that it trains on.
        raw: a raw file.
        judged: the sizes mean something; no bar is judged where no two cores are free.
    """
    rounds = _ROUNDS if judged else 1
    judged = judged and len(os.sched_getaffinity(0)) >= 2 and os.getloadavg()[0] < _BUSY
    train = _Training(config, datasets)
    alone, both = zip(*((_run(1, train, folder), _run(2, train, folder)) for _ in range(rounds)), strict=True)
    yield Row(
        "training by two processes", max(both), max(alone), "one process", "samples/s", "higher",
        BAR_TRAINING, judged,
    )  # fmt: skip
    for what, work in (("convert", _Converting(raw)), ("precompute", _Precomputing(raw))):
        ones, twos = zip(
            *((_run(1, work, folder), _run(2, work, folder)) for _ in range(rounds)), strict=True
        )
        size = raw.path.stat().st_size / 1e6
        yield Row(
            f"{what} by two processes", size / min(twos), size / min(ones), "one process", "MB/s", "higher",
            BAR_SHARED, judged,
        )  # fmt: skip


def _run(count: int, work: Any, folder: Path) -> float:
    """The figure of the main one of some processes, each on its core."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    place = folder / f"{type(work).__name__}-{time.monotonic_ns()}"
    place.mkdir()
    work.prepare(place)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        context.Process(target=_begin, args=(rank, count, port, work, place, barrier, answers))
        for rank in range(count)
    ]
    for child in children:
        child.start()
    try:
        figures = {}
        for _ in children:
            rank, figure = answers.get(timeout=900)
            if isinstance(figure, BaseException):
                raise figure
            figures[rank] = figure
    finally:
        for child in children:
            child.join(1.0)
            child.kill()
        shutil.rmtree(place)
    return float(figures[0])


def _begin(
    rank: int, count: int, port: int, work: Any, place: Path, barrier: Barrier, answers: "Queue[Any]"
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    import torch

    torch.set_num_threads(1)
    ranks = Ranks(rank=rank, world_size=count, local_rank=rank, local_world_size=count)
    try:
        answers.put((rank, work.do(ranks, barrier, place)))
    except UpsError as error:
        answers.put((rank, error))


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
            return 0.0
        first, last = clock.ends(config.training.samples_per_epoch)
        return (last.samples - first.samples) / (last.wall - first.wall)


class _Shared:
    """Seconds that work took which processes share."""

    def __init__(self, raw: Original) -> None:
        self._raw = raw

    def prepare(self, place: Path) -> None:
        """Nothing."""

    def do(self, ranks: Ranks, barrier: Barrier, place: Path) -> float:
        work = self.work(ranks, place)
        barrier.wait()
        began = time.monotonic()
        work()
        return time.monotonic() - began

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
