"""Several processes that share the segments of a conversion.

They are started anew, not forked, so that none holds a file or a lock of this process. Each has a pipe
of its own to this process: when it closes, because this process is gone, whoever computes ends. Free
of torch.
"""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ups.catalog import Progress
from ups.data.conversion import Conversion
from ups.data.split_files import Segment
from ups.errors import DataError, UpsError

_WORTH_BYTES = 8 * 1024 * 1024
"""Below this much data, starting a process takes longer than doing without."""


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
    jobs = min(jobs, len(segments))
    if jobs < 2 or conversion.assembly.bytes < _WORTH_BYTES:
        for segment in segments:
            conversion.convert(segment, partial(counter.add, segment))
        return
    with _crew(conversion, jobs) as members:
        waiting = list(reversed(segments))
        busy: dict[Connection, tuple[_Member, Segment]] = {}
        for member in members:
            member.give(waiting, busy)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                member, segment = busy[pipe]
                answer = member.answer()
                if isinstance(answer, UpsError):
                    raise answer
                if answer is None:
                    del busy[pipe]
                    member.give(waiting, busy)
                else:
                    counter.add(segment, answer)


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """A process of the crew, seen from outside."""

    process: BaseProcess
    pipe: Connection

    def give(self, waiting: list[Segment], busy: "dict[Connection, tuple[_Member, Segment]]") -> None:
        """The next segment, where one is left."""
        if waiting:
            segment = waiting.pop()
            self.pipe.send(segment)
            busy[self.pipe] = (self, segment)

    def answer(self) -> int | UpsError | None:
        """Samples that are done since the last answer; None at the end of the segment."""
        try:
            answer: int | UpsError | None = self.pipe.recv()
        except (EOFError, ConnectionResetError):  # the latter where it left something unread
            self.process.join()
            return DataError(
                f"a process that converted was ended from outside (exit code {self.process.exitcode})",
                hint="out of memory? `--jobs 1` takes less; what is done is kept, run the command again",
            )
        return answer


@contextmanager
def _crew(conversion: Conversion, size: int) -> Iterator[list[_Member]]:
    context = multiprocessing.get_context("spawn")
    members: list[_Member] = []
    try:
        for _ in range(size):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_work, args=(conversion, theirs), daemon=True)
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


def _work(conversion: Conversion, pipe: Connection) -> None:
    """What a process of the crew does until its pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process answers
    try:
        while True:
            try:
                conversion.convert(pipe.recv(), pipe.send)
                pipe.send(None)
            except UpsError as error:
                pipe.send(error)
    except (EOFError, OSError):  # nobody listens any more
        return
