"""Brings a run's datasets to this machine, each one proven to be what run.yaml pins.

Only what the run reads comes: the tasks of its config, the split that is trained on and those that are
judged, and first the tasks that its curriculum draws first. A file in the store's own directory is used
in place; from a bucket it is fetched to a name that holds its hash, and serves every run beside this one.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from remote.files import sole_fetcher
from remote.keyed import KeyedData
from remote.verified import VerifiedFiles
from ups import catalog
from ups.catalog import DatasetEntry, DatasetState, SplitEntry, dataset_key
from ups.config import TrainConfig
from ups.data.outline import Outline
from ups.data.split import open_split
from ups.dataset_keys import DatasetKeys
from ups.errors import DataError, StoreError, UpsError
from ups.rundir import RunDirectory, RunSpec
from ups.store import Download, ObjectStore, free_bytes
from ups.training.curriculum import joining_epochs

Datasets = dict[str, dict[str, Path]]
"""task → split → converted file on this machine."""
Progress = Callable[[str, int, int], None]
"""Called with (task, bytes done, bytes in all, of all datasets together); "" where several tasks come at
once. May raise to stop."""

JUDGED = ("val", "test")
"""Splits that validation and the report need."""
_KNOWN_FILE = "verified.json"


@dataclass(frozen=True, slots=True)
class Pin:
    """One file that the run needs."""

    task: str
    split: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Found:
    """Where a file that the run needs is now."""

    pin: Pin
    bytes: int
    here: Path | None
    """On this machine, whether it is right or not."""
    key: str
    """In the store; "" where that need not be asked."""


def groups(config: TrainConfig) -> list[list[str]]:
    """The tasks of a config that training needs together, those that it needs first coming first."""
    joining = joining_epochs(config)
    return [[task for task in joining if joining[task] == epoch] for epoch in sorted(set(joining.values()))]


@dataclass(frozen=True, slots=True)
class Hydrator:
    """Where a run's data come from and where they go."""

    spec: RunSpec
    store: ObjectStore
    directory: RunDirectory
    splits: Collection[str] = catalog.SPLITS
    """Those that are brought here."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """(task, split) that the run does not need: it trains from a latent cache of them."""

    @property
    def downloads(self) -> Path:
        """Files fetched from a bucket, beside the run directory and shared by the runs there."""
        return self.directory.root.parent / "data"

    @property
    def pins(self) -> dict[str, dict[str, str]]:
        """task → split → sha256: run.yaml's, and of tasks that it does not pin what came by `DATASET_KEY`."""
        return {**self._keyed.recorded(), **self.spec.datasets}

    def ready(self, tasks: Iterable[str] | None = None) -> Datasets | None:
        """All files of some tasks (None: of all), if they are here and known to be right without hashing."""
        known, found = self._known(), Datasets()
        for task in self.spec.tasks if tasks is None else tasks:
            for split, sha256 in self._needed(task).items():
                file = self._here(Pin(task, split, sha256))
                if file is None or known.sha256(file) != sha256:
                    return None
                found.setdefault(task, {})[split] = file
            if task not in found:
                return None
        return found

    def hydrate(self, progress: Progress, tasks: Collection[str] | None = None) -> Datasets:
        """Fetch what is missing of some tasks (None: of all) and verify it; several files at a time.

        Whether the store can give all that the run needs, and the disk hold it, is known before the first
        byte comes.

        Raises:
            StoreError: a dataset is being replaced or damaged, or the disk has no room for what is missing.
            NotFoundError: the store does not have it.
        """
        plan = self._plan(progress)
        wanted = [item for item in plan if tasks is None or item.pin.task in tasks]
        others = [item for item in plan if item not in wanted and item.here is not None]
        counted = _Counted(progress, sum(item.bytes for item in plan), sum(item.bytes for item in others))
        verified = {item.pin: self._verified(item, counted) for item in wanted}
        missing = [item for item in wanted if verified[item.pin] is None]
        self._require_room([item for item in plan if item.here is None or item in missing])
        self._download([self._in_store(item) for item in missing], counted)
        found = Datasets()
        for item in wanted:
            file = verified[item.pin] or self._fetched(item.pin.sha256)
            found.setdefault(item.pin.task, {})[item.pin.split] = file
        counted.end("" if len(found) > 1 else next(iter(found)))
        return found

    def outlines(self, progress: Progress) -> dict[str, Outline]:
        """The sizes of each task's trained split, of its file or as its manifest says, if one of them does.

        Raises:
            StoreError, NotFoundError: like `hydrate`, before anything has come.
        """
        found: dict[str, Outline] = {}
        plan = {item.pin: item for item in self._plan(progress)}
        trained, pins = self.spec.config.data.split, self.pins
        for task in self.spec.tasks:
            if trained not in pins[task]:
                continue
            pin = Pin(task, trained, pins[task][trained])
            item = plan.get(pin) or self._find(pin, None)
            if item.here is not None and not item.key:  # its name was its hash when it came
                with contextlib.suppress(DataError):
                    found[task] = Outline.of(open_split(item.here))
            elif (stored := self._stored_of(item)).shape:
                found[task] = Outline.from_shape(task, stored.shape, stored.dt)
        return found

    def places(self) -> Datasets:
        """Where the files of all tasks are, or will be once they have come."""
        found = Datasets()
        for item in self._plan(_silent):
            file = item.here or self._fetched(item.pin.sha256)
            found.setdefault(item.pin.task, {})[item.pin.split] = file
        return found

    # --- what there is ------------------------------------------------------------------------

    @property
    def _keyed(self) -> KeyedData:
        return KeyedData(DatasetKeys.of_environment(), self.store, self.directory, self.downloads)

    def _known(self) -> VerifiedFiles:
        return VerifiedFiles(self.directory.root / _KNOWN_FILE)

    def _pins(self) -> Iterator[Pin]:
        pins = self.pins
        for task in self.spec.tasks:
            if not pins.get(task):
                raise StoreError(
                    f"{self.directory.spec_path} pins no dataset of {task}", hint="launch it anew"
                )
            yield from (Pin(task, split, sha256) for split, sha256 in self._needed(task).items())

    def _needed(self, task: str) -> dict[str, str]:
        """split → sha256 of the files of a task that have to be here."""
        return {
            split: sha256
            for split, sha256 in self.pins.get(task, {}).items()
            if split in self.splits and (task, split) not in self.left_out
        }

    def _plan(self, progress: Progress) -> list[Found]:
        """Every file that the run needs, and where it is; what the store lacks comes by `DATASET_KEY` now."""
        entries = {task: self._provided(task, progress) for task in self.spec.tasks}
        return [self._find(pin, entries[pin.task]) for pin in self._pins()]

    def _provided(self, task: str, progress: Progress) -> DatasetEntry | None:
        """What the store says of a task; None where nothing of it is needed from there."""
        pins, keyed = self.pins.get(task), self._keyed
        named = keyed.names(task)
        if pins is None and not named:
            return None
        files = self._needed(task).values()
        if files and all(self._fetched(sha256).is_file() for sha256 in files):
            return None
        try:
            entry = self._entry(task)
            if pins is None:
                keyed.record(task, catalog.pins(self.store, [task])[task])
        except UpsError as error:
            if not named:
                raise
            keyed.fetch(task, self.splits, pins, error.message, progress)
            return None
        return entry

    def _entry(self, task: str) -> DatasetEntry:
        return catalog.dataset(self.store, task)

    def _find(self, pin: Pin, entry: DatasetEntry | None) -> Found:
        fetched = self._fetched(pin.sha256)
        if fetched.is_file():
            return Found(pin, fetched.stat().st_size, fetched, "")
        stored = _stored(entry or self._entry(pin.task), pin)
        return Found(pin, stored.bytes, self.store.local_path(stored.key), stored.key)

    def _in_store(self, item: Found) -> Found:
        """The same file in the store, where the copy here turned out to be wrong."""
        if item.key:
            return item
        stored = self._stored_of(item)
        return Found(item.pin, stored.bytes, None, stored.key)

    def _stored_of(self, item: Found) -> SplitEntry:
        return _stored(self._entry(item.pin.task), item.pin)

    def _fetched(self, sha256: str) -> Path:
        return self.downloads / f"{sha256}.h5"

    def _here(self, pin: Pin) -> Path | None:
        fetched = self._fetched(pin.sha256)
        if fetched.is_file():
            return fetched
        return self.store.local_path(dataset_key(pin.task, pin.split))

    # --- bringing it here ---------------------------------------------------------------------

    def _verified(self, item: Found, counted: "_Counted") -> Path | None:
        """The file where it is right; None where it has to be fetched.

        Raises:
            StoreError: the store's own file is not what the run pins.
        """
        pin, file, known = item.pin, item.here, self._known()
        if file is None:
            return None
        right = known.sha256(file) == pin.sha256
        if not right:
            right = known.verify(file, lambda done: counted.tell(pin.task, done)) == pin.sha256
        if right:
            counted.add(pin.task, item.bytes)
            return file
        if file != self._fetched(pin.sha256):
            raise _replaced(pin, f"{file} does not have the sha256 that run.yaml pins")
        file.unlink()
        return None

    def _require_room(self, missing: Sequence[Found]) -> None:
        begun = sum(_begun_bytes(self._fetched(item.pin.sha256)) for item in missing)
        needed, free = sum(item.bytes for item in missing) - begun, free_bytes(self.downloads)
        if needed > free:
            what = ", ".join(dict.fromkeys(item.pin.task for item in missing))
            raise StoreError(
                f"no space left in {self.downloads} for {what}: {needed / 1e9:.2f} GB are missing, and"
                f" {free / 1e9:.2f} GB are free",
                hint="free some space, or rent a larger disk",
            )

    def _download(self, items: Sequence[Found], counted: "_Counted") -> None:
        if not items:
            return
        tasks = {item.pin.task for item in items}
        name = tasks.pop() if len(tasks) == 1 else ""
        with sole_fetcher(self.downloads, lambda: counted.tell(name, 0)):
            wanted = {self._fetched(item.pin.sha256): item for item in items}
            here = [target for target in wanted if target.is_file()]  # another run has brought them
            for target in here:
                item = replace(wanted.pop(target), here=target)
                if self._verified(item, counted) is None:
                    wanted[target] = item
            self.store.download_all(
                [Download(item.key, target, item.pin.sha256) for target, item in wanted.items()],
                progress=lambda done, total: counted.tell(name, done),
            )
        known = self._known()
        for target, item in wanted.items():
            known.trust(target, item.pin.sha256)
        counted.add(name, sum(item.bytes for item in wanted.values()))


def _begun_bytes(target: Path) -> int:
    """Bytes on the disk that an interrupted download has left beside its target, and goes on with."""
    return sum(path.stat().st_blocks * 512 for path in target.parent.glob(f"{target.name}.*"))


def _silent(task: str, done: int, total: int) -> None:
    pass


class _Counted:
    """Progress in bytes over all files, from that of each."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress, self._total, self._done, self._told = progress, total, done, 0

    def tell(self, task: str, of_current: int) -> None:
        """How far the current one is; what is told never falls."""
        self._told = max(self._told, min(self._done + of_current, self._total))
        self._progress(task, self._told, self._total)

    def add(self, task: str, size: int) -> None:
        """The current one is done."""
        self._done += size
        self.tell(task, 0)

    def end(self, task: str) -> None:
        self.tell(task, 0)


def _stored(entry: DatasetEntry, pin: Pin) -> SplitEntry:
    """What the store says it holds; refused where that is not what the run pins."""
    if entry.state is DatasetState.WRITING:
        raise _replaced(pin, "its manifest says that it is being written")
    if entry.state is DatasetState.NEWER:
        raise StoreError(
            f"the {pin.split} split of {pin.task} cannot be used: {entry.note}", hint="update ups-console"
        )
    stored = entry.splits.get(pin.split)
    if stored is None or entry.state is DatasetState.DAMAGED:
        why = entry.note or "the store does not have it"
        raise StoreError(
            f"the {pin.split} split of {pin.task} cannot be used: {why}",
            hint=f"`ups-console data verify {pin.task}`; make or import it again",
        )
    if stored.sha256 not in ("", pin.sha256):
        raise _replaced(pin, "its manifest states another sha256 than run.yaml pins")
    return stored


def _replaced(pin: Pin, why: str) -> StoreError:
    return StoreError(
        f"the {pin.split} split of {pin.task} was replaced or is being replaced: {why}",
        hint="wait until it is complete, then launch the run anew: a run computes with the data it pins",
    )
