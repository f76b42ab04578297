"""Several processes that share the units of some work, such as the segments of a conversion.

They are started anew, not forked, so that none holds a file or a lock of this process. Each has a pipe
of its own to this process: when it closes, because this process is gone, whoever computes ends. Free
of torch.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, TypeVar

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


def share(
    work: Work[Unit],
    units: Iterable[Unit],
    *,
    jobs: int,
    size: int,
    counted: Callable[[Unit, int], None],
) -> None:
    """Do units of any work.

    Args:
        work: whose they are.
        units: which; one is asked for when a process is free for it.
        jobs: processes at most; little work is done in this one.
        size: bytes of all the work.
        counted: called with a unit and a number of its samples that are done.

    Raises:
        UpsError: as the work raises.
        DataError: a process was killed.
    """
    if jobs < 2 or size < _WORTH_BYTES:
        for unit in units:
            work.convert(unit, partial(counted, unit))
        return
    with _crew(work, jobs) as members:
        waiting = iter(units)
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

    def give(self, waiting: Iterator[Unit], busy: "dict[Connection, tuple[_Member[Unit], Unit]]") -> None:
        """The next unit, where one is left.

        Raises:
            DataError: the process was killed.
        """
        for unit in waiting:
            try:
                self.pipe.send(unit)
            except (BrokenPipeError, ConnectionResetError):
                raise self._gone() from None
            busy[self.pipe] = (self, unit)
            return

    def answer(self) -> int | UpsError | None:
        """Samples that are done since the last answer; None at the end of the unit."""
        try:
            answer: int | UpsError | None = self.pipe.recv()
        except (EOFError, ConnectionResetError):  # the latter where it left something unread
            return self._gone()
        return answer

    def _gone(self) -> DataError:
        self.process.join()
        return DataError(
            f"a process that helped was ended from outside (exit code {self.process.exitcode})",
            hint="out of memory? `--jobs 1` takes less; what is done is kept, run the command again",
        )


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
