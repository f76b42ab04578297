"""The data of a run as its phases meet them: some at once, the others while training goes on."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from remote.hydrate import Datasets, Hydrator, groups
from remote.journal import Journal, say
from remote.links import folder_of, link_splits
from remote.run_caches import RunCaches
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
        caches: RunCaches,
        journal: Journal,
        check: Callable[[], None],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """Args:
        hydrator: brings the fields of tasks here.
        caches: what comes in place of the trained split's fields.
        journal: where progress goes.
        check: raises where somebody asked to stop.
        pauses_s: before what has failed beside the training is tried again.
        """
        self._hydrator, self._caches = hydrator, caches
        self._journal, self._check, self._pauses = journal, check, pauses_s
        self._stream: Stream | None = None
        self._waiting = False
        self.datasets = Datasets()
        """Where all files are, or will be."""
        self.outlines: dict[str, Outline] = {}
        """Of the tasks whose files need not be here yet."""

    def ready(self) -> bool:
        """Whether everything is here and verified already."""
        tasks = self._hydrator.spec.tasks
        found, cached = self._hydrator.ready(), self._caches.ready(tasks)
        if found is None or cached is None:
            return False
        self._link(found)
        self.datasets = self._with(found, cached)
        return True

    def begin(self) -> str:
        """Bring what training begins with, and start on the rest; says what is here.

        Raises:
            StoreError, NotFoundError: like `Hydrator.hydrate`; also where it is the rest that cannot come.
        """
        first, late = self._in_order()
        found = self._bring(self._tell, first)
        told = self._told(found)
        self.datasets = found
        if not late:
            return told
        places = self._caches.places(self._hydrator.spec.tasks)
        self.datasets = self._with(self._hydrator.places(), places)
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

    def whole(self, tasks: Collection[str] | None = None) -> Datasets:
        """The converted files of some tasks (None: of all), as they are pinned, once all of them are here.

        Raises:
            UpsError: some do not come, or are no longer what the run pins.
        """
        wanted = list(self._hydrator.spec.tasks if tasks is None else tasks)
        while not self.arrived(wanted):
            self._check()
        return self._hydrator.ready(wanted) or self._fields(lambda task, done, total: self._check(), wanted)

    def replace_fields(self, caches: RunCaches, progress: Callable[[str, int, int], None]) -> None:
        """Let training have caches that were built meanwhile in place of the fields that they are of.

        Raises:
            StoreError: a cache of the store is damaged, or the disk has no room for it.
        """
        tasks = set(self._caches.lacking)
        self.datasets = self._with(self.datasets, caches.bring(tasks, progress))

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
        """Fields and caches of some tasks; progress is in bytes over those of all tasks."""
        size = self._caches.size(self._hydrator.spec.tasks)
        before = [0, 0]

        def fields(task: str, done: int, total: int) -> None:
            before[:] = done, total
            progress(task, done, total + size)

        found = self._fields(fields, tasks)
        cached: dict[str, Path] = {}
        for task in tasks:

            def of_cache(task: str, done: int, total: int) -> None:
                progress(task, before[0] + done, before[1] + size)

            cached |= self._caches.bring([task], of_cache)
            before[0] += self._caches.size([task])
        return self._with(found, cached)

    def _fields(self, progress: Callable[[str, int, int], None], tasks: Collection[str]) -> Datasets:
        found = self._hydrator.hydrate(progress, tasks)
        self._link(found)
        return found

    def _with(self, files: Datasets, cached: Mapping[str, Path]) -> Datasets:
        """The files with caches in place of the trained split."""
        split = self._caches.split
        return {
            task: {**of, split: cached[task]} if task in cached else dict(of) for task, of in files.items()
        }

    def _told(self, found: Datasets) -> str:
        """How many files and caches these are, and how large."""
        places = [place for splits in found.values() for place in splits.values()]
        files = [place for place in places if place.is_file()]
        size = sum(file.stat().st_size for file in files)
        told = f"{len(files)} files, {size / 1e6:.1f} MB, each with the sha256 that run.yaml pins"
        if len(files) == len(places):
            return told
        cached = self._caches.size(found)
        return f"{told}; {len(places) - len(files)} latent caches, {cached / 1e6:.1f} MB"

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
