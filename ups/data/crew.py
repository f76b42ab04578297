"""Several processes that share the units of some work, such as the segments of a conversion.

They are started anew, not forked, so that none holds a file or a lock of this process. Each has a pipe
of its own to this process: when it closes, because this process is gone, whoever computes ends. Free
of torch.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, TypeVar

from ups.catalog import Progress
from ups.data.conversion import Conversion
from ups.data.split_files import Segment
from ups.errors import DataError, UpsError

_WORTH_BYTES = 8 * 1024 * 1024
"""Below this much data, starting a process takes longer than doing without."""


Unit = TypeVar("Unit")
AnyUnit = TypeVar("AnyUnit", contravariant=True)


class Work(Protocol[AnyUnit]):
    """Picklable; its units can be done in any process, in any order."""

    def convert(self, unit: AnyUnit, counted: Callable[[int], None], /) -> None:
        """Do a unit; `counted` is called with numbers of samples that are done."""
        ...


class _Counter:
    """Progress by source, out of samples done in whatever order."""

    def __init__(self, conversion: Conversion, segments: Sequence[Segment], progress: Progress) -> None:
        self._conversion = conversion
        self._progress = progress
        self._done = [source.samples for source in conversion.assembly.sources]
        for segment in segments:
            self._done[segment.source] -= len(segment.span)

    def add(self, segment: Segment, samples: int) -> None:
        source = self._conversion.assembly.sources[segment.source]
        self._done[segment.source] += samples
        what = f"{self._conversion.assembly.spec.name} {source.provenance['name']}"
        self._progress(what, self._done[segment.source], source.samples)


def convert(conversion: Conversion, segments: Sequence[Segment], *, jobs: int, progress: Progress) -> None:
    """Do segments of a conversion.

    Args:
        conversion: laid out.
        segments: which.
        jobs: processes at most; little work is done in this one.
        progress: called with (what, samples done, samples in all).

    Raises:
        DataError, StoreError: as `Conversion.convert`.
        DataError: a process was killed.
    """
    counter = _Counter(conversion, segments, progress)
    share(conversion, segments, jobs=jobs, size=conversion.assembly.bytes, counted=counter.add)


def share(
    work: Work[Unit],
    units: Sequence[Unit],
    *,
    jobs: int,
    size: int,
    counted: Callable[[Unit, int], None],
) -> None:
    """Do units of any work.

    Args:
        work: whose they are.
        units: which.
        jobs: processes at most; little work is done in this one.
        size: bytes of all the work.
        counted: called with a unit and a number of its samples that are done.

    Raises:
        UpsError: as the work raises.
        DataError: a process was killed.
    """
    jobs = min(jobs, len(units))
    if jobs < 2 or size < _WORTH_BYTES:
        for unit in units:
            work.convert(unit, partial(counted, unit))
        return
    with _crew(work, jobs) as members:
        waiting = list(reversed(units))
        busy: dict[Connection, tuple[_Member[Unit], Unit]] = {}
        for member in members:
            member.give(waiting, busy)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                member, unit = busy[pipe]
                answer = member.answer()
                if isinstance(answer, UpsError):
                    raise answer
                if answer is None:
                    del busy[pipe]
                    member.give(waiting, busy)
                else:
                    counted(unit, answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Member(Generic[Unit]):
    """A process of the crew, seen from outside."""

    process: BaseProcess
    pipe: Connection

    def give(self, waiting: list[Unit], busy: "dict[Connection, tuple[_Member[Unit], Unit]]") -> None:
        """The next unit, where one is left."""
        if waiting:
            unit = waiting.pop()
            self.pipe.send(unit)
            busy[self.pipe] = (self, unit)

    def answer(self) -> int | UpsError | None:
        """Samples that are done since the last answer; None at the end of the unit."""
        try:
            answer: int | UpsError | None = self.pipe.recv()
        except (EOFError, ConnectionResetError):  # the latter where it left something unread
            self.process.join()
            return DataError(
                f"a process that helped was ended from outside (exit code {self.process.exitcode})",
                hint="out of memory? `--jobs 1` takes less; what is done is kept, run the command again",
            )
        return answer


@contextmanager
def _crew(work: Work[Unit], size: int) -> Iterator[list[_Member[Unit]]]:
    context = multiprocessing.get_context("spawn")
    members: list[_Member[Unit]] = []
    try:
        for _ in range(size):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_work, args=(work, theirs), daemon=True)
            process.start()
            theirs.close()
            members.append(_Member(process, pipe))
        yield members
    finally:
        for member in members:
            member.pipe.close()
            member.process.terminate()
        for member in members:
            member.process.join()


def _work(work: Work[Unit], pipe: Connection) -> None:
    """What a process of the crew does until its pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process answers
    try:
        while True:
            try:
                work.convert(pipe.recv(), pipe.send)
                pipe.send(None)
            except UpsError as error:
                pipe.send(error)
    except (EOFError, OSError):  # nobody listens any more
        return
