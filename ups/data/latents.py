"""The latent cache: what the *fixed* part of the encoder makes of a dataset, stored in shards.

A cache is as large as its fields in the same dtype, and training never makes it stale. It lies under
its fingerprint (`ups.data.projection`), and counts as built once the manifest names it. Free of torch.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ups import catalog
from ups.data.fields import Fields
from ups.data.projection import FORMAT, Array, Part, Recipe, Role, encode, fingerprint
from ups.errors import DataError, NotFoundError, StoreError
from ups.store import ObjectStore, file_sha256
from ups.tasks import TASK_SPECS

FOLDER = "pdebench/latent_caches"
_FOLDERS = (FOLDER, "latent_caches")
SHARD_BYTES = 64 * 1024 * 1024
"""Bytes of a shard before the next one begins; a bucket is slow at many small objects."""
_NAME = "latents"
_VERSION = re.compile(r"(?:.*_)?(\d+)d_(\d+)tok")


def version_shape(version: str) -> tuple[int, int] | None:
    """(dim, tokens) that a version's name states, such as `upt_128d_128tok`; else None."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive samples of a cache, in one safetensors file."""

    file: str
    bytes: int
    sha256: str
    samples: int


def write_shards(
    fields: Fields, recipe: Recipe, folder: Path, *, shard_bytes: int = SHARD_BYTES
) -> Iterator[Shard]:
    """Fill `folder` with the shards of a split, one at a time, so that memory holds only one.

    Raises:
        DataError: a value does not fit the dtype, or the file is not what the recipe describes.
    """
    from safetensors.numpy import save_file  # the console imports this module without it

    arrays = {part: _array(fields, part) for part in recipe.parts}
    itemsize = np.dtype(recipe.dtype).itemsize
    per_sample = sum(math.prod(part.latent_shape[1:]) for part in recipe.parts) * itemsize
    step = max(1, shard_bytes // per_sample)
    for index, start in enumerate(range(0, fields.samples, step)):
        end = min(start + step, fields.samples)
        tensors = {
            f"{_NAME}.{part.role}": _checked(encode(array[start:end], part, recipe.dtype), recipe)
            for part, array in arrays.items()
        }
        path = folder / f"shard-{index:05d}.safetensors"
        save_file(tensors, path, metadata={"fingerprint": fingerprint(recipe)})
        yield Shard(path.name, path.stat().st_size, file_sha256(path), end - start)


def _array(fields: Fields, part: Part) -> Array:
    array = {"state": fields.states, "input": fields.inputs, "target": fields.targets}[part.role]
    if array is None or array.shape != part.shape:
        found = None if array is None else list(array.shape)
        raise DataError(f"{fields.path} holds {part.role} {found}, its manifest says {list(part.shape)}")
    return array


def _checked(coefficients: Array, recipe: Recipe) -> Array:
    if not np.isfinite(coefficients).all():
        raise DataError(f"{recipe.task} {recipe.split} does not fit {recipe.dtype}", hint="use float32")
    return np.ascontiguousarray(coefficients)


def split_folder(version: str, task: str, split: str) -> str:
    """Key prefix of all caches of a split under one version, without a trailing slash."""
    return f"{FOLDER}/{version}/{task}_{split}"


def publish_shards(
    store: ObjectStore, version: str, recipe: Recipe, shards: Iterable[Shard], folder: Path
) -> dict[str, Any]:
    """Store the shards under their fingerprint, and the manifest that makes them a cache last.

    A shard that the store has already is verified by its hash and not sent again.

    Returns:
        The manifest's record of this cache.
    """
    where, print_ = split_folder(version, recipe.task, recipe.split), fingerprint(recipe)
    kept = []
    for shard in shards:
        key, path = f"{where}/{print_}/{shard.file}", folder / shard.file
        local = store.local_path(key)
        if local is None or file_sha256(local) != shard.sha256:
            store.move(path, key)
        path.unlink(missing_ok=True)
        kept.append(asdict(shard))
    record = {"recipe": recipe.to_json(), "shards": kept, "samples": sum(shard["samples"] for shard in kept)}
    manifest = _manifest(store, f"{where}/manifest.json") or {"format": FORMAT, "caches": {}}
    manifest["caches"][print_] = record
    store.write_bytes(f"{where}/manifest.json", json.dumps(manifest, indent=1).encode())
    return record


def complete(store: ObjectStore, version: str, recipe: Recipe) -> bool:
    """Whether the store has this very cache, with every shard of the stated size."""
    where, print_ = split_folder(version, recipe.task, recipe.split), fingerprint(recipe)
    manifest = _manifest(store, f"{where}/manifest.json")
    record = (manifest or {}).get("caches", {}).get(print_)
    if record is None:
        return False
    sizes = {info.key: info.bytes for info in store.list(f"{where}/{print_}/")}
    return all(sizes.get(f"{where}/{print_}/{shard['file']}") == shard["bytes"] for shard in record["shards"])


def _manifest(store: ObjectStore, key: str) -> dict[str, Any] | None:
    try:
        content = json.loads(store.read_bytes(key))
    except NotFoundError:
        return None
    except ValueError:
        raise StoreError(f"{key} is damaged", hint="delete the cache and build it again") from None
    if not isinstance(content, dict) or not isinstance(content.get("caches"), dict):
        raise StoreError(f"{key} is damaged: it lists no caches", hint="delete the cache and build it again")
    return content


class CacheReader:
    """Random access to a cache on this machine; every shard is verified when it is opened."""

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Opens the shards of one manifest record in `folder`.

        Raises:
            StoreError: a shard is missing or does not have the sha256 of the manifest.
        """
        from safetensors import safe_open  # the console imports this module without it

        self._stack = ExitStack()
        self._starts: list[int] = []
        self._shards: list[Any] = []
        self.samples = 0
        for shard in record["shards"]:
            path = folder / shard["file"]
            if not path.is_file() or file_sha256(path) != shard["sha256"]:
                raise StoreError(f"{path} is missing or damaged", hint="fetch or build the cache again")
            self._shards.append(self._stack.enter_context(safe_open(path, framework="np")))
            self._starts.append(self.samples)
            self.samples += int(shard["samples"])

    def read(self, role: Role, sample: int) -> Array:
        """Coefficients [(T,) tokens, values] of one sample, read from the memory map."""
        if not 0 <= sample < self.samples:
            raise IndexError(f"sample {sample} of {self.samples}")
        index = int(np.searchsorted(self._starts, sample, side="right")) - 1
        found: Array = self._shards[index].get_slice(f"{_NAME}.{role}")[sample - self._starts[index]]
        return found

    def close(self) -> None:
        self._shards.clear()
        self._stack.close()


CacheState = Literal["complete", "stale", "incomplete", "damaged", "legacy"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the store holds of one split under one cache version."""

    version: str
    task: str
    split: str
    state: CacheState
    fingerprint: str
    """Empty for a legacy cache."""
    bytes: int
    samples: int
    """0 where no manifest says."""
    dtype: str
    note: str = ""
    """Why it is not complete, in words."""


def caches(store: ObjectStore) -> list[CacheEntry]:
    """All latent caches of a store, by version, task and split. Free of torch and safetensors."""
    groups: dict[tuple[str, str, str, str], dict[str, int]] = {}
    for folder in _FOLDERS:
        for info in store.list(f"{folder}/"):
            parts = info.key.removeprefix(f"{folder}/").split("/")
            name = parts[1] if len(parts) > 2 else ""
            task, _, split = name.rpartition("_")
            if task in TASK_SPECS and split in catalog.SPLITS:
                rest = "/".join(parts[2:])
                groups.setdefault((folder, parts[0], task, split), {})[rest] = info.bytes
    hashes = {entry.task: entry for entry in catalog.datasets(store)} if groups else {}
    found: list[CacheEntry] = []
    for (folder, version, task, split), sizes in groups.items():
        where = f"{folder}/{version}/{task}_{split}"
        stored = hashes[task].splits.get(split) if task in hashes else None
        found += _entries(store, where, (version, task, split), sizes, stored.sha256 if stored else "")
    return sorted(found, key=lambda entry: (entry.version, entry.task, entry.split, entry.fingerprint))


def _entries(
    store: ObjectStore, where: str, name: tuple[str, str, str], sizes: Mapping[str, int], dataset_sha256: str
) -> list[CacheEntry]:
    if "manifest.json" not in sizes:
        legacy = any(Path(key).match("sample_*.pt") for key in sizes)
        state: CacheState = "legacy" if legacy else "incomplete"
        note = (
            "sample_*.pt files of an older version"
            if legacy
            else "it has no manifest: building it was cut short"
        )
        return [CacheEntry(*name, state, "", sum(sizes.values()), 0, "", note)]
    try:
        manifest = _manifest(store, f"{where}/manifest.json") or {"caches": {}}
        return [
            _entry(name, print_, record, sizes, dataset_sha256)
            for print_, record in manifest["caches"].items()
        ]
    except (StoreError, KeyError, TypeError, AttributeError) as error:
        note = f"the manifest is damaged: {error}"
        return [CacheEntry(*name, "damaged", "", sum(sizes.values()), 0, "", note)]


def _entry(
    name: tuple[str, str, str], print_: str, record: Mapping[str, Any], sizes: Mapping[str, int], dataset: str
) -> CacheEntry:
    state: CacheState = "complete"
    note = ""
    if any(sizes.get(f"{print_}/{shard['file']}") != shard["bytes"] for shard in record["shards"]):
        state, note = "incomplete", "a shard is missing or cut short"
    elif record["recipe"]["dataset_sha256"] != dataset:
        state = "stale"
        note = (
            "the dataset is another one now" if dataset else "its dataset is not in the store, or unverified"
        )
    total = sum(size for key, size in sizes.items() if key.startswith(f"{print_}/"))
    return CacheEntry(*name, state, print_, total, int(record["samples"]), record["recipe"]["dtype"], note)
