"""A stored dataset → files that other programs read. Free of torch."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ups import catalog
from ups.catalog import Progress
from ups.data.fields import SPLITS
from ups.data.formats import ExportFormat
from ups.data.lagrange_writer import write_lagrange
from ups.data.point_fields import PointFields
from ups.data.split import open_split
from ups.errors import DataError
from ups.store import ObjectStore

_WRITERS: Mapping[ExportFormat, Callable[[Mapping[str, PointFields], Path, Progress], None]] = {
    ExportFormat.LAGRANGEBENCH: write_lagrange,
}


def export(
    store: ObjectStore, task: str, folder: Path, layout: ExportFormat, progress: Progress
) -> dict[str, int]:
    """Write the dataset of a task to a folder.

    Args:
        store: holds the dataset.
        task: its task.
        folder: made by this; may be there already if it is empty.
        layout: how it is written.
        progress: called with (what, samples done, samples in all).

    Returns:
        split → samples.

    Raises:
        NotFoundError: no such task, or the store has no dataset of it.
        DataError: the dataset cannot be used or is not of the kind of the layout, or the folder is not empty.
        StoreError: the folder cannot be written; nothing is left of it.
    """
    pins = catalog.pins(store, [task])[task]
    keys = {split: entry.key for split, entry in catalog.dataset(store, task).splits.items()}
    with tempfile.TemporaryDirectory(prefix="ups-export-") as scratch:
        splits = {}
        for split in SPLITS:
            path = store.local_path(keys[split])
            if path is None:
                path = Path(scratch) / f"{split}.h5"
                store.download(keys[split], path, sha256=pins[split])
            fields = open_split(path)
            if not isinstance(fields, PointFields):
                raise DataError(f"{task} lives on a grid, not on points, as the layout {layout} wants")
            splits[split] = fields
        _WRITERS[layout](splits, folder, progress)
        return {split: fields.samples for split, fields in splits.items()}
