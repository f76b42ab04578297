"""What a store holds that nothing refers to, and removing it.

Only what is understood is garbage: in a folder whose manifest is damaged, or a newer version's, and
among objects that are not ours, everything stays. So does what is young: a build writes its shards
long before the manifest that names them. Free of torch and numpy.
"""

import json
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from ups import catalog
from ups.cache_catalog import FORMAT, CacheEntry, NewerError, caches_in, files_of, parse_manifest
from ups.errors import DataError, NotFoundError
from ups.layout import HIDDEN, MANIFEST, Folder
from ups.listing import Listing, Objects, sweep
from ups.store import ObjectInfo, ObjectStore

LEAST_AGE_S = 86400.0
"""Younger objects may belong to work that goes on."""

_CACHE_FILE = re.compile(r"([0-9a-f]{64})/(?:shard-\d{5,}|columns)\.safetensors")


class Why(StrEnum):
    """Why nothing needs an object."""

    UNNAMED = "no manifest names it"
    LEFTOVER = "left by a process that was killed"
    SUPERSEDED = "of a dataset that was replaced"
    RUNTIME = "no run refers to it"


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that may go."""

    key: str
    bytes: int
    why: Why
    modified: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as garbage."""

    stale: bool = False
    """Caches of a dataset that was replaced too, although their manifests name them."""
    least_age_s: float = LEAST_AGE_S
    run_specs: tuple[str, ...] = ()
    """Texts of `run.yaml`s outside of the store: a runtime that one of them names stays."""


def find(listing: Listing, rules: Rules, *, now: float | None = None) -> list[Garbage]:
    """The garbage in a store that was listed, by key.

    Args:
        listing: of the whole store, unfinished objects included.
        rules: what counts.
        now: Unix seconds; None: as the clock says.

    Raises:
        StoreError: the `run.yaml` of a run in the store cannot be read.
    """
    youngest = (time.time() if now is None else now) - rules.least_age_s
    found: list[Garbage] = []
    for folder, objects in listing.datasets.items():
        found += _dataset_leftovers(listing, folder, objects, youngest)
    for folder, objects in listing.caches.items():
        found += _unnamed(listing, folder, objects, youngest)
    if rules.stale:
        found += _superseded(listing, youngest)
    found += _runtimes(listing, rules.run_specs, youngest)
    return sorted(found, key=lambda garbage: garbage.key)


def collect(store: ObjectStore, keys: Collection[str], rules: Rules) -> list[Garbage]:
    """Remove what was found before, as far as it is garbage still.

    Args:
        store: where it is.
        keys: what was found, and the user agreed to lose.
        rules: by which it was found.

    Returns:
        What went.

    Raises:
        StoreError: the store refuses.
    """
    with store.exclusive():
        listing = sweep(store, unfinished=True)  # a cache may have been completed since
        going = [garbage for garbage in find(listing, rules) if garbage.key in keys]
        _forget_superseded(listing, going)
        store.delete_all([garbage.key for garbage in going])
    return going


def _dataset_leftovers(
    listing: Listing, folder: Folder, objects: Objects, youngest: float
) -> Iterator[Garbage]:
    """Hidden files, but for those with which the next writer may finish an interrupted replacement."""
    content = listing.manifests.get(folder.path)
    deleted = content is None and MANIFEST in objects  # since it was listed
    settled = not deleted and (content is None or _is_complete(content, folder.task))
    for name, info in objects.items():
        needed = not settled and name.startswith(f"{HIDDEN}{folder.task}_")
        if name.startswith(HIDDEN) and not needed and info.modified < youngest:
            yield _garbage(info, Why.LEFTOVER)


def _is_complete(content: bytes, task: str) -> bool:
    try:
        manifest = catalog.parse_manifest(content, task)
    except DataError:
        return False
    return manifest.get("state") == "complete" and manifest.get("format") == catalog.MANIFEST_FORMAT


def _unnamed(listing: Listing, folder: Folder, objects: Objects, youngest: float) -> Iterator[Garbage]:
    """Shards that the manifest of their folder does not name, and half-written files beside them."""
    named = _named(listing, folder, objects)
    if named is None:
        return
    groups: dict[str, list[ObjectInfo]] = {}
    for name, info in objects.items():
        if name.rpartition("/")[2].startswith(HIDDEN):
            groups.setdefault(name, []).append(info)
        elif (file := _CACHE_FILE.fullmatch(name)) and name not in named:
            groups.setdefault(file[1], []).append(info)
    for name, infos in groups.items():
        if max(info.modified for info in infos) < youngest:  # else somebody is building it
            why = Why.LEFTOVER if HIDDEN in name else Why.UNNAMED
            yield from (_garbage(info, why) for info in infos)


def _named(listing: Listing, folder: Folder, objects: Objects) -> set[str] | None:
    """The names of files that the folder's manifest states; None where it is not understood."""
    content = listing.manifests.get(folder.path)
    if content is None:
        return None if MANIFEST in objects else set()
    try:
        return {
            f"{print_}/{file['file']}"
            for print_, record in parse_manifest(content).items()
            for file in files_of(record)
        }
    except (NewerError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _superseded(listing: Listing, youngest: float) -> Iterator[Garbage]:
    objects = {info.key: info for found in listing.caches.values() for info in found.values()}
    for entry in _superseded_entries(listing):
        files = [objects[file.key] for file in entry.files if file.key in objects]
        if all(info.modified < youngest for info in files):
            yield from (_garbage(info, Why.SUPERSEDED) for info in files)


def _superseded_entries(listing: Listing) -> Sequence[CacheEntry]:
    return [entry for entry in caches_in(listing) if entry.superseded]


def _forget_superseded(listing: Listing, going: Sequence[Garbage]) -> None:
    """Take the caches that go out of their manifests, before their shards are missed."""
    keys = {garbage.key for garbage in going if garbage.why is Why.SUPERSEDED}
    leaving: dict[str, set[str]] = {}
    for entry in _superseded_entries(listing) if keys else ():
        if any(file.key in keys for file in entry.files):
            leaving.setdefault(entry.folder, set()).add(entry.fingerprint)
    for path, fingerprints in leaving.items():
        records = parse_manifest(listing.manifests[path])
        left = {print_: record for print_, record in records.items() if print_ not in fingerprints}
        key = f"{path}/{MANIFEST}"
        if left:
            content = json.dumps({"format": FORMAT, "caches": left}, indent=1)
            listing.store.write_bytes(key, content.encode())
        else:
            listing.store.delete(key)


def _runtimes(listing: Listing, run_specs: Sequence[str], youngest: float) -> Iterator[Garbage]:
    """Runtimes whose hash no `run.yaml` names, in the store or outside of it."""
    old = [info for info in listing.runtimes if info.modified < youngest]
    if not old:
        return
    used = {info.key for text in _spec_texts(listing, run_specs) for info in old if _sha256_of(info) in text}
    yield from (_garbage(info, Why.RUNTIME) for info in old if info.key not in used)


def _spec_texts(listing: Listing, run_specs: Sequence[str]) -> Iterator[str]:
    yield from run_specs
    for info in listing.run_specs:
        with suppress(NotFoundError):  # the run was deleted since
            yield listing.store.read_bytes(info.key).decode(errors="replace")


def _sha256_of(runtime: ObjectInfo) -> str:
    return runtime.key.rpartition("/")[2].removesuffix(".whl")


def _garbage(info: ObjectInfo, why: Why) -> Garbage:
    return Garbage(info.key, info.bytes, why, info.modified)
