"""Data that `DATASET_KEY` names, where the store lacks a task: a folder of the bucket, or a W&B artifact.

A key such as `burgers1d_full_v1` begins with its task; its files say in their names which split they
are. What run.yaml pins still rules. A file that nothing pins is looked through, and its hash recorded
in the run directory, so that the run goes on with the same data and its report can name them.
"""

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from remote import artifact
from remote.files import write_json
from ups.data.acceptance import require_split
from ups.dataset_keys import DatasetKeys
from ups.errors import DataError, NotFoundError, StoreError
from ups.rundir import DatasetPins, RunDirectory
from ups.store import ObjectStore, file_sha256, free_bytes

Progress = Callable[[str, int, int], None]
"""Called with (task, bytes done, bytes in all); may raise to stop."""

_FOLDERS = ("pdebench/", "")
"""Where in the store a key's folder is looked for."""
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_RANGE = 16 * 1024 * 1024


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """split → the HDF5 files whose name has it as a word."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if Path(name).suffix in (".h5", ".hdf5"):
            words = re.split(r"[^a-z]+", Path(name).stem.lower())
            for split in {_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES}:
                found.setdefault(split, []).append(name)
    return found


@dataclass(frozen=True, slots=True)
class KeyedData:
    """The keys of `DATASET_KEY`, and where their data come from and go to."""

    keys: DatasetKeys
    store: ObjectStore
    directory: RunDirectory
    downloads: Path
    """Files are named by their hash there."""

    def names(self, task: str) -> bool:
        """Whether a key is of this task."""
        return self.keys.key_of(task) is not None

    def recorded(self) -> DatasetPins:
        """task → split → sha256 of what the run has taken without a pin."""
        try:
            content = json.loads((self.directory.datasets_path).read_text(encoding="utf-8"))
            return {task: dict(splits) for task, splits in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def record(self, task: str, splits: Mapping[str, str]) -> None:
        """Keep to these files from now on."""
        write_json(self.directory.datasets_path, {**self.recorded(), task: dict(splits)})

    def fetch(
        self,
        task: str,
        splits: Collection[str],
        pins: Mapping[str, str] | None,
        why: str,
        progress: Progress,
    ) -> None:
        """Bring a task's splits here, under the names of their hashes.

        Args:
            task: one of which a key is.
            splits: those that are needed.
            pins: split → sha256, where the run says so.
            why: the store's dataset cannot be used.
            progress: called with bytes.

        Raises:
            NotFoundError: no folder and no artifact has them; says what was tried.
            StoreError: what they have is not what the run pins, or the disk has no room.
            DataError: what they have is no converted file of that split, or has values that are not finite.
        """
        key = self.keys.key_of(task)
        assert key is not None
        tried = [f"the dataset in {self.store.url}: {why}"]
        scratch = self.downloads / f".{key}"
        for source in (self._from_folder, self._from_artifact):
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                scratch.mkdir(parents=True, exist_ok=True)
                files = source(key, task, splits, scratch, progress)
                self._accept(task, key, files, pins)
            except NotFoundError as error:
                tried.append(error.message)
                continue
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            return
        raise NotFoundError(
            f"there are no data of {task}. Tried {'; '.join(tried)}",
            hint=f"`ups-console data make {task}`, or give the store or W&B account that has {key}",
        )

    def _from_folder(
        self, key: str, task: str, splits: Collection[str], scratch: Path, progress: Progress
    ) -> dict[str, Path]:
        """The files of the key's folder in the store."""
        for folder in (f"{where}{key}/" for where in _FOLDERS):
            sizes = {info.key: info.bytes for info in self.store.list(folder)}
            if not sizes:
                continue
            chosen = _one_each(by_split(sizes), splits, f"the folder {folder} of {self.store.url}")
            total, done = sum(sizes[name] for name in chosen.values()), 0
            require_room(self.downloads, total, key)
            for split, name in chosen.items():
                with (scratch / f"{split}.h5").open("wb") as file:
                    for start in range(0, sizes[name], _RANGE):
                        done += file.write(self.store.read_range(name, start, start + _RANGE))
                        progress(task, done, total)
            return {split: scratch / f"{split}.h5" for split in chosen}
        raise NotFoundError(f"the folders pdebench/{key}/ and {key}/ of the store: there is none")

    def _from_artifact(
        self, key: str, task: str, splits: Collection[str], scratch: Path, progress: Progress
    ) -> dict[str, Path]:
        def tell(done: int, total: int) -> None:
            require_room(self.downloads, total - done, key)
            progress(task, done, total)

        artifact.download(key, scratch, tell)
        names = [path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if path.is_file()]
        chosen = _one_each(by_split(names), splits, f"the W&B artifact {key}")
        return {split: scratch / name for split, name in chosen.items()}

    def _accept(self, task: str, key: str, files: Mapping[str, Path], pins: Mapping[str, str] | None) -> None:
        """Give files the names of their hashes, once all are what they should be."""
        hashes = {split: file_sha256(file) for split, file in files.items()}
        for split, file in files.items():
            if pins is None:
                require_split(file, task, split)
            elif pins.get(split) != hashes[split]:
                raise StoreError(
                    f"the {split} split of {key} does not have the sha256 that run.yaml pins",
                    hint="it is of another version: launch the run anew to compute with it",
                )
        for split, file in files.items():
            file.replace(self.downloads / f"{hashes[split]}.h5")
        if pins is None:
            self.record(task, hashes)


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raises StoreError where the disk cannot hold so many bytes more."""
    if needed > (free := free_bytes(folder)):
        raise StoreError(
            f"no space left in {folder} for {what}: {needed / 1e9:.2f} GB are missing, and"
            f" {free / 1e9:.2f} GB are free",
            hint="free some space, or rent a larger disk",
        )


def _one_each(found: Mapping[str, list[str]], splits: Collection[str], where: str) -> dict[str, str]:
    """The one file of each split."""
    missing = [split for split in splits if split not in found]
    if missing:
        raise NotFoundError(f"{where}: it has no file named {' or '.join(missing)}")
    several = next((split for split in splits if len(found[split]) > 1), None)
    if several is not None:
        raise DataError(
            f"{where} has several files of the {several} split: {', '.join(found[several])}",
            hint="one file of each split is wanted",
        )
    return {split: found[split][0] for split in splits}
