"""Small stores without real data: manifests and files of the right sizes and hashes."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ups.cache_catalog import FORMAT
from ups.store import ObjectInfo, ObjectStore
from ups.stores.directory import DirectoryStore

DAY = 86400.0
VERSION = "upt_16d_8tok"


class Bucket(DirectoryStore):
    """Not on this machine; counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: Counter[str] = Counter()
        """list, read or range → how often."""

    def local_path(self, key: str) -> Path | None:
        return None

    def read_bytes(self, key: str) -> bytes:
        self.asked["read"] += 1
        return super().read_bytes(key)

    def read_range(self, key: str, start: int, end: int) -> bytes:
        self.asked["range"] += 1
        return super().read_range(key, start, end)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.asked["list"] += 1
        return super().list(prefix)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(store: ObjectStore, key: str, content: bytes, *, days_ago: float = 0.0) -> None:
    """Store an object that was last changed so many days ago; that can be chosen in a directory only."""
    store.write_bytes(key, content)
    if days_ago:
        assert isinstance(store, DirectoryStore)
        then = time.time() - days_ago * DAY
        os.utime(store.root / key, (then, then))


def put_dataset(
    store: ObjectStore,
    task: str = "advection1d",
    *,
    seed: int = 0,
    root: str = "pdebench/full",
    **changes: Any,
) -> dict[str, str]:
    """A dataset whose files are no HDF5; returns split → sha256."""
    splits = {}
    for split, samples in (("train", 8), ("val", 1), ("test", 1)):
        content = f"{task} {split} {seed}".encode() * 40
        put(store, f"{root}/{task}/{task}_{split}.h5", content)
        splits[split] = {
            "file": f"{task}_{split}.h5", "bytes": len(content), "sha256": sha256(content),
            "samples": samples, "shape": [samples, 6, 32, 1], "dt": 0.05,
        }  # fmt: skip
    manifest = {
        "format": 1, "task": task, "state": "complete", "created": 0.0, "splits": splits,
        "statistics": {"mean": [0.0], "std": [1.0]}, "parameters": {}, "provenance": [], **changes,
    }  # fmt: skip
    put(store, f"{root}/{task}/manifest.json", json.dumps(manifest).encode())
    return {split: str(entry["sha256"]) for split, entry in splits.items()}


def record(files: Mapping[str, bytes], dataset_sha256: str) -> dict[str, Any]:
    """What a manifest says of one cache."""
    stated = {
        name: {"file": name, "bytes": len(content), "sha256": sha256(content), "samples": 8}
        for name, content in files.items()
    }
    columns = stated.pop("columns.safetensors", None)
    return {
        "recipe": {
            "format": FORMAT, "dtype": "float16", "dataset_sha256": dataset_sha256,
            "parts": [{"role": "state", "shape": [8, 6, 32, 1]}],
        },
        "samples": 8,
        "shards": list(stated.values()),
        "columns": columns,
    }  # fmt: skip


def put_cache(
    store: ObjectStore,
    named: Mapping[str, str],
    *,
    unnamed: Sequence[str] = (),
    task: str = "advection1d",
    split: str = "train",
    days_ago: float = 0.0,
    root: str = "pdebench/latent_caches",
) -> str:
    """Caches of one split; returns its folder.

    Args:
        store: where.
        named: fingerprint → sha256 of the dataset it was made of.
        unnamed: fingerprints whose shards the manifest does not name.
    """
    folder = f"{root}/{VERSION}/{task}_{split}"
    records = {}
    for fingerprint in (*named, *unnamed):
        names = ("shard-00000.safetensors", "shard-00001.safetensors", "columns.safetensors")
        files = {name: f"{fingerprint[-4:]} {name}".encode() for name in names}
        for name, content in files.items():
            put(store, f"{folder}/{fingerprint}/{name}", content, days_ago=days_ago)
        if fingerprint in named:
            records[fingerprint] = record(files, named[fingerprint])
    put(store, f"{folder}/manifest.json", json.dumps({"format": FORMAT, "caches": records}).encode())
    return folder


def print_of(number: int) -> str:
    """A fingerprint."""
    return f"{number:064x}"
