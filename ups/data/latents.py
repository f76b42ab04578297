"""The latent caches of a store: what the *fixed* part of the encoder makes of a dataset, in shards.

A cache is as large as its fields in the same dtype, and training never makes it stale. Below its version
and split it lies under its fingerprint (`ups.data.projection`), and counts as built once the manifest,
written last, names it:

    pdebench/latent_caches/{version}/{task}_{split}/manifest.json
    pdebench/latent_caches/{version}/{task}_{split}/{fingerprint}/shard-00000.safetensors …
    pdebench/latent_caches/{version}/{task}_{split}/{fingerprint}/columns.safetensors

Free of torch.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ups.data.cache_build import CacheFile
from ups.data.projection import FORMAT, Recipe, differences, fingerprint
from ups.errors import NotFoundError, StoreError
from ups.store import ObjectStore, Upload, file_sha256

FOLDER = "pdebench/latent_caches"
_VERSION = re.compile(r"(?:.*_)?(\d+)d_(\d+)tok")


def version_shape(version: str) -> tuple[int, int] | None:
    """(dim, tokens) that a version's name states, such as `upt_128d_128tok`; else None."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2])) if found else None


def split_folder(version: str, task: str, split: str) -> str:
    """Key prefix of all caches of a split under one version, without a trailing slash."""
    return f"{FOLDER}/{version}/{task}_{split}"


def cache_key(version: str, recipe: Recipe, file: str) -> str:
    """The key of one file of a cache."""
    return f"{split_folder(version, recipe.task, recipe.split)}/{fingerprint(recipe)}/{file}"


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """What a manifest says of one cache."""

    recipe: Mapping[str, Any]
    """As JSON: it may be of an older format."""
    shards: tuple[CacheFile, ...]
    columns: CacheFile | None
    """None before format 2."""

    @property
    def files(self) -> tuple[CacheFile, ...]:
        return self.shards if self.columns is None else (*self.shards, self.columns)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "shards": [asdict(shard) for shard in self.shards],
            "columns": None if self.columns is None else asdict(self.columns),
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "CacheRecord":
        """Raises KeyError and TypeError where it is none."""
        columns = content.get("columns")
        return cls(
            dict(content["recipe"]),
            tuple(CacheFile(**shard) for shard in content["shards"]),
            None if columns is None else CacheFile(**columns),
        )


def records(store: ObjectStore, version: str, task: str, split: str) -> dict[str, CacheRecord]:
    """Fingerprint → record of all caches of a split under one version.

    Raises:
        StoreError: the manifest is damaged, or of a newer version of this program.
    """
    key = f"{split_folder(version, task, split)}/manifest.json"
    return _records(_manifest(store, key), key)


def complete(store: ObjectStore, version: str, recipe: Recipe) -> CacheRecord | None:
    """The record of this very cache, if the store has it with every file of the stated size.

    Raises:
        StoreError: the manifest is damaged, or of a newer version of this program.
    """
    record = records(store, version, recipe.task, recipe.split).get(fingerprint(recipe))
    if record is None:
        return None
    prefix = cache_key(version, recipe, "")
    sizes = {info.key.removeprefix(prefix): info.bytes for info in store.list(prefix)}
    return record if all(sizes.get(file.file) == file.bytes for file in record.files) else None


def mismatch(store: ObjectStore, version: str, recipe: Recipe) -> tuple[str, ...]:
    """What keeps the stored cache that is nearest to a recipe from being it; () where there is none."""
    stored = records(store, version, recipe.task, recipe.split)
    found = [differences(recipe, record.recipe) for record in stored.values()]
    return min(filter(None, found), key=len, default=())


def holds(store: ObjectStore, version: str, recipe: Recipe, file: CacheFile) -> bool:
    """Whether the store has a file of a cache: proven by its hash on this machine, else by its size."""
    key = cache_key(version, recipe, file.file)
    found = store.find(key)
    if found is None or found.bytes != file.bytes:
        return False
    local = store.local_path(key)
    return local is None or file_sha256(local) == file.sha256


def publish(
    store: ObjectStore, version: str, recipe: Recipe, files: Sequence[CacheFile], folder: Path
) -> CacheRecord:
    """Store a cache's files under their fingerprint, and the manifest that makes them a cache last.

    Args:
        store: where.
        version: of the cache.
        recipe: of the cache.
        files: all of it, the columns last; those that are not in `folder` are in the store.
        folder: holds the files, and loses them.
    """
    for file in files:
        if (folder / file.file).is_file() and holds(store, version, recipe, file):
            (folder / file.file).unlink()
    staged = [
        Upload(folder / file.file, cache_key(version, recipe, file.file))
        for file in files
        if (folder / file.file).is_file()
    ]
    _send(store, staged)
    record = CacheRecord(recipe.to_json(), tuple(files[:-1]), files[-1])
    with store.exclusive():
        known = records(store, version, recipe.task, recipe.split)
        _write_records(store, version, recipe, {**known, fingerprint(recipe): record})
    return record


def remove(store: ObjectStore, version: str, recipe: Recipe) -> None:
    """Take a cache out of its manifest, and then out of the store."""
    with store.exclusive():
        known = records(store, version, recipe.task, recipe.split)
        if known.pop(fingerprint(recipe), None) is not None:
            _write_records(store, version, recipe, known)
    store.delete_all([info.key for info in store.list(cache_key(version, recipe, ""))])


def _write_records(
    store: ObjectStore, version: str, recipe: Recipe, known: Mapping[str, CacheRecord]
) -> None:
    content = {"format": FORMAT, "caches": {name: record.to_json() for name, record in known.items()}}
    key = f"{split_folder(version, recipe.task, recipe.split)}/manifest.json"
    store.write_bytes(key, json.dumps(content, indent=1).encode())


def _send(store: ObjectStore, staged: Sequence[Upload]) -> None:
    """Store files that are no longer needed here: by their names on this machine, else many at a time."""
    for number, file in enumerate(staged):
        store.move(file.source, file.key)
        if store.local_path(file.key) is None:
            store.upload_all(staged[number + 1 :])
            return


def _manifest(store: ObjectStore, key: str) -> Mapping[str, Any]:
    again = "delete the cache and build it again"
    try:
        content = json.loads(store.read_bytes(key))
    except NotFoundError:
        return {"format": FORMAT, "caches": {}}
    except ValueError:
        raise StoreError(f"{key} is damaged", hint=again) from None
    if not isinstance(content, dict) or not isinstance(content.get("caches"), dict):
        raise StoreError(f"{key} is damaged: it lists no caches", hint=again)
    stated = content.get("format")
    if not isinstance(stated, int) or stated > FORMAT:
        raise StoreError(
            f"{key} is of format {stated}, and this version reads up to {FORMAT}",
            hint="a newer version wrote it: update ups-console, or use another cache version",
        )
    return content


def _records(manifest: Mapping[str, Any], key: str) -> dict[str, CacheRecord]:
    try:
        return {name: CacheRecord.from_json(record) for name, record in manifest["caches"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{key} is damaged: {error}", hint="delete the cache and build it again") from None
