"""Published files → datasets in the store → latent caches, as far as they are not there already.

Files are read where they are, as much of them as is asked for, or downloaded, proven and read then.
Whatever way they come, the same request gives the same dataset: samples are known by the MD5 of their
published file and by what was taken of it. So a request that was cut short is simply made again.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from remote import precompute
from remote.precompute import Building
from ups import catalog
from ups.data import commit
from ups.data.convert import ImportResult, Labour, import_sources
from ups.data.download import Fetching, download, file_md5, missing_bytes
from ups.data.preprocessing import cache_shape, files_of, preprocess_job
from ups.data.published import PublishedFile
from ups.data.raw import RawFile, Reading, open_raw
from ups.data.remote_file import RemoteOrigin
from ups.data.selection import Selection
from ups.data.unfinished import refuse_full
from ups.errors import ConfigError, DataError, NotFoundError
from ups.events import PhaseState
from ups.preprocess_job import PreprocessJob
from ups.store import ObjectStore
from ups.tasks import task_spec


class Voice(Protocol):
    """Hears what is being done; `remote.output.Output` is one."""

    def progress(self, what: str, done: int, total: int, *, unit: str = "samples") -> None: ...

    def phase(self, phase: str, state: PhaseState, detail: str = "") -> None: ...

    def warn(self, code: str, message: str, hint: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of which files, and how this machine goes about it."""

    job: PreprocessJob
    work: Path
    """Where files are downloaded to."""
    labour: Labour = field(default_factory=Labour)
    fetching: Fetching = field(default_factory=Fetching)

    @property
    def folder(self) -> Path | None:
        """The directory of published files, where they are in one."""
        return Path(self.job.base) if self.job.is_local else None


def request_of(options: argparse.Namespace, labour: Labour) -> Request:
    """The request that command-line options make; raises as `preprocess_job`."""
    job = preprocess_job(
        _listed(options.tasks),
        base=options.base,
        table=options.table,
        limit=options.limit,
        samples=options.samples,
        resolution=options.resolution,
        stride=options.stride,
        whole=True if options.whole else False if options.partial else None,
        replace=options.replace,
        cache_dim=options.cache_dim,
        cache_tokens=options.cache_tokens,
        cache_dtype=options.cache_dtype,
        splits=_listed(options.splits or ""),
    )
    return Request(job, options.work, labour)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task."""

    task: str
    files: int
    """How many were asked for."""
    added: tuple[str, ...]
    """Those that were not in the store before."""
    samples: Mapping[str, int]
    """Of each split, afterwards."""
    caches: Mapping[str, int]
    """Split → bytes of the caches that were built."""

    @property
    def told(self) -> str:
        samples = ", ".join(f"{count} {split}" for split, count in self.samples.items())
        what = f"added {len(self.added)} of {self.files} files" if self.added else "nothing new"
        caches = f"; built {len(self.caches)} caches" if self.caches else ""
        return f"{self.task}: {what}; now {samples} samples{caches}"


def preprocess(request: Request, store: ObjectStore, voice: Voice) -> list[Outcome]:
    """Do what a request asks for, task by task; what the store has of it is left as it is.

    Raises:
        NotFoundError: a directory or a file does not exist.
        DataError: a file does not fit, or the store's dataset of a task is something else.
        DownloadError: a server does not hand out a file, or one with another MD5.
        StoreError: the store, or the directory to work in, cannot be written or has no room.
    """
    if request.folder is not None and not request.folder.is_dir():
        raise NotFoundError(
            f"there is no directory {request.folder}", hint="--from takes a directory, or a URL with ://"
        )
    return [
        _Task(task, request, store, voice).execute(files_of(request.job, task)) for task in request.job.tasks
    ]


@dataclass(frozen=True, slots=True)
class _Task:
    """One task of a request."""

    name: str
    request: Request
    store: ObjectStore
    voice: Voice

    @property
    def selection(self) -> Selection:
        job = self.request.job
        asked = Selection(job.samples, job.resolution, job.stride)
        return replace(asked, stride=1) if task_spec(self.name).static else asked

    def execute(self, files: Sequence[PublishedFile]) -> Outcome:
        missing = self._missing(files)
        result = self._import(missing) if missing else None
        samples = {split: e.samples for split, e in catalog.dataset(self.store, self.name).splits.items()}
        return Outcome(self.name, len(files), result.added if result else (), samples, self._cache())

    def _missing(self, files: Sequence[PublishedFile]) -> Sequence[PublishedFile]:
        """The files to read: those that the dataset lacks, or all where it is to be replaced.

        Raises:
            DataError: the dataset is something that these files cannot be added to.
        """
        commit.finish_interrupted(self.store, self.name)
        try:
            entry = catalog.dataset(self.store, self.name)
        except NotFoundError:
            return files
        if entry.state != "verified":
            return files  # importing says what is to be done about it
        asked = self.selection.to_json()
        held = {str(source.get("md5", "")): source.get("selection", {}) for source in entry.provenance}
        if self.request.job.replace:
            return [] if held == dict.fromkeys((file.md5 for file in files), asked) else files
        other = next((selection for selection in held.values() if selection != asked), asked)
        if "" in held or other != asked:
            what = "was not made of published files" if "" in held else f"holds {_said(other)} of the files"
            raise DataError(f"the store's dataset of {self.name} {what}", hint="--replace drops it")
        return [file for file in files if file.md5 not in held]

    def _import(self, files: Sequence[PublishedFile]) -> ImportResult:
        fetched = self._fetch(files) if self.request.job.whole else {}
        self.voice.phase("convert", PhaseState.STARTED, f"{self.name}, {len(files)} files")
        result = import_sources(
            self.store,
            self.name,
            [self._source(file, fetched) for file in files],
            replace=self.request.job.replace,
            labour=self.request.labour,
            progress=self.voice.progress,
            transfer=partial(self._bytes, f"transfer {self.name}"),
        )
        for note in result.notes:
            self.voice.warn("data", f"{self.name}: {note}")
        self.voice.phase("convert", PhaseState.FINISHED, self.name)
        if self.request.folder is None:
            for path in fetched.values():
                shutil.rmtree(path.parent, ignore_errors=True)
        return result

    def _fetch(self, files: Sequence[PublishedFile]) -> dict[str, Path]:
        """MD5 → file on this machine, proven to have it."""
        folder, request = self.request.folder, self.request
        self.voice.phase("fetch", PhaseState.STARTED, f"{self.name}, {len(files)} files")
        if folder is not None:
            paths = {file.md5: folder / file.file for file in files}
            for md5, path in paths.items():
                self._prove(path, md5)
        else:
            paths = {file.md5: request.work / file.md5 / file.file for file in files}
            needed = sum(missing_bytes(file.url(request.job.base), paths[file.md5]) for file in files)
            refuse_full(self.name, request.work, needed)
            for file in files:
                notes = download(
                    file.url(request.job.base), paths[file.md5], md5=file.md5,
                    progress=self._bytes, fetching=request.fetching,
                )  # fmt: skip
                for note in notes:
                    self.voice.warn("download", note)
        self.voice.phase("fetch", PhaseState.FINISHED, self.name)
        return paths

    def _prove(self, path: Path, md5: str) -> None:
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        found = file_md5(path, self._bytes)
        if found != md5:
            raise DataError(f"{path} has the MD5 {found}, it should be {md5}", hint="download it again")

    def _bytes(self, what: str, done: int, total: int) -> None:
        self.voice.progress(what, done, total, unit="bytes")

    def _source(self, file: PublishedFile, fetched: Mapping[str, Path]) -> RawFile:
        request = self.request
        if file.md5 in fetched:
            return open_raw(self.name, fetched[file.md5], Reading(self.selection, md5=file.md5))
        if request.folder is not None:
            return open_raw(self.name, request.folder / file.file, Reading(self.selection, md5=file.md5))
        origin = RemoteOrigin(file.url(request.job.base), file.file, request.fetching.patience)
        return open_raw(self.name, Path(file.file), Reading(self.selection, origin, file.md5))

    def _cache(self) -> dict[str, int]:
        """Split → bytes of the caches that were built."""
        job = self.request.job
        shape = cache_shape(job)
        if shape is None:
            return {}
        building = Building(self.request.labour)
        try:
            recipes = precompute.missing(self.store, [self.name], shape, job.splits)
        except ConfigError as error:  # the dataset is there: runs train from its fields
            self.voice.warn("precompute", f"{self.name} is not cached: {error.message}", error.hint)
            recipes = []
        state = PhaseState.STARTED if recipes else PhaseState.SKIPPED
        self.voice.phase("precompute", state, f"{self.name}, {shape.version}")
        built = {}
        with tempfile.TemporaryDirectory(prefix="ups-precompute-") as scratch:
            for recipe in recipes:
                file = precompute.stored_file(self.store, recipe, Path(scratch))
                record = precompute.build(
                    self.store, recipe, file, shape.version, self.voice.progress, building
                )
                built[recipe.split] = record.bytes
        if recipes:
            self.voice.phase("precompute", PhaseState.FINISHED, self.name)
        return built


def _said(selection: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in selection.items()) or "all"
