"""Does a conversion by as many processes as there are: those of `torchrun`, and those that each has at work.

Every process takes the next part that none has taken, so all end at about the same time. Free of torch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event, Lock
from typing import Self

from ups.catalog import Progress
from ups.data import crew
from ups.data.claims import Claims
from ups.data.conversion import Conversion, Sealing, Unit
from ups.data.split_files import Segment

_POLL_SECONDS = 0.05
_SEALED_SECONDS = 0.01
"""How often who hashes a file looks for more of it."""


def convert(conversion: Conversion, *, jobs: int, progress: Progress) -> None:
    """Take part in a conversion until all of its files are sealed.

    Args:
        conversion: laid out.
        jobs: processes at most that this one has at work; little work is done in this one.
        progress: called with (what, samples done, samples in all).

    Raises:
        DataError, StoreError: as `Conversion.convert` and `Conversion.seal`.
        DataError: a process was killed.
        StoreError: the conversion is over and its folder gone.
    """
    said = Lock()

    def tell(what: str, done: int, total: int) -> None:
        with said:  # threads do, too
            progress(what, done, total)

    with conversion.claims() as claims, _Sealers(conversion, claims, jobs, tell) as sealers:
        while missing := conversion.missing():
            counter = _Counter(conversion, missing, tell)
            crew.share(
                conversion,
                _claimed(conversion, missing, claims, counter, sealers.begin),
                jobs=min(jobs, len(missing)),
                size=conversion.assembly.bytes,
                counted=counter.add,
            )
            if left := len(conversion.missing()):  # where another fails, torchrun ends this one
                what = f"{conversion.assembly.spec.name} in other processes"
                tell(what, len(missing) - left, len(missing))
                time.sleep(_POLL_SECONDS)
        while conversion.unsealed():
            sealers.begin()
            sealers.wait()


class _Counter:
    """Progress by source, out of samples done in whatever order."""

    def __init__(self, conversion: Conversion, missing: Sequence[Unit], progress: Progress) -> None:
        self._conversion = conversion
        self._progress = progress
        self._done = [source.samples for source in conversion.assembly.sources]
        for unit in missing:
            if isinstance(unit, Segment):
                self._done[unit.source] -= len(unit.span)

    def add(self, unit: Unit, samples: int) -> None:
        source = self._conversion.assembly.sources[unit.source]
        self._done[unit.source] += samples
        what = f"{self._conversion.assembly.spec.name} {source.name}"
        self._progress(what, self._done[unit.source], source.samples)


def _claimed(
    conversion: Conversion,
    missing: Sequence[Unit],
    claims: Claims,
    counter: _Counter,
    begin: Callable[[], None],
) -> Iterator[Unit]:
    """The units that no other process has, each claimed when it is asked for.

    Before every segment `begin` is called: who hashes a source has enough to do.
    """
    for unit in missing:
        if claims.take(unit.number) and not conversion.is_done(unit):
            if isinstance(unit, Segment):
                begin()
            yield unit
        elif isinstance(unit, Segment):
            counter.add(unit, len(unit.span))


class _Sealers:
    """Threads that seal files: almost all of it is hashing, which needs nothing of Python."""

    def __init__(self, conversion: Conversion, claims: Claims, jobs: int, progress: Progress) -> None:
        self._conversion, self._claims, self._jobs = conversion, claims, jobs
        self._progress = progress
        self._over = Event()
        self._threads = ThreadPoolExecutor(jobs)
        self._futures: dict[Sealing, Future[None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._threads.shutdown()

    def begin(self) -> None:
        """Take files that no other process has, one for each free thread; raises what sealing one raised."""
        for sealing in self._conversion.unsealed():
            if len(self._running()) >= self._jobs:
                return
            if sealing in self._futures or not self._claims.take(sealing.number):
                continue
            if not self._conversion.is_done(sealing):
                watcher = _SealWatcher(self._tell, sealing, self._over)
                self._futures[sealing] = self._threads.submit(self._conversion.seal, sealing, watcher)

    def wait(self) -> None:
        """Until a file is sealed, or a little while; raises what sealing one raised."""
        if running := self._running():
            wait(running, _POLL_SECONDS, FIRST_COMPLETED)
        else:  # other processes are at it
            time.sleep(_POLL_SECONDS)

    def _running(self) -> list[Future[None]]:
        for future in self._futures.values():
            if future.done():
                future.result()
        return [future for future in self._futures.values() if not future.done()]

    def _tell(self, sealing: Sealing, samples: int) -> None:
        what = f"{self._conversion.assembly.spec.name} hash of {sealing.split}"
        self._progress(what, samples, sealing.samples)


@dataclass(slots=True)
class _SealWatcher:
    """Tells how far a sealing is, and ends it when the conversion is given up."""

    tell: Callable[[Sealing, int], None]
    sealing: Sealing
    over: Event
    told: int = 0

    def hashed(self, samples: int) -> None:
        if self.over.is_set():
            raise CancelledError
        if samples > self.told:
            self.told = samples
            self.tell(self.sealing, samples)

    def wait(self) -> None:
        if self.over.wait(_SEALED_SECONDS):
            raise CancelledError
