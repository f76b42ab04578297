"""The converted files that the learning benchmarks train on: published raw files, or made here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ups import catalog
from ups.data.convert import import_raw, make
from ups.errors import DataError
from ups.stores.directory import DirectoryStore
from ups.tasks import task_spec

Datasets = Mapping[str, Mapping[str, Path]]
"""task → split → converted file."""


def prepare(
    tasks: Sequence[str], folder: Path, *, raw: Path | None = None, samples: int | None = None
) -> Datasets:
    """Convert the data of some tasks into a directory store.

    Args:
        tasks: the tasks.
        folder: where the store goes.
        raw: folder of raw files under their published names; None: the reference solvers make the data.
        samples: initial conditions that the solvers make; None: each solver's default.

    Raises:
        DataError: a task has no raw file there, or a file does not fit.
    """
    store = DirectoryStore(folder)
    found: dict[str, dict[str, Path]] = {}
    for task in tasks:
        if raw is None:
            make(store, task, samples=samples)
        else:
            pattern = task_spec(task).raw_files
            files = sorted(raw.glob(pattern))
            if not files:
                raise DataError(f"{raw} holds no raw file of {task}", hint=f"it would be called {pattern}")
            import_raw(store, task, files)
        splits = catalog.dataset(store, task).splits
        paths = {split: store.local_path(entry.key) for split, entry in splits.items()}
        found[task] = {split: path for split, path in paths.items() if path is not None}
    return found
