"""The micro-batches of an epoch, in the order in which they are trained on, read ahead where asked.

Which batches an epoch has follows from the random stream alone, so that it does not matter how far
ahead they are read; at an epoch's end nothing has been read that belongs to the next.
"""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ups.data.sampling import Batch, PairSampler, TaskRotation


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """What decides the batches of an epoch."""

    shares: Mapping[str, float]
    """Weight of each task that takes part."""
    sizes: Mapping[str, int]
    """Samples of a micro-batch of each task."""
    steps: Mapping[str, int]
    """Steps that are unrolled for each task."""
    samples: int
    """Of the epoch; the last optimizer step may exceed it."""
    accumulate: int
    """Micro-batches per optimizer step."""


def epoch_batches(
    plan: EpochPlan,
    samplers: Mapping[str, PairSampler],
    rotation: TaskRotation,
    random: np.random.Generator,
) -> Iterator[list[Batch]]:
    """The micro-batches of each optimizer step of an epoch."""
    drawn = 0
    while drawn < plan.samples:
        batches = []
        for _ in range(plan.accumulate):
            task = rotation.next(plan.shares, plan.sizes)
            batches.append(samplers[task].draw(plan.sizes[task], random, plan.steps[task]))
        drawn += sum(map(len, batches))
        yield batches


Item = TypeVar("Item")


@dataclass(slots=True)
class DataWait:
    """How long training waits for its batches."""

    _waited: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def over(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the time until each is there counts as waited for."""
        self._waited, self._since = 0.0, time.perf_counter()
        while True:
            asked = time.perf_counter()
            item = next(items, None)
            self._waited += time.perf_counter() - asked
            if item is None:
                return
            yield item

    def share(self) -> float:
        """Of the time since the last call, or since the epoch began."""
        now = time.perf_counter()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share


class _Failed:
    """Carries an error from the reading thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items, up to `depth` of them made in another thread before they are asked for."""
    if depth < 1:
        yield from items
        return
    ready: queue.Queue[Item | _Failed | None] = queue.Queue(depth)
    abandoned = threading.Event()

    def put(item: Item | _Failed | None) -> bool:
        while not abandoned.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            put(_Failed(error))

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        abandoned.set()
        thread.join()
