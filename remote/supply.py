"""The data of a run as its phases meet them: some at once, the others while training goes on."""

import contextlib
from collections.abc import Callable, Collection, Sequence

from remote.hydrate import Datasets, Hydrator, groups
from remote.journal import Journal, say
from remote.links import folder_of, link_splits
from remote.streaming import PAUSES_S, Stream
from ups.data.outline import Outline
from ups.errors import UpsError
from ups.events import PhaseState

_PHASE = "hydrate"
_LOOK_S = 1.0
"""A request to stop waits no longer than this for data."""


class Supply:
    """Brings the tasks that training begins with, then the others."""

    def __init__(
        self,
        hydrator: Hydrator,
        journal: Journal,
        check: Callable[[], None],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """Args:
        hydrator: brings tasks here.
        journal: where progress goes.
        check: raises where somebody asked to stop.
        pauses_s: before what has failed beside the training is tried again.
        """
        self._hydrator, self._journal, self._check = hydrator, journal, check
        self._pauses = pauses_s
        self._stream: Stream | None = None
        self._waiting = False
        self.datasets = Datasets()
        """Where all files are, or will be."""
        self.outlines: dict[str, Outline] = {}
        """Of the tasks whose files need not be here yet."""

    def ready(self) -> bool:
        """Whether everything is here and verified already."""
        found = self._hydrator.ready()
        if found is not None:
            self.datasets = found
            self._link(found)
        return found is not None

    def begin(self) -> str:
        """Bring what training begins with, and start on the rest; says what is here.

        Raises:
            StoreError, NotFoundError: like `Hydrator.hydrate`; also where it is the rest that cannot come.
        """
        first, late = self._in_order()
        found = self._bring(self._tell, first)
        files = [file for splits in found.values() for file in splits.values()]
        size = sum(file.stat().st_size for file in files)
        told = f"{len(files)} files, {size / 1e6:.1f} MB, each with the sha256 that run.yaml pins"
        self.datasets = self._hydrator.places() if late else found
        if not late:
            return told
        self._stream = Stream(
            self._bring, late, progress=self._tell_beside, trouble=self._trouble, pauses_s=self._pauses
        )
        self._stream.start()
        coming = self._stream.tasks
        return f"{', '.join(first)}: {told}; {', '.join(coming)} follow while training goes on"

    def _in_order(self) -> tuple[list[str], list[list[str]]]:
        """What has to be here before training begins, and what may follow: tasks whose sizes are known."""
        first, *late = groups(self._hydrator.spec.config)
        if not late:
            return first, []
        self.outlines = self._hydrator.outlines(self._tell)
        first += [task for group in late for task in group if task not in self.outlines]
        late = [[task for task in group if task in self.outlines] for group in late]
        return first, [group for group in late if group]

    def arrived(self, tasks: Sequence[str]) -> bool:
        """Whether the files of some tasks are complete; waits a moment where they are not.

        Raises:
            UpsError: they do not come.
        """
        if self._stream is None:
            return True
        try:
            here = self._stream.wait(tasks, _LOOK_S if self._waiting else 0)
        except Exception as error:
            self._end_waiting(PhaseState.FAILED, str(error))
            raise
        if here:
            self._end_waiting(PhaseState.FINISHED, f"{', '.join(tasks)}: complete")
        elif not self._waiting:
            self._waiting = True
            told = f"the run waits for {', '.join(tasks)}: {self._stream.outlook()}"
            self._journal.phase(_PHASE, PhaseState.STARTED, told)
        return here

    def whole(self) -> Datasets:
        """All files, as they are pinned, once all of them are here.

        Raises:
            UpsError: some do not come, or are no longer what the run pins.
        """
        tasks = self._hydrator.spec.tasks
        while not self.arrived(tasks):
            self._check()
        return self._hydrator.ready() or self._bring(lambda task, done, total: self._check(), tasks)

    def close(self) -> None:
        """Give up what is still on its way."""
        if self._stream is not None:
            self._stream.close()
        with contextlib.suppress(UpsError):  # a full disk is told by those who cannot go on
            self._end_waiting(PhaseState.SKIPPED, "nobody waits any more")

    def _end_waiting(self, state: PhaseState, told: str) -> None:
        if self._waiting:
            self._waiting = False
            self._journal.phase(_PHASE, state, told)

    def _bring(self, progress: Callable[[str, int, int], None], tasks: Collection[str]) -> Datasets:
        found = self._hydrator.hydrate(progress, tasks)
        self._link(found)
        return found

    def _link(self, found: Datasets) -> None:
        hydrator = self._hydrator
        folder = folder_of(hydrator.spec.config, hydrator.directory.root.parent)
        for problem in link_splits(folder, found):
            say(f"no link under its old name: {problem}")

    def _tell(self, task: str, done: int, total: int) -> None:
        self._check()
        self._tell_beside(task, done, total)

    def _tell_beside(self, task: str, done: int, total: int) -> None:
        self._journal.progress(_PHASE, task or None, done, total, "bytes")

    def _trouble(self, error: UpsError) -> None:
        self._journal.warn("download", f"{error.message}; it is tried again", error.hint)
