"""The datasets in a store: which there are, whether they may be trusted, and what pins them.

A dataset is what its manifest says it is. Without one it is *unverified*; with one in the state
`writing` it is being replaced; neither is handed to a run. Free of torch and numpy, and light to
import: the console lists datasets with it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ups.errors import DataError, NotFoundError, UpsError
from ups.layout import DATASET_ROOTS, HIDDEN, MANIFEST, plain_name
from ups.layout import SPLITS as SPLITS
from ups.listing import Listing, Objects, sweep
from ups.reading import StoredFile, stored_sha256
from ups.store import ObjectStore
from ups.tasks import TASK_SPECS, task_spec

if TYPE_CHECKING:  # pydantic is behind it, and the console lists datasets before it needs that
    from ups.rundir import DatasetPins

FOLDER = DATASET_ROOTS[0]
"""Where datasets are written."""
MANIFEST_FORMAT = 1


class DatasetState(StrEnum):
    """Whether a dataset may be trusted; only a verified one is handed to a run."""

    VERIFIED = "verified"
    """The manifest is complete, and the files are there in its sizes."""
    UNVERIFIED = "unverified"
    """Files without a manifest."""
    WRITING = "writing"
    """Being replaced, or that was interrupted."""
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"
    NEWER = "newer"
    """Made by a newer version, whose manifest this one does not read."""


Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One converted file."""

    key: str
    bytes: int
    samples: int
    """0 where no manifest says."""
    shape: tuple[int, ...]
    """[N, T, *S, C], or [N, *S, C] of the answers of a static task; empty where no manifest says."""
    sha256: str
    """Empty where no manifest says."""
    dt: float


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """What the store holds of one task."""

    task: str
    state: DatasetState
    splits: Mapping[str, SplitEntry] = field(default_factory=dict)
    provenance: tuple[Mapping[str, Any], ...] = ()
    statistics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of the train split, per channel: mean, std, min, max, and input_mean, input_std of a static task."""
    parameters: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The distinct values of each parameter."""
    note: str = ""
    """What is wrong or unusual, in words."""
    modified: float = 0.0
    """Unix seconds of its youngest object."""

    @property
    def bytes(self) -> int:
        return sum(split.bytes for split in self.splits.values())

    @property
    def resolution(self) -> tuple[int, ...]:
        """Cells along each axis, or points of the largest sample; empty where no manifest says."""
        shape = next((split.shape for split in self.splits.values()), ())
        return shape[1 if TASK_SPECS[self.task].static else 2 : -1]


def dataset_key(task: str, split: str) -> str:
    """The key under which a split is written."""
    return f"{FOLDER}/{task}/{task}_{split}.h5"


def manifest_key(task: str) -> str:
    """The key under which a dataset's manifest is written."""
    return f"{FOLDER}/{task}/manifest.json"


def datasets(store: ObjectStore) -> list[DatasetEntry]:
    """Every task with anything in the store, in the order of the task table."""
    return datasets_in(sweep(store, [f"{root}/" for root in DATASET_ROOTS]))


def datasets_in(listing: Listing) -> list[DatasetEntry]:
    """The same of a store that was listed already."""
    folders = {
        (folder.task, folder.path): objects
        for folder, objects in listing.datasets.items()
        if any(not name.startswith(HIDDEN) for name in objects)
    }
    found = {
        task: f"{root}/{task}"
        for root in reversed(DATASET_ROOTS)  # where both hold a task, the first root is believed
        for task in TASK_SPECS
        if (task, f"{root}/{task}") in folders
    }
    return [
        _entry(listing, task, found[task], folders[task, found[task]]) for task in TASK_SPECS if task in found
    ]


def dataset(store: ObjectStore, task: str) -> DatasetEntry:
    """The entry of one task.

    Raises:
        NotFoundError: no such task, or the store holds nothing of it.
    """
    spec = task_spec(task)
    for root in DATASET_ROOTS:
        found = datasets_in(sweep(store, [f"{root}/{task}/"]))
        if found:
            return found[0]
    make = f"`ups-console data make {task}` or " if spec.has_solver else ""
    raise NotFoundError(
        f"the store holds no dataset of {task}", hint=f"{make}`ups-console data import {task} FILE…`"
    )


def pins(store: ObjectStore, tasks: Iterable[str]) -> "DatasetPins":
    """The sha256 of every split of the tasks, for `run.yaml`.

    Raises:
        NotFoundError: a task has no dataset.
        DataError: a dataset is being written, damaged, incomplete or unverified.
    """
    pinned: dict[str, dict[str, str]] = {}
    for task in tasks:
        entry = dataset(store, task)
        require_verified(entry)
        pinned[task] = {split: entry.splits[split].sha256 for split in SPLITS}
    return pinned


def require_verified(entry: DatasetEntry) -> None:
    """Raises DataError where a dataset may not be used."""
    if entry.state is DatasetState.NEWER:
        raise DataError(f"the dataset {entry.task} cannot be used: {entry.note}", hint="update ups-console")
    if entry.state is not DatasetState.VERIFIED:
        raise DataError(
            f"the dataset {entry.task} cannot be used, it is {entry.state}: {entry.note}",
            hint=f"import or make it again with --replace, or see `ups-console data verify {entry.task}`",
        )


def verify(store: ObjectStore, task: str, progress: Progress) -> DatasetEntry:
    """Compare every file with the sha256 of the manifest; reads all bytes.

    Returns:
        The entry; its state is `damaged` where a file differs.

    Raises:
        NotFoundError: the store holds nothing of the task.
    """
    entry = dataset(store, task)
    if entry.state is not DatasetState.VERIFIED:
        return entry
    before = 0
    for split in entry.splits.values():

        def tell(done: int, _: int, before: int = before) -> None:
            progress(f"verify {task}", before + done, entry.bytes)

        if stored_sha256(store, split.key, split.bytes, tell) != split.sha256:
            note = f"{Path(split.key).name} does not have the sha256 that the manifest states"
            return replace(entry, state=DatasetState.DAMAGED, note=note)
        before += split.bytes
    return entry


def delete(store: ObjectStore, task: str) -> None:
    """Remove a dataset: the manifest first, so that no reader takes the rest for whole.

    Raises:
        NotFoundError: the store holds nothing of the task.
    """
    entry = dataset(store, task)
    folders = [f"{root}/{task}" for root in DATASET_ROOTS]
    for folder in folders:
        store.delete(f"{folder}/{MANIFEST}")
    names = [f"{hidden}{task}_{split}.h5" for hidden in ("", HIDDEN) for split in SPLITS]
    usual = [f"{folder}/{name}" for folder in folders for name in names]
    store.delete_all(dict.fromkeys([*usual, *(split.key for split in entry.splits.values())]))


def read_manifest(store: ObjectStore, task: str) -> dict[str, Any] | None:
    """The manifest as it stands where datasets are written, or None.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        return parse_manifest(store.read_bytes(manifest_key(task)), task)
    except NotFoundError:
        return None


def _entry(listing: Listing, task: str, folder: str, objects: Objects) -> DatasetEntry:
    modified = max(info.modified for info in objects.values())
    content = listing.manifests.get(folder)
    if content is None:
        return replace(_unverified(listing.store, task, objects), modified=modified)
    try:
        manifest = parse_manifest(content, task)
        return replace(_stated(task, manifest, folder, objects), modified=modified)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        note = f"the manifest is damaged: {error}"
        return DatasetEntry(task, DatasetState.DAMAGED, note=note, modified=modified)


def parse_manifest(content: bytes, task: str) -> dict[str, Any]:
    """The manifest as JSON. Raises DataError where it is no JSON object."""
    try:
        manifest = json.loads(content)
    except ValueError:
        raise DataError(f"the manifest of {task} is no JSON") from None
    if not isinstance(manifest, dict):
        raise DataError(f"the manifest of {task} is no JSON object")
    return manifest


def _stated(task: str, manifest: Mapping[str, Any], folder: str, objects: Objects) -> DatasetEntry:
    made_as = manifest["format"]
    if isinstance(made_as, int) and made_as > MANIFEST_FORMAT:
        note = f"made by a newer version (format {made_as}, this version reads {MANIFEST_FORMAT})"
        return DatasetEntry(task, DatasetState.NEWER, _files(task, objects), note=note)
    if made_as != MANIFEST_FORMAT:
        raise DataError(f"format {made_as}, this version reads {MANIFEST_FORMAT}")
    splits = {
        name: SplitEntry(
            f"{folder}/{plain_name(split['file'])}", int(split["bytes"]), int(split["samples"]),
            tuple(split["shape"]), str(split["sha256"]), float(split["dt"]),
        )
        for name, split in manifest["splits"].items()
    }  # fmt: skip
    sizes = {info.key: info.bytes for info in objects.values()}
    state, note = _judge(manifest["state"], splits, sizes)
    return DatasetEntry(
        task, state, splits, tuple(manifest["provenance"]),
        {name: tuple(values) for name, values in manifest["statistics"].items()},
        {name: tuple(values) for name, values in manifest["parameters"].items()}, note,
    )  # fmt: skip


def _judge(
    state: str, splits: Mapping[str, SplitEntry], sizes: Mapping[str, int]
) -> tuple[DatasetState, str]:
    if state != "complete":
        note = "it is being replaced, or that was interrupted: run the import or make again"
        return DatasetState.WRITING, note
    missing = [name for name in SPLITS if name not in splits or splits[name].key not in sizes]
    if missing:
        return DatasetState.INCOMPLETE, f"the {' and '.join(missing)} split is missing"
    for split in splits.values():
        if sizes[split.key] != split.bytes:
            name = Path(split.key).name
            note = f"{name} has {sizes[split.key]} bytes, the manifest says {split.bytes}"
            return DatasetState.DAMAGED, note
    return DatasetState.VERIFIED, ""


def _files(task: str, objects: Objects) -> dict[str, SplitEntry]:
    """The splits by their names alone."""
    named = {split: objects.get(f"{task}_{split}.h5") for split in SPLITS}
    return {
        split: SplitEntry(info.key, info.bytes, 0, (), "", 0.0)
        for split, info in named.items()
        if info is not None
    }


def _unverified(store: ObjectStore, task: str, objects: Objects) -> DatasetEntry:
    splits = _files(task, objects)
    missing = [split for split in SPLITS if split not in splits]
    notes = ["it has no manifest: nothing says what the files hold"]
    if missing:
        notes.append(f"the {' and '.join(missing)} split is missing")
    if TASK_SPECS[task].static and any(_lacks_answers(store, split) for split in splits.values()):
        notes.append("it holds only the inputs, not the answers: import the raw files again")
    return DatasetEntry(task, DatasetState.UNVERIFIED, splits, note="; ".join(notes))


def _lacks_answers(store: ObjectStore, split: SplitEntry) -> bool:
    """Whether a file of a static task holds inputs alone, as the first converter wrote Darcy."""
    import h5py  # here: listing a healthy store needs no HDF5

    try:
        with StoredFile(store, split.key, split.bytes) as content, h5py.File(content, "r") as file:
            return not {"targets", "tensor", "sol"} & set(file)
    except (OSError, UpsError):  # no HDF5 file, or not readable: that is another note's matter
        return False
