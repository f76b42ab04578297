"""What a latent cache is worth: how fast it is read and built, and how large it is.

The peer is how older scripts kept latents: one `sample_*.pt` per sample, a trajectory or a pair, written by
`torch.save` and read by `torch.load` with `weights_only=True`. Both hold the same coefficients, in float16,
in the page cache. `sequential` is an epoch over all samples in order, `random` in random order with
repetition, as coefficients in memory; of advection1d and darcy2d the one that is worse for ours counts.
Samples of 800 KiB are shown beside: reading them is copying memory, for both.

What training sees is `windows`: random pairs of successive states in batches of 32, in physical units. Beside
the peer, which loads a file for each of them, and beside the converted fields, of which the same windows are
read without decoding.

`size` is all files of the cache beside the converted file, were its values of that dtype. `build` is a whole
cache, from the file in the page cache to the manifest in the store, in one process and its threads, beside
the encoder alone, in one thread on arrays in memory in blocks of the same size. It is wall time; all else is
time of the processor, in one thread.
"""

import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.datasets import prepare
from remote.precompute import Building, build
from ups import catalog
from ups.data import latents
from ups.data.cache_build import blocks
from ups.data.cache_shape import CacheShape
from ups.data.cached_fields import CachedArray, CachedFields
from ups.data.convert import Labour
from ups.data.fields import Fields
from ups.data.projection import Recipe, decode, encode
from ups.data.sampling import Pairs
from ups.errors import UpsError
from ups.stores.directory import DirectoryStore

BAR_SEQUENTIAL, BAR_RANDOM, BAR_SIZE, BAR_BUILD = 10.0, 50.0, 1.0, 0.8
_JUDGED = ("advection1d", "darcy2d")
_TASKS = (*_JUDGED, "reaction_diffusion2d")
_SAMPLES = {"advection1d": 4096, "darcy2d": 400, "reaction_diffusion2d": 100}
_QUICK = {"advection1d": 48, "darcy2d": 48, "reaction_diffusion2d": 6}
_SHAPE = CacheShape("upt_128d_256tok", 128, 256)
_BATCH = 32
_MOST_OLDER = 1000
"""Samples of which the peer has files; more would say the same."""
_WORTH_BYTES = 100e6
"""Of fields: below that, `build` is mostly how fast the disk syncs a manifest."""
_ROUNDS = 7


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(given)
    try:
        with tempfile.TemporaryDirectory(prefix="ups-latents-", dir=options.scratch) as folder:
            rows = _measured(options, Path(folder))
    except UpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return finish(rows, options.json)


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """One task's train split in every form that is compared."""

    task: str
    recipe: Recipe
    file: Path
    fields: Fields
    cached: CachedFields
    store: DirectoryStore
    bytes: int
    """Of the cache."""
    older: Path
    """Folder of one file per sample."""

    @property
    def samples(self) -> int:
        """That are read."""
        return min(self.fields.samples, _MOST_OLDER)

    @property
    def arrays(self) -> list[CachedArray]:
        """What is cached of each sample."""
        found = (self.cached.states, self.cached.inputs, self.cached.targets)
        return [array for array in found if isinstance(array, CachedArray)]

    def load(self, sample: int) -> dict[str, torch.Tensor]:
        """A sample as older scripts read it."""
        path = self.older / f"sample_{sample:05d}.pt"
        loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return loaded


def _measured(options: Namespace, scratch: Path) -> list[Row]:
    subjects = [_prepared(task, options, scratch) for task in _TASKS]
    judged = [subject for subject in subjects if subject.task in _JUDGED]
    large = [subject for subject in subjects if subject.file.stat().st_size >= _WORTH_BYTES]
    rows = [
        _worst("sequential", [_sequential(subject) for subject in judged], BAR_SEQUENTIAL),
        _worst("random", [_random(subject) for subject in judged], BAR_RANDOM),
        _worst("size", [_size(subject) for subject in subjects], BAR_SIZE),
        _worst("build", [_build(subject) for subject in large or subjects], BAR_BUILD, judged=bool(large)),
    ]
    for subject in subjects:
        if subject.task not in _JUDGED:
            rows += [_sequential(subject), _random(subject)]
        if subject.fields.states is not None:
            rows += _windows(subject)
    return rows


def _worst(name: str, rows: Sequence[Row], bar: float, *, judged: bool = True) -> Row:
    """The row whose ratio is worst, under the name that all share and with its bar."""
    sign = -1 if rows[0].better == "lower" else 1
    found = min(rows, key=lambda row: sign * (row.ratio or 0.0))
    for row in rows:
        print(f"{row.what}: {row.ours:.4g} {row.unit}, {row.peer_name} {row.peer:.4g}", flush=True)
    return Row(name, found.ours, found.peer, found.peer_name, found.unit, found.better, bar, judged=judged)


def _prepared(task: str, options: Namespace, scratch: Path) -> _Subject:
    samples = (_QUICK if options.quick else _SAMPLES)[task]
    file = prepare([task], scratch / "store", raw=options.data, samples=samples)[task]["train"]
    store = DirectoryStore(scratch / "store")
    recipe = _SHAPE.recipe(catalog.dataset(store, task), "train")
    record = build(store, recipe, file, _SHAPE.version, _silent)
    columns = store.local_path(latents.cache_key(_SHAPE.version, recipe, "columns.safetensors"))
    assert columns is not None
    subject = _Subject(
        task, recipe, file, Fields.open(file), CachedFields.open(columns.parent), store, record.bytes,
        scratch / "older" / task,
    )  # fmt: skip
    subject.older.mkdir(parents=True)
    for sample in range(subject.samples):
        tensors = {
            array.part.role: torch.from_numpy(array.coefficients(np.array([sample]))[0])
            for array in subject.arrays
        }
        torch.save(tensors, subject.older / f"sample_{sample:05d}.pt")
    each = sum(array.part.values * np.prod(array.part.latent_shape[1:-1]) * 2 for array in subject.arrays)
    print(f"{task}: {subject.fields.samples} samples of {each / 1024:.0f} KiB", flush=True)
    return subject


def _sequential(subject: _Subject) -> Row:
    return _read(subject, np.arange(subject.samples), "sequential")


def _random(subject: _Subject) -> Row:
    drawn = np.random.default_rng(0).integers(subject.samples, size=subject.samples)
    return _read(subject, drawn, "random")


def _read(subject: _Subject, order: np.ndarray, what: str) -> Row:
    """Samples per second, as coefficients in memory."""

    def ours() -> None:
        for first in range(0, len(order), _BATCH):
            for array in subject.arrays:
                torch.from_numpy(array.coefficients(order[first : first + _BATCH]))

    def peer() -> None:
        for sample in order:
            subject.load(int(sample))

    rates = _rates(ours, peer, len(order), clock=time.process_time)
    return Row(f"{what} {subject.task}", *rates, "torch.load", "1/s", "higher")


def _windows(subject: _Subject) -> list[Row]:
    """Random windows in physical units, beside the peer's and beside the fields'."""
    pairs, uncached = Pairs(subject.cached), Pairs(subject.fields)
    generator = np.random.default_rng(0)
    batches = [
        (
            generator.integers(subject.samples, size=_BATCH),
            generator.integers(pairs.starts, size=_BATCH),
        )
        for _ in range(8)
    ]

    def ours() -> None:
        for samples, frames in batches:
            pairs.take(samples, frames)

    def fields() -> None:
        for samples, frames in batches:
            uncached.take(samples, frames)

    def peer() -> None:
        for samples, frames in batches:
            for sample, frame in zip(samples, frames, strict=True):
                window = subject.load(int(sample))["state"][frame : frame + 2]
                decode(window.numpy(), subject.recipe.parts[0])

    count = len(batches) * _BATCH
    loaded = _rates(ours, peer, count, clock=time.process_time)
    mapped = _rates(ours, fields, count, clock=time.process_time)
    return [
        Row(f"windows {subject.task}", *loaded, "torch.load", "1/s", "higher"),
        Row(f"windows {subject.task}", *mapped, "fields", "1/s", "higher"),
    ]


def _size(subject: _Subject) -> Row:
    values = sum(np.prod(part.shape) for part in subject.recipe.parts)
    fields = subject.file.stat().st_size - values * (4 - np.dtype(subject.recipe.dtype).itemsize)
    return Row(f"size {subject.task}", subject.bytes / 1e6, float(fields) / 1e6, "fields", "MB", "lower")


def _build(subject: _Subject) -> Row:
    """Megabytes of fields per second."""
    fields = subject.fields
    given = {"state": fields.states, "input": fields.inputs, "target": fields.targets}
    parts = [(part, np.array(given[part.role])) for part in subject.recipe.parts]
    megabytes = sum(array.nbytes for _, array in parts) / 1e6
    building = Building(Labour(), reset=True)

    def ours() -> None:
        build(subject.store, subject.recipe, subject.file, _SHAPE.version, _silent, building)

    def encoder() -> None:
        for part, array in parts:
            for block in blocks(part, array, range(len(array))):
                encode(block, part, subject.recipe.dtype)

    rates = _rates(ours, encoder, megabytes, clock=time.perf_counter)
    return Row(f"build {subject.task}", *rates, "encoder alone", "MB/s", "higher")


def _rates(
    ours: Callable[[], None], peer: Callable[[], None], count: float, *, clock: Callable[[], float]
) -> tuple[float, float]:
    """How many per second of both: medians of rounds that alternate."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for into, work in zip(rates, (ours, peer), strict=True):
            begun = clock()
            work()
            into.append(count / max(clock() - begun, 1e-9))
    return statistics.median(rates[0]), statistics.median(rates[1])


def _silent(task: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw files under their published names")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files go meanwhile (1 GB)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
