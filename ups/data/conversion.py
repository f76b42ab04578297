"""A conversion that can be shared and resumed: which parts of it are done is kept beside its files.

It lives in a folder:

    plan.json            which assembly this is; written when the files are laid out
    claims               which process is at which part: `ups.data.claims`
    {task}_{split}.h5
    done/000042.npy      segment 42 is on disk, and this is what was measured of its samples
    done/source-0.sha256
    done/train.json      the file is complete, and this is what the manifest says of it, but its hash
    done/train.sha256

Free of torch.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ups.data.assembly import Assembly
from ups.data.claims import Claims, claims
from ups.data.fields import FORMAT
from ups.data.growing_hash import GrowingHash
from ups.data.source import AnyDiscretisation, provenance_of
from ups.data.split_files import Counted, Segment, SplitFiles
from ups.errors import DataError, StoreError
from ups.store import store_error

_PLAN = "plan.json"
_CLAIMS = "claims"
_DONE = "done"


@dataclass(frozen=True, slots=True)
class Identification:
    """The hash of a source, for which all of it is read: a unit of work beside the segments."""

    number: int
    """Among all units of the conversion."""
    source: int
    """Index in the assembly."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """Hashing the file of a split while its samples come in, and completing it when all are there."""

    number: int
    """Among all units of the conversion."""
    split: str
    samples: int
    """Of the split."""


Unit = Segment | Identification


class Watcher(Protocol):
    """Whoever waits for a sealing; what it raises ends that."""

    def hashed(self, samples: int) -> None:
        """Told often how many samples of the file are hashed."""
        ...

    def wait(self) -> None:
        """Let a little time pass, as others are to do something first."""
        ...


class Conversion:
    """An assembly on its way into converted files. Picklable: a process that has it can do units of it."""

    def __init__(self, assembly: Assembly, folder: Path) -> None:
        """Nothing is written yet.

        Args:
            assembly: what is to be written.
            folder: where; it outlives this process where the conversion is to be resumed.
        """
        self.assembly = assembly
        self.folder = folder
        self.paths = {split: folder / f"{assembly.spec.name}_{split}.h5" for split in assembly.masks}
        """Split → the file, which is complete once it is sealed."""
        self._files = SplitFiles(assembly, self.paths)
        self.segments = self._files.segments
        first = len(self.segments)
        self._identifications = tuple(
            Identification(first + index, index) for index in range(len(assembly.sources))
        )
        first += len(self._identifications)
        largest_first = sorted(assembly.counts.items(), key=lambda entry: -entry[1])
        self._sealings = tuple(
            Sealing(first + index, split, samples) for index, (split, samples) in enumerate(largest_first)
        )

    def is_prepared(self) -> bool:
        """Whether the files of this very conversion are laid out."""
        return self._is_planned() and all(
            path.exists() if _is_noted(self._mark(split, "json")) else self._files.is_laid_out(split)
            for split, path in self.paths.items()
        )

    def _is_planned(self) -> bool:
        """Whether the plan is of this assembly, its sources as they are now."""
        try:
            plan = json.loads((self.folder / _PLAN).read_bytes())
        except (OSError, ValueError):
            return False
        return bool(plan == {"fingerprint": fingerprint(self.assembly)})

    def prepare(self) -> None:
        """Lay the files out, unless that was done before; only one process may.

        Raises:
            NotFoundError: a source is gone.
            StoreError: there is no room.
        """
        if self.is_prepared():
            return
        try:
            (self.folder / _PLAN).unlink(missing_ok=True)
            shutil.rmtree(self.folder / _DONE, ignore_errors=True)
            (self.folder / _DONE).mkdir()
            self._files.lay_out()
            content = json.dumps({"fingerprint": fingerprint(self.assembly)})
            _write_whole(self.folder / _PLAN, lambda path: path.write_text(content))
        except OSError as error:
            raise store_error(error, self.folder) from error

    def claims(self) -> AbstractContextManager[Claims]:
        """The claims of this process on units; raises StoreError where the conversion is over."""
        return claims(self.folder / _CLAIMS)

    def missing(self) -> list[Unit]:
        """The units but the sealings that are not done yet, what takes longest first."""
        units: tuple[Unit, ...] = (*self._identifications, *self.segments)
        return [unit for unit in units if not self.is_done(unit)]

    def unsealed(self) -> list[Sealing]:
        """The files that are not sealed yet, the largest first."""
        return [sealing for sealing in self._sealings if not self.is_done(sealing)]

    def is_done(self, unit: Unit | Sealing) -> bool:
        """Whether a unit was done, by whichever process.

        Raises:
            StoreError: the conversion is over.
        """
        done = _is_noted(self._mark_of(unit))
        if not done and not (self.folder / _PLAN).exists():
            raise StoreError(f"what was converted in {self.folder} is gone", hint="run the command again")
        return done

    def convert(self, unit: Unit, counted: Counted) -> None:
        """Hash a source, or read, check, measure and write a segment.

        Args:
            unit: one of `missing`.
            counted: called with numbers of samples of a segment that are done.

        Raises:
            DataError, StoreError: as `SplitFiles.fill`.
        """
        mark = self._mark_of(unit)
        if isinstance(unit, Segment):
            measured = self._files.fill(unit, counted)
            _note(mark, lambda path: np.save(path, measured))
        else:
            digest = self.assembly.sources[unit.source].sha256
            _note(mark, lambda path: path.write_text(digest))

    def seal(self, sealing: Sealing, watcher: Watcher) -> None:
        """Hash the file of a split as far as it is there, and complete it once no unit is missing.

        Args:
            sealing: one of `unsealed`.
            watcher: is asked to wait while units are missing that another thread or process does.

        Raises:
            StoreError: there is no room.
        """
        split, path = sealing.split, self.paths[sealing.split]
        complete = self._mark(split, "json")
        growing, size = GrowingHash(), self.assembly.bytes

        def read() -> None:
            watcher.hashed(min(sealing.samples, sealing.samples * growing.position // size))

        def hash_up_to(end: int) -> None:
            if end > growing.position:  # else it may not be there yet
                with path.open("rb") as file:
                    growing.up_to(end, file.fileno(), read)

        try:
            for done, segment in enumerate(self.segments, 1):
                while not self.is_done(segment):
                    watcher.wait()
                hash_up_to(self._files.settled(split, done))
            while not all(map(self.is_done, self._identifications)):
                watcher.wait()
            if not _is_noted(complete):
                self._files.sign(split, self._provenance())
                entry = self._files.finish(split)
                _note(complete, lambda path: path.write_text(json.dumps(entry)))
            size = path.stat().st_size
            hash_up_to(size)
        except OSError as error:
            raise store_error(error, path) from error
        _note(self._mark_of(sealing), lambda path: path.write_text(growing.hexdigest()))

    def finish(self) -> dict[str, Any]:
        """What the manifest says, but its format, state and time, once every file is sealed.

        Raises:
            DataError: a field is constant, or a source was changed meanwhile.
            NotFoundError: a source is gone.
        """
        if not self._is_planned():
            names = ", ".join(source.name for source in self.assembly.sources)
            raise DataError(f"{names} changed while being converted", hint="run the command again")
        entries = {
            split: {
                **json.loads(self._mark(split, "json").read_bytes()),
                "sha256": self._mark(split, "sha256").read_text(),
            }
            for split in self.paths
        }
        measured = [np.load(self._mark_of(segment)) for segment in self.segments]
        return self._files.manifest(measured, self._provenance(), entries)

    def end(self) -> None:
        """Tell all processes that take part, before the folder is removed."""
        (self.folder / _PLAN).unlink()

    def _provenance(self) -> Sequence[Mapping[str, Any]]:
        return [
            provenance_of(self.assembly.sources[unit.source], self._mark_of(unit).read_text())
            for unit in self._identifications
        ]

    def _mark_of(self, unit: Unit | Sealing) -> Path:
        """The file whose content shows that a unit is done."""
        if isinstance(unit, Segment):
            return self._mark(f"{unit.number:06d}", "npy")
        if isinstance(unit, Identification):
            return self._mark(f"source-{unit.source}", "sha256")
        return self._mark(unit.split, "sha256")

    def _mark(self, what: str, state: str) -> Path:
        return self.folder / _DONE / f"{what}.{state}"


def fingerprint(assembly: Assembly) -> str:
    """Identifies what the files of an assembly will hold; raises NotFoundError where a source is gone."""
    digest = hashlib.sha256()
    described = {
        "format": FORMAT,
        "task": assembly.spec.name,
        "sources": [[source.name, source.identity, source.segment] for source in assembly.sources],
        "grid": _described(assembly.discretisation),
    }
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    for split in sorted(assembly.masks):
        digest.update(split.encode() + assembly.masks[split].tobytes())
    digest.update(assembly.blocks.tobytes())
    return digest.hexdigest()


def _described(discretisation: AnyDiscretisation) -> Mapping[str, Any]:
    return {"sample_bytes": discretisation.sample_bytes, "times": discretisation.times.tolist()}


def _is_noted(path: Path) -> bool:
    """Whether something is done; a note is empty where the machine lost its power."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _note(path: Path, write: Callable[[Path], Any]) -> None:
    """Note that something is done; raises StoreError where there is no room."""
    try:
        _write_whole(path, write)
    except OSError as error:
        raise store_error(error, path) from error


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a small file such that it is whole once it has its name."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")  # numpy wants the suffix
    write(temporary)
    temporary.replace(path)
