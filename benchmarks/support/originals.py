"""Raw files as they are published, read by h5py alone: what an import has to give back.

Every file of a folder is imported, its values are compared with those here, and a model is trained on
the result for a few steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.support.comparison import Row
from benchmarks.support.ours import job_of
from ups import catalog
from ups.config import parse_train_config
from ups.data.convert import import_raw
from ups.data.fields import SPLITS
from ups.data.split import Split, open_split
from ups.errors import UpsError
from ups.events import EventType
from ups.store import DirectoryStore
from ups.tasks import TASK_SPECS, RawLayout, TaskSpec, task_spec
from ups.training.run import train

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Original:
    """A raw file, or a folder of them, and its task."""

    task: str
    path: Path

    @property
    def is_one_file(self) -> bool:
        return self.path.is_file()


def originals(folder: Path) -> list[Original]:
    """The raw files of all tasks under their published names, and LagrangeBench's folders."""
    found = [
        Original(spec.name, path)
        for spec in TASK_SPECS.values()
        if spec.raw_files
        for path in sorted(folder.rglob(spec.raw_files))
    ]
    particles = next(name for name, spec in TASK_SPECS.items() if spec.layout is RawLayout.LAGRANGE)
    found += [Original(particles, path.parent) for path in sorted(folder.rglob("metadata.json"))]
    return found


def check(folder: Path, scratch: Path) -> list[Row]:
    """How many of the files import, come back value by value, and train."""
    all_of_them = originals(folder)
    imported, equal, trained = 0, 0, 0
    for number, original in enumerate(all_of_them):
        store = DirectoryStore(scratch / f"store-{number}")
        try:
            import_raw(store, original.task, [original.path])
            imported += 1
            splits = _splits(store, original.task)
            same = _is_equal(original, list(splits.values()))
            equal += same
            learned = _trains(
                original.task, {split: fields.path for split, fields in splits.items()}, scratch
            )
            trained += learned
            said = f"{'equal' if same else 'DIFFERENT'}, {'trains' if learned else 'DOES NOT TRAIN'}"
        except UpsError as error:
            said = f"REFUSED: {error}"
        print(f"{original.task} {original.path.name}: {said}", flush=True)
    count = float(len(all_of_them))
    return [
        Row(what, float(ours), count, "files", "files", "higher", 1.0)
        for what, ours in (("imports", imported), ("equal values", equal), ("trains", trained))
    ]


def _splits(store: DirectoryStore, task: str) -> dict[str, Split]:
    entry = catalog.dataset(store, task)
    return {split: open_split(store.root / entry.splits[split].key) for split in SPLITS}


def _is_equal(original: Original, splits: Sequence[Split]) -> bool:
    """Every sample of the file is there with its own values, and none besides."""
    expected = list(_samples(task_spec(original.task), original.path))
    seen = 0
    for fields in splits:
        for row in range(fields.samples):
            block = fields.block(row)
            wanted = expected[_index(fields, row)]
            found = block.targets[0] if hasattr(block, "targets") else block.samples[0].targets
            if found.shape != wanted.shape or not np.array_equal(found, wanted):
                return False
            seen += 1
    return seen == len(expected)


def _index(fields: Split, row: int) -> int:
    """Index of a row's sample within its source."""
    return int(fields.sample[row])


def _samples(spec: TaskSpec, path: Path) -> Iterator[Values]:
    """The predicted fields of each sample [T, *S, C], or [*S, C] of a static task, in the file's order."""
    with h5py.File(path) as file:
        if spec.layout is RawLayout.SEED_GROUPS:
            for group in sorted(file):
                yield file[group]["data"][()]
        elif spec.layout is RawLayout.PAIR:
            yield from file["tensor"][:, 0][..., None]
        elif spec.layout is RawLayout.INCOMPRESSIBLE:
            yield from np.concatenate([file["velocity"][()], file["particles"][()]], axis=-1)
        else:
            yield from np.stack([file[name][()] for name in spec.raw_datasets], axis=-1)


def _trains(task: str, paths: dict[str, Path], scratch: Path) -> bool:
    """Whether a tiny model takes a few steps on a dataset with a finite loss."""
    content = {
        "data": {"task": [task]},
        "latent": {"dim": 32, "tokens": 16},
        "operator": {"pdet": {"input_dim": 32, "hidden_dim": 32, "depth": 1, "num_heads": 2}},
        "training": {"batch_size": 2, "samples_per_epoch": 8, "log_every": 1},
        "evaluation": {"validation_samples": 1},
        "stages": {"operator": {"epochs": 1}},
    }
    losses: list[float] = []

    class _Losses:
        def write(self, kind: EventType, **fields: object) -> None:
            if kind is EventType.METRIC and fields["split"] == "train":
                values = fields["values"]
                assert isinstance(values, dict)
                losses.append(values["loss"])

    folder = scratch / "training" / paths["train"].parts[-5]
    train(job_of(parse_train_config(content), {task: paths}, folder), _Losses())
    return bool(losses) and bool(np.isfinite(losses).all())
