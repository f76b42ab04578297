"""Where things lie in a store: what a key belongs to, by its name alone.

    pdebench/full/{task}/{task}_{split}.h5, manifest.json
    pdebench/latent_caches/{version}/{task}_{split}/{fingerprint}/shard-00000.safetensors, …/manifest.json
    runs/{run}/attempt-{n}/…
    runtime/{sha256}.whl

A bucket that is itself called pdebench has the first two at its root.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from ups.tasks import TASK_SPECS

DATASET_ROOTS = ("pdebench/full", "full")
"""Where datasets are written, and where else they are looked for."""
CACHE_ROOTS = ("pdebench/latent_caches", "latent_caches")
RUNS_ROOT, RUNTIME_ROOT = "runs", "runtime"
MANIFEST = "manifest.json"
SPLITS = ("train", "val", "test")
HIDDEN = ".tmp-"
"""Names that begin so are unfinished."""

_ODD = frozenset({"", ".", ".."})
"""Parts of a key that is no path below the store."""
_RUNTIME = re.compile(r"[0-9a-f]{64}\.whl")


class Area(StrEnum):
    """What an object is part of."""

    DATASETS = "datasets"
    CACHES = "caches"
    RUNS = "runs"
    RUNTIMES = "runtimes"
    OTHER = "other"
    """Somebody else's, or unknown to this version."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one task's dataset, or of one split under one cache version."""

    path: str
    """Without a trailing slash."""
    task: str
    version: str = ""
    """Of a cache."""
    split: str = ""
    """Of a cache."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a key belongs to."""

    area: Area
    folder: Folder | None = None
    """Of a dataset or a cache."""
    name: str = ""
    """The rest of the key, below its folder."""


def plain_name(name: object) -> str:
    """A file's name as a manifest may state it. Raises ValueError where it leads elsewhere."""
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is no name of a file")
    return name


def place(key: str) -> Place:
    """What a key belongs to."""
    head, _, name = key.rpartition("/")
    if not _ODD.isdisjoint(key.split("/")):
        return Place(Area.OTHER, name=key)
    folder = _dataset_folder(head)
    if folder is not None and (name.startswith(HIDDEN) or name in _dataset_files(folder.task)):
        return Place(Area.DATASETS, folder, name)
    for root in CACHE_ROOTS:
        if key.startswith(f"{root}/"):
            return _cache_place(root, key)
    if head == RUNTIME_ROOT and _RUNTIME.fullmatch(name):
        return Place(Area.RUNTIMES, name=name)
    if key.startswith(f"{RUNS_ROOT}/"):
        return Place(Area.RUNS, name=key.removeprefix(f"{RUNS_ROOT}/"))
    return Place(Area.OTHER, name=key)


def _cache_place(root: str, key: str) -> Place:
    version, _, rest = key.removeprefix(f"{root}/").partition("/")
    name, _, below = rest.partition("/")
    task, _, split = name.rpartition("_")
    if not below or task not in TASK_SPECS or split not in SPLITS:
        return Place(Area.OTHER, name=key)
    return Place(Area.CACHES, Folder(f"{root}/{version}/{name}", task, version, split), below)


@lru_cache(maxsize=256)
def _dataset_folder(path: str) -> Folder | None:
    root, _, task = path.rpartition("/")
    return Folder(path, task) if root in DATASET_ROOTS and task in TASK_SPECS else None


@lru_cache(maxsize=len(TASK_SPECS))
def _dataset_files(task: str) -> frozenset[str]:
    return frozenset({MANIFEST, *(f"{task}_{split}.h5" for split in SPLITS)})
