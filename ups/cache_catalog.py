"""The latent caches in a store: which there are, whether they fit the datasets, and handling them.

A split's manifest names the caches of its folder by their fingerprints. One whose dataset is another
one now is *stale*. Free of torch and numpy, and light to import: the console lists caches with it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ups import catalog
from ups.catalog import DatasetEntry, DatasetState
from ups.errors import NotFoundError, StoreError
from ups.layout import CACHE_ROOTS, DATASET_ROOTS, MANIFEST, SPLITS, Folder, plain_name
from ups.listing import Listing, Objects, sweep
from ups.reading import stored_sha256
from ups.store import ObjectStore, store_error

FORMAT = 2
"""Of a cache's manifest and recipe."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class CacheState(StrEnum):
    """Whether a cache may be used."""

    VERIFIED = "verified"
    """The manifest names it, every shard is there in its size, and the dataset is the one it was made of."""
    STALE = "stale"
    INCOMPLETE = "incomplete"
    """A shard is missing, or there is no manifest."""
    DAMAGED = "damaged"
    LEGACY = "legacy"
    """`sample_*.pt` files of the first scripts."""
    NEWER = "newer"
    """Made by a newer version, whose manifest this one does not read."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a cache: a shard, or what a converted file says beside its fields."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the store holds of one split under one cache version."""

    version: str
    task: str
    split: str
    state: CacheState
    folder: str
    """Key prefix of the split, without a trailing slash."""
    bytes: int
    """As they are stored."""
    modified: float
    """Unix seconds of its youngest object."""
    note: str = ""
    """Why it is not verified, in words."""
    fingerprint: str = ""
    """Empty, as what follows, where no manifest says."""
    samples: int = 0
    dtype: str = ""
    resolution: tuple[int, ...] = ()
    """Cells along each axis of the fields."""
    dataset_sha256: str = ""
    """Of the converted file that it was made of."""
    superseded: bool = False
    """Stale because a verified dataset has taken the place of the one it was made of."""
    files: tuple[FileEntry, ...] = ()


def caches(store: ObjectStore) -> list[CacheEntry]:
    """All latent caches of a store, by version, task and split."""
    return caches_in(sweep(store, [f"{root}/" for root in (*CACHE_ROOTS, *DATASET_ROOTS)]))


def caches_in(listing: Listing, datasets: Sequence[DatasetEntry] | None = None) -> list[CacheEntry]:
    """The same of a store that was listed already; `datasets` spares judging those again."""
    if not listing.caches:
        return []
    known = {entry.task: entry for entry in (catalog.datasets_in(listing) if datasets is None else datasets)}
    found: list[CacheEntry] = []
    for folder, objects in listing.caches.items():
        found += _entries(folder, objects, listing.manifests.get(folder.path), known.get(folder.task))
    return sorted(
        found, key=lambda entry: (entry.version, entry.task, SPLITS.index(entry.split), entry.fingerprint)
    )


class OfVersion(Protocol):
    """Anything that belongs to a cache version and a task."""

    @property
    def version(self) -> str: ...

    @property
    def task(self) -> str: ...


Chosen = TypeVar("Chosen", bound=OfVersion)


def chosen(entries: Iterable[Chosen], version: str, tasks: Sequence[str] = ()) -> list[Chosen]:
    """The entries of one version, of some tasks or of all.

    Raises:
        NotFoundError: there is no such version, or it has nothing of a task.
    """
    found = [entry for entry in entries if entry.version == version]
    if not found:
        raise NotFoundError(f"the store holds no cache {version}", hint="`ups-console caches` lists them")
    if lacking := sorted(set(tasks) - {entry.task for entry in found}):
        raise NotFoundError(
            f"the cache {version} holds nothing of {', '.join(lacking)}",
            hint=f"`ups-console caches build {version} {' '.join(lacking)}`",
        )
    return [entry for entry in found if not tasks or entry.task in tasks]


def verify(store: ObjectStore, entry: CacheEntry, progress: Callable[[int, int], None]) -> CacheEntry:
    """Compare every shard with its sha256; reads all bytes.

    Returns:
        The entry; `damaged` where a shard differs. One whose shards are not all there stays as it is.
    """
    if entry.state not in (CacheState.VERIFIED, CacheState.STALE):
        return entry
    before, total = 0, sum(file.bytes for file in entry.files)
    for file in entry.files:

        def tell(done: int, _: int, before: int = before) -> None:
            progress(before + done, total)

        if stored_sha256(store, file.key, file.bytes, tell) != file.sha256:
            note = f"{file.key.rpartition('/')[2]} does not have the sha256 that the manifest states"
            return replace(entry, state=CacheState.DAMAGED, note=note)
        before += file.bytes
    return entry


def delete(store: ObjectStore, entries: Iterable[CacheEntry]) -> int:
    """Remove the folders of these entries, each with all that is in it; the manifests first.

    Returns:
        How many objects went.
    """
    folders = list(dict.fromkeys(entry.folder for entry in entries))
    for folder in folders:
        store.delete(f"{folder}/{MANIFEST}")
    keys = [info.key for folder in folders for info in store.list(f"{folder}/")]
    store.delete_all(keys)
    return len(keys) + len(folders)


def parse_manifest(content: bytes) -> dict[str, Any]:
    """The records of a manifest by fingerprint.

    Raises:
        NewerError: it was made by a newer version.
        ValueError: it is no such manifest.
    """
    manifest = json.loads(content)
    if not isinstance(manifest, dict):
        raise ValueError("it is no JSON object")
    made_as = manifest.get("format", FORMAT)
    if isinstance(made_as, int) and made_as > FORMAT:
        raise NewerError(made_as)
    records = manifest.get("caches")
    if not isinstance(records, dict):
        raise ValueError("it lists no caches")
    return records


def files_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a manifest says of the files of one cache. Raises KeyError or TypeError where it says nothing."""
    columns = record.get("columns")
    return [*record["shards"], *([columns] if columns is not None else [])]


class NewerError(Exception):
    """A manifest of a newer version."""

    def __init__(self, made_as: int) -> None:
        super().__init__(f"made by a newer version (format {made_as}, this version reads {FORMAT})")


def _entries(
    folder: Folder, objects: Objects, content: bytes | None, dataset: DatasetEntry | None
) -> list[CacheEntry]:
    whole = CacheEntry(
        folder.version, folder.task, folder.split, CacheState.INCOMPLETE, folder.path,
        bytes=sum(info.bytes for info in objects.values()),
        modified=max(info.modified for info in objects.values()),
    )  # fmt: skip
    if content is None:
        if any(fnmatch(name, "sample_*.pt") for name in objects):
            note = "sample_*.pt files of an older version"
            return [replace(whole, state=CacheState.LEGACY, note=note)]
        return [replace(whole, note="it has no manifest: it is being built, or that was cut short")]
    try:
        records = parse_manifest(content)
        return [
            _entry(replace(whole, fingerprint=print_), record, objects, dataset)
            for print_, record in records.items()
        ]
    except NewerError as error:
        return [replace(whole, state=CacheState.NEWER, note=str(error))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [replace(whole, state=CacheState.DAMAGED, note=f"the manifest is damaged: {error}")]


def _entry(
    entry: CacheEntry, record: Mapping[str, Any], objects: Objects, dataset: DatasetEntry | None
) -> CacheEntry:
    if not _FINGERPRINT.fullmatch(entry.fingerprint):
        raise ValueError(f"{entry.fingerprint!r} is no fingerprint")
    own = [info for name, info in objects.items() if name.startswith(f"{entry.fingerprint}/")]
    recipe = record["recipe"]
    part = next(part for part in reversed(recipe["parts"]) if part["role"] != "input")
    stated = replace(
        entry,
        bytes=sum(info.bytes for info in own),
        modified=max((info.modified for info in own), default=entry.modified),
        samples=int(record["samples"]),
        dtype=str(recipe["dtype"]),
        resolution=tuple(part["shape"][2 if part["role"] == "state" else 1 : -1]),
        dataset_sha256=str(recipe["dataset_sha256"]),
        files=tuple(
            FileEntry(
                f"{entry.folder}/{entry.fingerprint}/{plain_name(file['file'])}",
                int(file["bytes"]),
                str(file["sha256"]),
            )
            for file in files_of(record)
        ),
    )
    sizes = {info.key: info.bytes for info in own}
    if any(sizes.get(file.key) != file.bytes for file in stated.files):
        note = "a file of it is missing or cut short"
        return replace(stated, state=CacheState.INCOMPLETE, note=note)
    made_as = recipe.get("format", FORMAT)
    if made_as != FORMAT:
        note = f"it is of format {made_as}, this version makes {FORMAT}: build it again"
        return replace(stated, state=CacheState.STALE, note=note)
    return _judged(stated, dataset)


def _judged(entry: CacheEntry, dataset: DatasetEntry | None) -> CacheEntry:
    """Whether the dataset is still the one that a complete cache was made of."""
    split = dataset.splits.get(entry.split) if dataset is not None else None
    if split is not None and split.sha256 == entry.dataset_sha256:
        return replace(entry, state=CacheState.VERIFIED)
    if dataset is None or split is None or not split.sha256:
        note = "its dataset is not in the store, or unverified"
        return replace(entry, state=CacheState.STALE, note=note)
    return replace(
        entry,
        state=CacheState.STALE,
        note="the dataset is another one now",
        superseded=dataset.state is DatasetState.VERIFIED,
    )


def write_manifests(
    store: ObjectStore, entries: Iterable[CacheEntry], path_of: Callable[[CacheEntry], Path]
) -> None:
    """Write the manifests that make fetched shards a cache, with the records of these entries alone.

    Args:
        store: where the entries are.
        entries: whose shards were fetched.
        path_of: the local folder of an entry's split.

    Raises:
        StoreError: a manifest cannot be written, or was replaced by another meanwhile.
    """
    folders: dict[str, list[CacheEntry]] = {}
    for entry in entries:
        folders.setdefault(entry.folder, []).append(entry)
    for folder, wanted in folders.items():
        records = parse_manifest(store.read_bytes(f"{folder}/{MANIFEST}"))
        gone = [entry.fingerprint for entry in wanted if entry.fingerprint not in records]
        if gone:
            raise StoreError(f"the cache {folder} was replaced meanwhile", hint="fetch it again")
        kept = {entry.fingerprint: records[entry.fingerprint] for entry in wanted}
        path = path_of(wanted[0]) / MANIFEST
        try:
            path.write_text(json.dumps({"format": FORMAT, "caches": kept}, indent=1), encoding="utf-8")
        except OSError as error:
            raise store_error(error, path) from error
