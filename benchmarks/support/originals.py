"""Raw files as they are published, read by h5py alone: what an import has to give back.

Every file of a folder is imported, its values are compared with those here, and a model is trained on
the result for a few steps.
"""

import json
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
from ups.data.blocks import MIN_SAMPLES
from ups.data.convert import convert_file, import_raw
from ups.data.fields import SPLITS
from ups.data.source import Block
from ups.data.split import Split, open_split
from ups.errors import UpsError
from ups.events import EventType
from ups.stores.directory import DirectoryStore
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
        try:
            expected = list(_samples(task_spec(original.task), original.path))
            splits = _converted(original, len(expected), scratch / f"{number}")
            imported += 1
            same = _is_equal(expected, list(splits.values()))
            equal += same
            paths = {split: fields.path for split, fields in splits.items()}
            learned = _trains(original.task, paths, scratch / f"run-{number}")
            trained += learned
            said = f"{'equal' if same else 'DIFFERENT'}, {'trains' if learned else 'DOES NOT TRAIN'}"
            if len(expected) < MIN_SAMPLES:
                said += f" (converted as a whole: {len(expected)} samples are no three splits)"
        except UpsError as error:
            said = f"REFUSED: {error}"
        print(f"{original.task} {original.path.name}: {said}", flush=True)
    count = float(len(all_of_them))
    return [
        Row(what, float(ours), count, "files", "files", "higher", 1.0)
        for what, ours in (("imports", imported), ("equal values", equal), ("trains", trained))
    ]


def _converted(original: Original, samples: int, folder: Path) -> dict[str, Split]:
    """The splits of a file; too few samples are converted whole, once to train on and once to judge by."""
    if samples < MIN_SAMPLES:
        folder.mkdir()
        paths = {split: folder / f"{split}.h5" for split in ("train", "val")}
        for split, path in paths.items():
            convert_file(original.task, original.path, path, split=split)
        return {split: open_split(path) for split, path in paths.items()}
    store = DirectoryStore(folder)
    import_raw(store, original.task, [original.path])
    entry = catalog.dataset(store, original.task)
    return {split: open_split(store.root / entry.splits[split].key) for split in SPLITS}


def _is_equal(expected: Sequence[Values], splits: Sequence[Split]) -> bool:
    """Every sample of the file is there with its own values, and none besides."""
    seen = set()
    for fields in splits:
        for row in range(fields.samples):
            sample = int(fields.sample[row])
            block = fields.block(row)
            found = block.targets[0] if isinstance(block, Block) else block.samples[0].targets
            # velocities are computed here and there: to rounding
            if found.shape != expected[sample].shape or not np.allclose(found, expected[sample], 1e-6, 1e-6):
                return False
            if isinstance(block, Block) and not np.array_equal(found, expected[sample]):
                return False
            seen.add(sample)
    return len(seen) == len(expected)


def _samples(spec: TaskSpec, path: Path) -> Iterator[Values]:
    """The predicted fields of each sample, as they are converted, in the order of the file."""
    if spec.layout is RawLayout.LAGRANGE:
        yield from _velocities(path)
        return
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


def _velocities(folder: Path) -> Iterator[Values]:
    """[P, T − 1, D] of each window of LagrangeBench's trajectories."""
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    low, high = np.array(metadata["bounds"], np.float64).T
    dt = metadata["dt"] * metadata.get("write_every", 1)
    trajectories = []
    for name in ("test.h5", "valid.h5", "train.h5"):
        with h5py.File(folder / name) as file:
            trajectories += [file[group]["position"][()].astype(np.float64) for group in sorted(file)]
    steps = min(map(len, trajectories)) - 1
    for positions in trajectories:
        for first in range(0, len(positions) - steps, steps):
            moved = np.diff(positions[first : first + steps + 1], axis=0)
            nearest = (moved + (high - low) / 2) % (high - low) - (high - low) / 2
            yield np.moveaxis(nearest / dt, 0, 1).astype(np.float32)


def _trains(task: str, paths: dict[str, Path], folder: Path) -> bool:
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

    train(job_of(parse_train_config(content), {task: paths}, folder), _Losses())
    return bool(losses) and bool(np.isfinite(losses).all())
