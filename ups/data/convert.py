"""Raw files and solvers → the dataset of a task in a store.

Whatever the samples come from, one path writes them: the blocks of initial conditions are found and
put into splits, the values are streamed into three staged files while they are checked and
measured, and the dataset is swapped for its successor in one short step. The result depends on the
set of sources, not on the order in which they came, nor on how many processes did the work; an
interrupted conversion goes on where it was. Free of torch.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ups import catalog
from ups.catalog import Progress
from ups.data import commit, shared_conversion
from ups.data.assembly import Assembly, assemble
from ups.data.conversion import Conversion, fingerprint
from ups.data.existing import existing_sources
from ups.data.fields import SPLITS
from ups.data.imports import open_sources
from ups.data.solvers.registry import solver_sources
from ups.data.source import Source
from ups.data.split_files import SplitFiles
from ups.data.stored import StoredSource
from ups.errors import DataError, NotFoundError, StoreError
from ups.ranks import ALONE, Ranks
from ups.store import ObjectStore, free_bytes
from ups.store import Progress as Transfer

_POLL_SECONDS = 0.1
_SPARE_BYTES = 1024 * 1024
"""Room for manifests and directory entries beside the files."""


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _uncounted(samples: int) -> None:
    """The same, of samples."""


@dataclass(frozen=True, slots=True)
class Labour:
    """The processes that convert; by default this one alone."""

    jobs: int = 1
    """Processes at most that this one has at work."""
    ranks: Ranks = ALONE
    """Which of the processes that `torchrun` started on the same request this one is: they share the work."""


_ALONE = Labour()


def _unwatched(done: int, total: int) -> None:
    """Bytes that nobody counts."""


@dataclass(frozen=True, slots=True)
class _Tell:
    """Who is told how far it is."""

    samples: Progress
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import, or a generation, did to a dataset."""

    task: str
    added: tuple[str, ...]
    """Names of the sources that are new in the dataset."""
    already: tuple[str, ...]
    """Names of those that were in it before, by content."""
    samples: Mapping[str, int]
    """Of each split, afterwards."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""

    @property
    def changed(self) -> bool:
        return bool(self.added)


def import_raw(
    store: ObjectStore,
    task: str,
    files: Sequence[Path],
    *,
    replace: bool = False,
    labour: Labour = _ALONE,
    progress: Progress = _silent,
    transfer: Transfer = _unwatched,
) -> ImportResult:
    """Add raw files to the dataset of a task; a file whose content is there already changes nothing.

    Args:
        replace: drop what the store holds of the task instead of adding to it.
        labour: the processes that do it.
        progress: called with (what, samples done, samples in all).
        transfer: called with (bytes done, bytes in all) while a store elsewhere sends or receives files.

    Raises:
        NotFoundError: no such task or file.
        DataError: a file does not fit the task, the other files or the dataset; the store is as it was.
        StoreError: the store cannot be written, or has no room; the dataset is as it was.
    """
    sources = open_sources(task, [Path(path) for path in files])
    return import_sources(
        store, task, sources, replace=replace, labour=labour, progress=progress, transfer=transfer
    )


def import_sources(
    store: ObjectStore,
    task: str,
    sources: Sequence[Source],
    *,
    replace: bool = False,
    labour: Labour = _ALONE,
    progress: Progress = _silent,
    transfer: Transfer = _unwatched,
) -> ImportResult:
    """The same of sources that are open already; arguments and errors as of `import_raw`."""
    return _combine(store, task, sources, replace, labour, _Tell(progress, transfer))


def make(
    store: ObjectStore,
    task: str,
    *,
    samples: int | None = None,
    seed: int = 0,
    replace: bool = False,
    labour: Labour = _ALONE,
    progress: Progress = _silent,
    transfer: Transfer = _unwatched,
) -> ImportResult:
    """Generate the dataset of a task with its solver; the same request twice changes nothing.

    Args:
        samples: initial conditions, each solved for all parameters; None is the solver's default.
        replace: drop what the store holds of the task where it is something else.
        labour: the processes that do it.
        progress: called with (what, samples done, samples in all).
        transfer: called with (bytes done, bytes in all) while a store elsewhere sends or receives files.

    Raises:
        NotFoundError: no such task.
        DataError: no solver, too few samples, or the dataset is something else and `replace` is not set.
        StoreError: the store cannot be written, or has no room; the dataset is as it was.
    """
    sources = solver_sources(task, samples=samples, seed=seed)
    return _combine(store, task, sources, replace, labour, _Tell(progress, transfer))


def convert_file(task: str, raw: Path, target: Path, *, split: str = "test") -> None:
    """Convert the whole of one raw file, or of one folder of particles, to one file outside of any store.

    Raises:
        NotFoundError, DataError: as `import_raw`.
        StoreError: `target` cannot be written.
    """
    write_split_files(assemble(open_sources(task, [raw]), only=split), {split: target})


def write_split_files(assembly: Assembly, targets: Mapping[str, Path]) -> None:
    """Convert an assembly outside of any store, in one go.

    Args:
        assembly: what is to be written.
        targets: split → where its file goes; it appears only once it is whole.

    Raises:
        DataError: a value is not finite, or a field is constant.
        StoreError: there is no room.
    """
    hidden = {split: path.with_name(f".tmp-{secrets.token_hex(8)}.h5") for split, path in targets.items()}
    files = SplitFiles(assembly, hidden)
    try:
        with ThreadPoolExecutor(1) as aside:
            # It takes a hash of all that is read: beside the conversion, not before it.
            provenance = aside.submit(lambda: assembly.provenance)
            files.lay_out()
            measured = [files.fill(segment, _uncounted) for segment in files.segments]
        entries = {}
        for split in targets:
            files.sign(split, provenance.result())
            entries[split] = files.finish(split)
        files.manifest(measured, provenance.result(), entries)  # refuses a constant field
        for split, path in targets.items():
            hidden[split].replace(path)
    finally:
        files.discard()


def _combine(
    store: ObjectStore,
    task: str,
    given: Sequence[Source],
    replace: bool,
    labour: Labour,
    tell: _Tell,
) -> ImportResult:
    if not given:
        raise DataError(f"there is nothing to import as {task}", hint="name at least one file")
    commit.finish_interrupted(store, task)
    token = commit.manifest_token(store, task)
    present = _present(store, task, replace)
    if len(given) == 1 and not present:  # its hash decides nothing, and is computed beside the conversion
        return _add(store, task, token, [], given, (), labour, tell)
    _identify(task, given, labour, tell)
    held = {str(entry["sha256"]) for entry in present}
    unique: dict[str, Source] = {}
    for source in given:
        unique.setdefault(source.sha256, source)
    if not replace:
        _refuse_mixture(task, present, list(unique.values()))
    kept_whole = held == set(unique) if replace else set(unique) <= held
    added = [] if kept_whole else [source for key, source in unique.items() if replace or key not in held]
    already = tuple(source.name for key, source in unique.items() if source not in added)
    if not added:
        store.discard_workspaces(_workspace_prefix(task))
        counts = {split: entry.samples for split, entry in catalog.dataset(store, task).splits.items()}
        return ImportResult(task, (), already, counts)
    if replace or not held:
        return _add(store, task, token, [], added, already, labour, tell)
    with existing_sources(store, task, token, labour.ranks, tell.samples, tell.transfer) as stored:
        return _add(store, task, token, stored, added, already, labour, tell)


def _identify(task: str, sources: Sequence[Source], labour: Labour, tell: _Tell) -> None:
    """Compute the hashes of sources, which keep them; threads do, for hashing needs nothing of Python."""
    done, total = 0, sum(source.samples for source in sources)
    with ThreadPoolExecutor(labour.jobs) as threads:
        for source, _ in zip(sources, threads.map(lambda source: source.sha256, sources), strict=True):
            done += source.samples
            tell.samples(f"{task} hash of files", done, total)


def _add(
    store: ObjectStore, task: str, token: str, stored: Sequence[StoredSource], added: Sequence[Source],
    already: tuple[str, ...], labour: Labour, tell: _Tell,
) -> ImportResult:  # fmt: skip
    """Make the dataset of what is stored and what is added."""
    _refuse_differences(task, stored, added)
    assembly = assemble([*stored, *added])
    if labour.ranks.is_main:
        _store(store, assembly, token, labour, tell)
    else:
        _help(store, assembly, token, labour)
    notes = _notes(assembly, stored, added)
    return ImportResult(task, tuple(source.name for source in added), already, assembly.counts, notes)


def _present(store: ObjectStore, task: str, replace: bool) -> Sequence[Mapping[str, Any]]:
    """The provenance of the dataset as it stands; refuses one that cannot be added to."""
    try:
        entry = catalog.dataset(store, task)
    except NotFoundError:
        return ()
    if entry.state == "verified":
        return entry.provenance
    if replace:
        return ()
    raise DataError(
        f"the store's dataset of {task} cannot be added to, it is {entry.state}: {entry.note}",
        hint="--replace drops it",
    )


def _refuse_mixture(task: str, present: Sequence[Mapping[str, Any]], given: Sequence[Source]) -> None:
    held = {str(entry["sha256"]) for entry in present}
    made = all(source.about["kind"] == "solver" for source in given)
    was_made = any(entry["kind"] == "solver" for entry in present)
    if present and made != was_made:
        was, now = ("made by the solver", "raw files") if was_made else ("imported", "solver data")
        raise DataError(
            f"the dataset {task} was {was}, and {now} cannot be mixed with that", hint="--replace drops it"
        )
    if present and made and held != {source.sha256 for source in given}:
        first = present[0]
        raise DataError(
            f"the dataset {task} was made with other settings: {first['samples']} samples, "
            f"seed {first['seed']}, solver version {first['version']}",
            hint="--replace drops it",
        )


def _refuse_differences(task: str, stored: Sequence[Source], added: Sequence[Source]) -> None:
    reference = (*stored, *added)[0]
    for source in added:
        difference = source.discretisation.difference(reference.discretisation)
        if difference:
            raise DataError(
                f"{source.name} does not go with {reference.name} in one dataset of {task}: {difference}",
                hint="import them into different stores, or --replace what is there",
            )


def _store(store: ObjectStore, assembly: Assembly, token: str, labour: Labour, tell: _Tell) -> None:
    task, name = assembly.spec.name, _workspace_name(assembly)
    store.discard_workspaces(_workspace_prefix(task), but=name)
    with store.workspace(name) as folder:
        _require_room(store, assembly, folder)
        conversion = Conversion(assembly, folder)
        conversion.prepare()
        shared_conversion.convert(conversion, jobs=labour.jobs, progress=tell.samples)
        manifest = conversion.finish()
        commit.swap(store, task, conversion.paths, manifest, token=token, progress=tell.transfer)
        conversion.end()


def _help(store: ObjectStore, assembly: Assembly, token: str, labour: Labour) -> None:
    """Take part in a conversion that the main process lays out and stores; it may be done at any time."""
    conversion = Conversion(assembly, store.shared_workspace(_workspace_name(assembly)))
    try:
        while not conversion.is_prepared():
            if _is_replaced(store, assembly.spec.name, token):
                return
            time.sleep(_POLL_SECONDS)
        shared_conversion.convert(conversion, jobs=labour.jobs, progress=_silent)
    except StoreError:
        if not _is_replaced(store, assembly.spec.name, token):
            raise
    while not _is_replaced(store, assembly.spec.name, token):
        time.sleep(_POLL_SECONDS)


def _is_replaced(store: ObjectStore, task: str, token: str) -> bool:
    """Whether the dataset is complete, and another one than when this process began."""
    if commit.manifest_token(store, task) == token:
        return False
    try:
        return catalog.dataset(store, task).state == "verified"
    except NotFoundError:
        return False


def _workspace_prefix(task: str) -> str:
    return f"convert-{task}-"


def _workspace_name(assembly: Assembly) -> str:
    return _workspace_prefix(assembly.spec.name) + fingerprint(assembly)[:16]


def _require_room(store: ObjectStore, assembly: Assembly, folder: Path) -> None:
    there = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    needed, free = assembly.bytes + _SPARE_BYTES - there, free_bytes(folder)
    if needed > free:
        raise StoreError(
            f"the dataset {assembly.spec.name} needs {needed / 1e6:,.0f} MB, "
            f"but {store.url} has {free / 1e6:,.0f} MB free",
            hint="free some space, or point UPS_STORE elsewhere",
        )


def _notes(assembly: Assembly, stored: Sequence[StoredSource], added: Sequence[Source]) -> tuple[str, ...]:
    notes = [
        f"{source.name} is much shorter than the longest file: all of its samples are held out, "
        "none is for training"
        for source in added
        if not assembly.mask("train", assembly.sources.index(source)).any()
    ]
    moved = sum(
        int(np.sum(~assembly.masks[split][np.flatnonzero(np.array(source.splits) == split)]))
        for source in stored
        for split in SPLITS
    )
    if moved:
        notes.append(
            f"{moved} samples that were there before changed their split: "
            "what was trained on the dataset as it was may have seen what is now test"
        )
    return tuple(notes)
