"""Does a conversion by as many processes as there are: those of `torchrun`, and those that each has at work.

Every process takes the next part that none has taken, so all end at about the same time. Free of torch.
"""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Lock

from ups.catalog import Progress
from ups.data import crew
from ups.data.claims import Claims
from ups.data.conversion import Conversion, Identification, Sealing, Unit

_POLL_SECONDS = 0.05


def convert(conversion: Conversion, *, jobs: int, progress: Progress) -> None:
    """Take part in a conversion until all of its files are sealed.

    Args:
        conversion: laid out.
        jobs: processes at most that this one has at work; little work is done in this one.
        progress: called with (what, samples done, samples in all).

    Raises:
        DataError, StoreError: as `Conversion.convert` and `Conversion.seal`.
        DataError: a process was killed.
        OSError: the conversion is over and its folder gone.
    """
    task = conversion.assembly.spec.name
    with conversion.claims() as claims:
        while missing := conversion.missing():
            counter = _Counter(conversion, missing, progress)
            crew.share(
                conversion,
                _claimed(conversion, missing, claims, counter),
                jobs=min(jobs, len(missing)),
                size=conversion.assembly.bytes,
                counted=counter.add,
            )
            if left := len(conversion.missing()):  # where another fails, torchrun ends this one
                progress(f"{task} in other processes", len(missing) - left, len(missing))
                time.sleep(_POLL_SECONDS)
        while unsealed := conversion.unsealed():
            _seal(conversion, unsealed, claims, jobs, progress)
            if conversion.unsealed():
                time.sleep(_POLL_SECONDS)


class _Counter:
    """Progress by source, out of samples done in whatever order."""

    def __init__(self, conversion: Conversion, missing: list[Unit], progress: Progress) -> None:
        self._conversion = conversion
        self._progress = progress
        self._done = [source.samples for source in conversion.assembly.sources]
        for unit in missing:
            if not isinstance(unit, Identification):
                self._done[unit.source] -= len(unit.span)

    def add(self, unit: Unit, samples: int) -> None:
        source = self._conversion.assembly.sources[unit.source]
        self._done[unit.source] += samples
        what = f"{self._conversion.assembly.spec.name} {source.name}"
        self._progress(what, self._done[unit.source], source.samples)


def _claimed(
    conversion: Conversion, missing: list[Unit], claims: Claims, counter: _Counter
) -> Iterator[Unit]:
    """The units that no other process has, each claimed when it is asked for."""
    for unit in missing:
        if claims.take(unit.number) and not conversion.is_done(unit):
            yield unit
        elif not isinstance(unit, Identification):
            counter.add(unit, len(unit.span))


def _seal(
    conversion: Conversion, unsealed: list[Sealing], claims: Claims, jobs: int, progress: Progress
) -> None:
    """Seal the files that no other process has, in threads: almost all of it is hashing, and that shares."""
    said = Lock()

    def seal(sealing: Sealing) -> None:
        done = 0

        def count(samples: int) -> None:
            nonlocal done
            done += samples
            with said:
                progress(f"{conversion.assembly.spec.name} hash of {sealing.split}", done, sealing.samples)

        conversion.seal(sealing, count)

    jobs = min(jobs, len(unsealed))
    with ThreadPoolExecutor(jobs) as threads:
        running: set[Future[None]] = set()
        for sealing in unsealed:
            if claims.take(sealing.number) and not conversion.is_done(sealing):
                running.add(threads.submit(seal, sealing))
            while len(running) >= jobs:  # the next one is another process's, if that is free for it
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        for future in running:
            future.result()
