"""The datasets in a store: which there are, whether they may be trusted, and what pins them.

A dataset is what its manifest says it is. Without one it is *unverified*; with one in the state
`writing` it is being replaced; neither is handed to a run. Free of torch and numpy, and light to
import: the console lists datasets with it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ups.errors import DataError, NotFoundError, StoreError
from ups.store import ObjectStore
from ups.tasks import TASK_SPECS, task_spec

if TYPE_CHECKING:  # pydantic is behind it, and the console lists datasets before it needs that
    from ups.rundir import DatasetPins

FOLDER = "pdebench/full"
"""Where datasets are written."""
_FOLDERS = (FOLDER, "full")
"""Where they are looked for: in a bucket that is itself called pdebench they lie at the root."""
MANIFEST_FORMAT = 1
SPLITS = ("train", "val", "test")

DatasetState = Literal["verified", "unverified", "writing", "damaged", "incomplete"]
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

    @property
    def bytes(self) -> int:
        return sum(split.bytes for split in self.splits.values())


def dataset_key(task: str, split: str) -> str:
    """The key under which a split is written."""
    return f"{FOLDER}/{task}/{task}_{split}.h5"


def manifest_key(task: str) -> str:
    """The key under which a dataset's manifest is written."""
    return f"{FOLDER}/{task}/manifest.json"


def datasets(store: ObjectStore) -> list[DatasetEntry]:
    """Every task with anything in the store, in the order of the task table."""
    found = {task: sizes for folder in reversed(_FOLDERS) for task, sizes in _listing(store, folder).items()}
    return [_entry(store, task, found[task]) for task in TASK_SPECS if task in found]


def dataset(store: ObjectStore, task: str) -> DatasetEntry:
    """The entry of one task.

    Raises:
        NotFoundError: no such task, or the store holds nothing of it.
    """
    spec = task_spec(task)
    for folder in _FOLDERS:
        sizes = _listing(store, f"{folder}/{task}").get(task)
        if sizes:
            return _entry(store, task, sizes)
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
        if entry.state != "verified":
            raise DataError(
                f"the dataset {task} cannot be used, it is {entry.state}: {entry.note}",
                hint=f"import or make it again with --replace, or see `ups-console data verify {task}`",
            )
        pinned[task] = {split: entry.splits[split].sha256 for split in SPLITS}
    return pinned


def verify(store: ObjectStore, task: str, progress: Progress) -> DatasetEntry:
    """Compare every file with the sha256 of the manifest; reads all bytes.

    Returns:
        The entry; its state is `damaged` where a file differs.

    Raises:
        NotFoundError: the store holds nothing of the task.
    """
    entry = dataset(store, task)
    if entry.state != "verified":
        return entry
    done = 0
    for split in entry.splits.values():
        if _sha256(store, split.key) != split.sha256:
            note = f"{Path(split.key).name} does not have the sha256 that the manifest states"
            return replace(entry, state="damaged", note=note)
        done += split.bytes
        progress(f"verify {task}", done, entry.bytes)
    return entry


def delete(store: ObjectStore, task: str) -> None:
    """Remove a dataset: the manifest first, so that no reader takes the rest for whole.

    Raises:
        NotFoundError: the store holds nothing of the task.
    """
    entry = dataset(store, task)
    for folder in _FOLDERS:
        store.delete(f"{folder}/{task}/manifest.json")
    for split in entry.splits.values():
        store.delete(split.key)
    for folder in _FOLDERS:
        for split_name in SPLITS:
            store.delete(f"{folder}/{task}/{task}_{split_name}.h5")


def read_manifest(store: ObjectStore, task: str) -> dict[str, Any] | None:
    """The manifest as it stands where datasets are written, or None.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        return _parse(store.read_bytes(manifest_key(task)), task)
    except NotFoundError:
        return None


def _listing(store: ObjectStore, folder: str) -> dict[str, dict[str, int]]:
    """task → key → bytes of the objects that belong to a dataset."""
    found: dict[str, dict[str, int]] = {}
    for info in store.list(f"{folder}/"):
        *_, task, name = info.key.split("/")
        if task in TASK_SPECS and (
            name == "manifest.json" or name in {f"{task}_{split}.h5" for split in SPLITS}
        ):
            found.setdefault(task, {})[info.key] = info.bytes
    return found


def _entry(store: ObjectStore, task: str, sizes: Mapping[str, int]) -> DatasetEntry:
    key = next((key for key in sizes if key.endswith("/manifest.json")), None)
    if key is None:
        return _unverified(store, task, sizes)
    try:
        manifest = _parse(store.read_bytes(key), task)
        return _verified(task, manifest, key.rpartition("/")[0], sizes)
    except NotFoundError:  # deleted since it was listed
        return _unverified(store, task, sizes)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        return DatasetEntry(task, "damaged", note=f"the manifest is damaged: {error}")


def _parse(content: bytes, task: str) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except ValueError:
        raise DataError(f"the manifest of {task} is no JSON") from None
    if not isinstance(manifest, dict):
        raise DataError(f"the manifest of {task} is no JSON object")
    return manifest


def _verified(task: str, manifest: Mapping[str, Any], folder: str, sizes: Mapping[str, int]) -> DatasetEntry:
    if manifest["format"] != MANIFEST_FORMAT:
        raise DataError(f"format {manifest['format']}, this version reads {MANIFEST_FORMAT}")
    splits = {
        name: SplitEntry(
            f"{folder}/{split['file']}", int(split["bytes"]), int(split["samples"]),
            tuple(split["shape"]), str(split["sha256"]), float(split["dt"]),
        )
        for name, split in manifest["splits"].items()
    }  # fmt: skip
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
        return "writing", "it is being replaced, or that was interrupted: run the import or make again"
    missing = [name for name in SPLITS if name not in splits or splits[name].key not in sizes]
    if missing:
        return "incomplete", f"the {' and '.join(missing)} split is missing"
    for split in splits.values():
        if sizes[split.key] != split.bytes:
            name = Path(split.key).name
            return "damaged", f"{name} has {sizes[split.key]} bytes, the manifest says {split.bytes}"
    return "verified", ""


def _unverified(store: ObjectStore, task: str, sizes: Mapping[str, int]) -> DatasetEntry:
    splits = {
        split: SplitEntry(key, size, 0, (), "", 0.0)
        for key, size in sizes.items()
        for split in SPLITS
        if key.endswith(f"/{task}_{split}.h5")
    }
    missing = [split for split in SPLITS if split not in splits]
    notes = ["it has no manifest: nothing says what the files hold"]
    if missing:
        notes.append(f"the {' and '.join(missing)} split is missing")
    if TASK_SPECS[task].static and any(_lacks_answers(store, split.key) for split in splits.values()):
        notes.append("it holds only the inputs, not the answers: import the raw files again")
    return DatasetEntry(task, "unverified", splits, note="; ".join(notes))


def _lacks_answers(store: ObjectStore, key: str) -> bool:
    """Whether a file of a static task holds inputs alone, as the first converter wrote Darcy."""
    import h5py  # here: listing a healthy store needs no HDF5

    path = store.local_path(key)
    if path is None:
        return False
    try:
        with h5py.File(path, "r") as file:
            return not {"targets", "tensor", "sol"} & set(file)
    except OSError:
        return False


def _sha256(store: ObjectStore, key: str) -> str:
    path = store.local_path(key)
    try:
        if path is None:
            return hashlib.sha256(store.read_bytes(key)).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{key} cannot be read: {error}") from error
