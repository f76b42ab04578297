"""Brings a run's datasets to this machine, each one proven to be what run.yaml pins.

A file in the store's own directory is used in place; from a bucket it is fetched to a name that holds
its hash. What has been hashed once is known by (path, bytes, mtime), so that a resume does not hash again.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ups import catalog
from ups.catalog import SplitEntry, dataset_key
from ups.errors import StoreError
from ups.rundir import RunDirectory, RunSpec
from ups.store import ObjectStore, free_bytes

Datasets = dict[str, dict[str, Path]]
"""task → split → converted file on this machine."""
Progress = Callable[[str, int, int], None]
"""Called with (task, bytes done, bytes in all, of all datasets together); may raise to stop."""

_CHUNK = 4 * 1024 * 1024
_KNOWN_FILE = "verified.json"


class VerifiedFiles:
    """Which files were hashed here, and what the hash was; any change of a file makes it unknown again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                self._known = content

    def sha256(self, file: Path) -> str | None:
        """The hash of the file as it is now, None where it is not known."""
        record = self._known.get(str(file))
        try:
            stamp = _stamp(file)
        except OSError:
            return None
        if not isinstance(record, dict) or record.get("stamp") != stamp:
            return None
        return str(record.get("sha256"))

    def record(self, file: Path, stamp: list[int], sha256: str) -> None:
        """Remember a hash that was taken of the file while it had that stamp."""
        self._known[str(file)] = {"stamp": stamp, "sha256": sha256}
        temporary = self._path.with_name(f".{self._path.name}.part")
        with contextlib.suppress(OSError):  # it only saves time
            temporary.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            temporary.replace(self._path)


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True, slots=True)
class Hydrator:
    """Where a run's data come from and where they go."""

    spec: RunSpec
    store: ObjectStore
    directory: RunDirectory
    left_out: frozenset[tuple[str, str]] = frozenset()
    """(task, split) that the run does not need: it trains from a latent cache of them."""

    @property
    def downloads(self) -> Path:
        """Files fetched from a bucket, beside the run directory and shared by the runs there."""
        return self.directory.root.parent / "data"

    def ready(self) -> Datasets | None:
        """All files, if they are here and known to be right without hashing; else None."""
        known = self._known()
        found: Datasets = {}
        for task, split, sha256 in self._pins():
            places = (self._fetched(sha256), self.store.local_path(dataset_key(task, split)))
            file = next((path for path in places if path is not None and path.is_file()), None)
            if file is None or known.sha256(file) != sha256:
                return None
            found.setdefault(task, {})[split] = file
        return found

    def hydrate(self, progress: Progress) -> Datasets:
        """Fetch what is missing and verify everything.

        Raises:
            StoreError: a dataset is being replaced or damaged, or the disk has no room for it.
            NotFoundError: the store does not have it.
        """
        found: Datasets = {}
        pins = self._pins()
        done, total = 0, sum(self._bytes(*pin) for pin in pins)
        for task, split, sha256 in pins:
            before = done

            def tell(task: str, of_file: int, _: int, before: int = before) -> None:
                progress(task, before + of_file, total)

            file = self._provide(task, split, sha256, tell)
            found.setdefault(task, {})[split] = file
            done += file.stat().st_size
            progress(task, done, total)
        return found

    def _bytes(self, task: str, split: str, sha256: str) -> int:
        fetched = self._fetched(sha256)
        return fetched.stat().st_size if fetched.is_file() else self._stored(task, split, sha256).bytes

    def _known(self) -> VerifiedFiles:
        return VerifiedFiles(self.directory.root / _KNOWN_FILE)

    def _pins(self) -> list[tuple[str, str, str]]:
        for task in self.spec.tasks:
            if task not in self.spec.datasets:
                raise StoreError(
                    f"{self.directory.spec_path} pins no dataset of {task}", hint="launch it anew"
                )
        return [
            (task, split, sha256)
            for task in self.spec.tasks
            for split, sha256 in self.spec.datasets[task].items()
            if (task, split) not in self.left_out
        ]

    def _fetched(self, sha256: str) -> Path:
        return self.downloads / f"{sha256}.h5"

    def _provide(self, task: str, split: str, sha256: str, progress: Progress) -> Path:
        fetched = self._fetched(sha256)
        if fetched.is_file():
            if self._is(fetched, sha256, task, progress):
                return fetched
            fetched.unlink()
        stored = self._stored(task, split, sha256)
        in_place = self.store.local_path(stored.key)
        if in_place is None:
            return self._download(task, split, stored, sha256, progress)
        if not self._is(in_place, sha256, task, progress):
            raise _replaced(task, split, f"{in_place} does not have the sha256 that run.yaml pins")
        return in_place

    def _stored(self, task: str, split: str, sha256: str) -> SplitEntry:
        """What the store says it holds; refused where that is not what the run pins."""
        entry = catalog.dataset(self.store, task)
        if entry.state == "writing":
            raise _replaced(task, split, "its manifest says that it is being written")
        stored = entry.splits.get(split)
        if stored is None or entry.state == "damaged":
            raise StoreError(
                f"the {split} split of {task} cannot be used: {entry.note or 'the store does not have it'}",
                hint=f"`ups-console data verify {task}`; make or import it again",
            )
        if stored.sha256 not in ("", sha256):
            raise _replaced(task, split, "its manifest states another sha256 than run.yaml pins")
        return stored

    def _is(self, file: Path, sha256: str, task: str, progress: Progress) -> bool:
        known = self._known()
        return known.sha256(file) == sha256 or self._verify(file, known, task, progress) == sha256

    def _verify(self, file: Path, known: VerifiedFiles, task: str, progress: Progress) -> str:
        stamp = _stamp(file)
        digest, done, total = hashlib.sha256(), 0, stamp[0]
        try:
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                    done += len(chunk)
                    progress(task, done, total)
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror or error}") from error
        known.record(file, stamp, digest.hexdigest())
        return digest.hexdigest()

    def _download(self, task: str, split: str, stored: SplitEntry, sha256: str, progress: Progress) -> Path:
        target = self._fetched(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        free = free_bytes(target)
        if stored.bytes > free:
            raise StoreError(
                f"no space left in {target.parent} for the {split} split of {task}: "
                f"{stored.bytes / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free",
                hint="free some space, or rent a larger disk",
            )
        self.store.download(
            stored.key, target, sha256=sha256, progress=lambda done, total: progress(task, done, total)
        )
        self._known().record(target, _stamp(target), sha256)
        return target


def _replaced(task: str, split: str, why: str) -> StoreError:
    return StoreError(
        f"the {split} split of {task} was replaced or is being replaced: {why}",
        hint="wait until it is complete, then launch the run anew: a run computes with the data it pins",
    )
