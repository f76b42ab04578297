"""Swaps a dataset for its successor, so that a reader sees the old one, the new one, or neither.

Dataset files have plain names, because other tools read them, so they are replaced in place:

1. the new files are complete, synced and hashed, under hidden names beside the old ones;
2. the manifest becomes that of the new files, in the state `writing`: readers refuse the dataset;
3. the hidden files take the plain names;
4. the manifest becomes `complete`.

Up to 2 the old dataset is untouched. A process that dies after it leaves what 3 and 4 need, and the
next writer finishes them (`finish_interrupted`). Free of torch.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ups.catalog import FOLDER, MANIFEST_FORMAT, dataset_key, manifest_key, read_manifest
from ups.errors import DataError, NotFoundError, StoreError
from ups.reading import stored_sha256
from ups.store import ObjectStore, Progress, summed


def manifest_token(store: ObjectStore, task: str) -> str:
    """Identifies the dataset's present manifest; empty where there is none."""
    try:
        return hashlib.sha256(store.read_bytes(manifest_key(task))).hexdigest()
    except NotFoundError:
        return ""


def swap(
    store: ObjectStore,
    task: str,
    files: Mapping[str, Path],
    manifest: Mapping[str, Any],
    *,
    token: str,
    progress: Progress | None = None,
) -> None:
    """Replace a dataset by staged files.

    Args:
        files: split → staged file, on the store's file system.
        manifest: of the new dataset, but for `format`, `state` and `created`.
        token: `manifest_token` as it was when the new files were begun.
        progress: called with (bytes done, bytes in all) while the store receives them.

    Raises:
        StoreError: another process changed the dataset meanwhile, or the store cannot be written.
    """
    content = {"format": MANIFEST_FORMAT, **manifest, "created": round(time.time(), 3)}
    with store.exclusive():
        if manifest_token(store, task) != token:
            raise StoreError(
                f"the dataset {task} was changed by another process meanwhile", hint="run the command again"
            )
        told = summed(sum(path.stat().st_size for path in files.values()), progress)
        for split, path in files.items():
            store.move(path, _hidden_key(task, split), progress=told())
        _write_manifest(store, task, content, "writing")
        for split in files:
            store.rename(_hidden_key(task, split), dataset_key(task, split))
        _write_manifest(store, task, content, "complete")


def finish_interrupted(store: ObjectStore, task: str) -> None:
    """Complete a swap that a killed process left half done, where everything for it is there."""
    if _interrupted(store, task) is None:
        return
    with store.exclusive():
        manifest = _interrupted(store, task)
        if manifest is not None:
            _finish(store, task, manifest)


def _interrupted(store: ObjectStore, task: str) -> Mapping[str, Any] | None:
    try:
        manifest = read_manifest(store, task)
    except DataError:
        return None
    return manifest if manifest is not None and manifest.get("state") == "writing" else None


def _finish(store: ObjectStore, task: str, manifest: Mapping[str, Any]) -> None:
    for split, entry in manifest["splits"].items():
        hidden = _hidden_key(task, split)
        if _has(store, hidden, entry):
            store.rename(hidden, dataset_key(task, split))
        elif not _has(store, dataset_key(task, split), entry):
            return  # neither the new file nor what was to become it: stays `writing`
    _write_manifest(store, task, manifest, "complete")


def _has(store: ObjectStore, key: str, entry: Mapping[str, Any]) -> bool:
    """Whether an object is what the manifest says, to the last byte."""
    found = store.find(key)
    if found is None or found.bytes != entry["bytes"]:
        return False
    return stored_sha256(store, key, found.bytes) == str(entry["sha256"])


def _hidden_key(task: str, split: str) -> str:
    return f"{FOLDER}/{task}/.tmp-{task}_{split}.h5"


def _write_manifest(store: ObjectStore, task: str, manifest: Mapping[str, Any], state: str) -> None:
    content = json.dumps({**manifest, "state": state}, indent=1, ensure_ascii=False, allow_nan=False)
    store.write_bytes(manifest_key(task), content.encode() + b"\n")
