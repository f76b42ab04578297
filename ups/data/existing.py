"""The dataset that a store holds already, opened so that more can be added to it.

Where the store is on this machine its files are read in place; else they are fetched into a workspace,
once for all processes that share the work. Free of torch.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ups import catalog
from ups.data import commit
from ups.data.fields import SPLITS
from ups.data.split import open_split
from ups.data.stored import StoredSource, stored_sources
from ups.errors import DataError, StoreError
from ups.ranks import Ranks
from ups.store import Download, ObjectStore
from ups.store import Progress as Transfer

_POLL_SECONDS = 0.1


@contextmanager
def existing_sources(
    store: ObjectStore, task: str, token: str, ranks: Ranks, verified: catalog.Progress, fetched: Transfer
) -> Iterator[list[StoredSource]]:
    """The samples that are in the store, once every byte of them is verified.

    Args:
        store: where they are.
        task: whose.
        token: `commit.manifest_token` of the dataset.
        ranks: which of the processes on this request this one is; the main one fetches.
        verified: called with (what, done, total) while files are read in place.
        fetched: called with (bytes done, bytes in all) while they are fetched.

    Raises:
        DataError: the dataset is damaged or being replaced.
        StoreError: it cannot be read, there is no room, or another process changed it.
    """
    entry = catalog.dataset(store, task)
    local = [path for split in entry.splits.values() if (path := store.local_path(split.key)) is not None]
    if local:
        entry = catalog.verify(store, task, verified)
    if entry.state != "verified":
        raise DataError(
            f"the store's dataset of {task} is {entry.state}: {entry.note}", hint="--replace drops it"
        )
    if local:
        yield stored_sources([open_split(path) for path in local])
        return
    prefix = f"stored-{task}-"
    name = f"{prefix}{token[:16]}"
    folder = store.shared_workspace(name)
    files = [
        Download(entry.splits[split].key, folder / f"{task}_{split}.h5", entry.splits[split].sha256)
        for split in SPLITS
    ]
    targets = [file.target for file in files]
    if not ranks.is_main:
        _await(store, task, token, targets)
        yield stored_sources([open_split(path) for path in targets])
        return
    store.discard_workspaces(prefix, but=name)
    with store.workspace(name):
        store.download_all(files, progress=fetched)
        yield stored_sources([open_split(path) for path in targets])


def _await(store: ObjectStore, task: str, token: str, paths: Collection[Path]) -> None:
    """Wait until the main process has fetched the files; each appears whole."""
    while not all(path.exists() for path in paths):
        if commit.manifest_token(store, task) != token:
            raise StoreError(
                f"the dataset {task} was changed by another process meanwhile", hint="run the command again"
            )
        time.sleep(_POLL_SECONDS)
