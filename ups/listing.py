"""A store as one sweep over its keys finds it, and the manifests among them.

A sweep lists every key once; a manifest is read again only where its etag has changed. What was read
before is kept in a small file on this machine, which may be deleted at any time: it is believed only
for the very etag that the store lists, and only while its own hash is right. Free of torch and numpy.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ups.errors import NotFoundError
from ups.layout import MANIFEST, Area, Folder, Place, place
from ups.store import ObjectInfo, ObjectStore

_READERS = 8
"""Manifests that are read at the same time: over a network each costs a round trip."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a store something takes."""

    objects: int = 0
    bytes: int = 0


Objects = Mapping[str, ObjectInfo]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a store held when it was listed."""

    store: ObjectStore
    folders: Mapping[Folder, Objects]
    """Datasets' and caches' folders; of each the name below it → object."""
    runtimes: tuple[ObjectInfo, ...]
    run_specs: tuple[ObjectInfo, ...]
    """The `run.yaml` of every attempt."""
    usage: Mapping[Area, Usage]
    manifests: Mapping[str, bytes]
    """Folder's path → content of its manifest."""

    @property
    def bytes(self) -> int:
        return sum(usage.bytes for usage in self.usage.values())

    @property
    def datasets(self) -> dict[Folder, Objects]:
        """The folders of datasets."""
        return {folder: objects for folder, objects in self.folders.items() if not folder.version}

    @property
    def caches(self) -> dict[Folder, Objects]:
        """The folders of latent caches."""
        return {folder: objects for folder, objects in self.folders.items() if folder.version}


def sweep(
    store: ObjectStore,
    prefixes: Sequence[str] = ("",),
    *,
    memory: "ManifestMemory | None" = None,
    unfinished: bool = False,
) -> Listing:
    """List a store, or what lies under some prefixes, and read the manifests.

    Args:
        store: what is listed.
        prefixes: of keys; they must not overlap.
        memory: of manifests that were read before.
        unfinished: list hidden objects too.

    Raises:
        StoreError: it cannot be listed or read.
    """
    folders: dict[Folder, dict[str, ObjectInfo]] = {}
    runtimes, run_specs = [], []
    counts: dict[Area, tuple[int, int]] = dict.fromkeys(Area, (0, 0))
    hidden = store.unfinished() if unfinished else ()
    for info in chain(chain.from_iterable(store.list(prefix) for prefix in prefixes), hidden):
        found = place(info.key)
        objects, size = counts[found.area]
        counts[found.area] = (objects + 1, size + info.bytes)
        if found.folder is not None:
            folders.setdefault(found.folder, {})[found.name] = info
        elif found.area is Area.RUNTIMES:
            runtimes.append(info)
        elif _is_run_spec(found):
            run_specs.append(info)
    named = {folder.path: objects[MANIFEST] for folder, objects in folders.items() if MANIFEST in objects}
    read = (memory or ManifestMemory()).read(store, named.values())
    return Listing(
        store=store,
        folders=folders,
        runtimes=tuple(runtimes),
        run_specs=tuple(run_specs),
        usage={area: Usage(*count) for area, count in counts.items()},
        manifests={path: read[info.key] for path, info in named.items() if info.key in read},
    )


def _is_run_spec(found: Place) -> bool:
    return found.area is Area.RUNS and found.name.endswith("/run.yaml") and found.name.count("/") == 2


class ManifestMemory:
    """The manifests of one store that were read before, in a file or, without one, not at all."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def read(self, store: ObjectStore, manifests: Iterable[ObjectInfo]) -> dict[str, bytes]:
        """Key → content of those manifests; without those that were deleted since they were listed.

        Raises:
            StoreError: one cannot be read.
        """
        wanted = {info.key: info for info in manifests}
        kept = {} if self._path is None else _recall(self._path, store.url)
        known = {
            key: content
            for key, (etag, content) in kept.items()
            if key in wanted and etag == wanted[key].etag
        }
        changed = [info for key, info in wanted.items() if key not in known]
        read = _read_all(store, changed, certain=self._path is not None)
        contents = known | {key: found.content for key, found in read.items()}
        if self._path is not None and (changed or kept.keys() != known.keys()):
            lasting = known.keys() | {key for key, found in read.items() if found.lasting}
            _remember(self._path, store.url, {key: (wanted[key].etag, contents[key]) for key in lasting})
        return contents


@dataclass(frozen=True, slots=True)
class _Found:
    content: bytes
    lasting: bool
    """It is what was listed: not replaced between being listed and being read."""


def _read_all(store: ObjectStore, manifests: Sequence[ObjectInfo], *, certain: bool) -> dict[str, _Found]:
    """The contents of those that are still there; with `certain`, whether each is the one listed."""

    def read(info: ObjectInfo) -> _Found | None:
        try:
            content = store.read_bytes(info.key)
        except NotFoundError:
            return None
        now = store.find(info.key) if certain and info.etag else None
        return _Found(content, now is not None and now.etag == info.etag)

    if not manifests:
        return {}
    with ThreadPoolExecutor(min(_READERS, len(manifests))) as pool:
        found = pool.map(read, manifests)
        return {info.key: one for info, one in zip(manifests, found, strict=True) if one is not None}


def _recall(path: Path, url: str) -> dict[str, tuple[str, bytes]]:
    """Key → etag and content; nothing where the file is not there, damaged or another store's."""
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != _FORMAT or content["store"] != url:
            return {}
        return {key: (str(etag), _checked(*entry)) for key, (etag, *entry) in content["manifests"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _checked(sha256: str, text: str) -> bytes:
    content = text.encode()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("a remembered manifest is damaged")
    return content


def _remember(path: Path, url: str, manifests: Mapping[str, tuple[str, bytes]]) -> None:
    entries = {}
    for key, (etag, content) in manifests.items():
        with suppress(UnicodeDecodeError):  # no manifest: it is read again each time
            entries[key] = (etag, hashlib.sha256(content).hexdigest(), content.decode())
    text = json.dumps({"format": _FORMAT, "store": url, "manifests": entries}, ensure_ascii=False)
    with suppress(OSError):  # without it the next sweep reads them again
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
