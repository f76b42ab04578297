"""How fast data are read and converted, and in how much memory.

`windows` are random pairs of successive states in batches of 32, from files in the page cache: ours from a
converted file, against h5py reading the same windows one by one from a chunked and gzipped file, and
against bare numpy indexing of a memory map. `converting` is wall time, both sides synced to disk, against
a plain copy of the raw file's bytes: of a file as it is (of `--data DIR` the slowest, in relation), and
of one with its samples repeated up to a few hundred MB. `peak memory` is what all processes of an import
hold at once, beside the size of the raw file: three-dimensional flow, whose single sample is 880 MB.

With `--data DIR`, every raw file there is imported, compared value by value with what h5py says,
and trained on for a few steps. At full size the samples per CPU second of every reference solver are
printed too.
"""

import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np

from benchmarks.support import converting, originals, solving
from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.datasets import prepare
from ups.data.fields import Fields
from ups.data.sampling import Pairs
from ups.errors import UpsError

BAR_GZIP, BAR_MAP, BAR_COPY, BAR_MEMORY = 20.0, 0.8, 2.0, 0.25
_TASKS = ("advection1d", "reaction_diffusion2d")
_BATCH = 32
_ROUNDS = 7


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(given)
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory(prefix="ups-data-", dir=options.scratch) as folder:
            scratch = Path(folder)
            rows += _windows(options, scratch)
            rows += converting.speed(options.data, scratch, bar=BAR_COPY, quick=options.quick)
            rows += converting.memory(scratch, bar=BAR_MEMORY, quick=options.quick)
            if options.data is not None:
                rows += originals.check(options.data, scratch)
            if not options.quick:
                solving.print_rates()
    except UpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return finish(rows, options.json)


def _windows(options: Namespace, scratch: Path) -> list[Row]:
    """Random windows against the two peers; the task that is worse for ours counts."""
    datasets = prepare(_TASKS, scratch / "store", raw=options.data, samples=16)
    gzip, mapped = [], []
    for task in _TASKS:
        path = datasets[task]["train"]
        fields = Fields.open(path)
        assert fields.states is not None
        compressed = scratch / f"{task}.h5"
        with h5py.File(compressed, "w") as file:
            file.create_dataset("states", data=fields.states, chunks=True, compression="gzip")
        print(f"{task}: windows of {fields.states[0, 0].nbytes * 2 / 1024:.0f} KiB", flush=True)
        batches = 20 if options.quick else 200
        pairs = Pairs(fields)
        with h5py.File(compressed) as file:
            ours, slow = _rates(pairs, batches, _from_ours(pairs), _one_by_one(file["states"]), slow_by=20)
        gzip.append(Row(f"windows {task}", ours, slow, "h5py, gzip", "1/s", "higher", BAR_GZIP))
        ours, bare = _rates(pairs, batches, _from_ours(pairs), _indexed(fields.states))
        mapped.append(Row(f"windows {task}", ours, bare, "numpy memmap", "1/s", "higher", BAR_MAP))
    return [*gzip, *mapped]


Windows = Callable[[np.ndarray, np.ndarray], object]
"""(samples [B], frames [B]) → the two states of each window."""


def _from_ours(pairs: Pairs) -> Windows:
    return pairs.take


def _one_by_one(states: h5py.Dataset) -> Windows:
    return lambda samples, frames: np.stack(
        [states[sample, frame : frame + 2] for sample, frame in zip(samples, frames, strict=True)]
    )


def _indexed(states: np.ndarray) -> Windows:
    return lambda samples, frames: (states[samples, frames], states[samples[:, None], frames[:, None] + 1])


def _rates(
    pairs: Pairs, batches: int, ours: Windows, peer: Windows, *, slow_by: int = 1
) -> tuple[float, float]:
    """Windows per second of both: medians of rounds that alternate.

    Args:
        pairs: what is drawn from.
        batches: in each round.
        ours: reads a batch.
        peer: reads the same.
        slow_by: the peer is so slow that it reads so many times fewer batches.
    """
    generator = np.random.default_rng(0)
    drawn = [
        (generator.integers(0, pairs.fields.samples, _BATCH), generator.integers(0, pairs.starts, _BATCH))
        for _ in range(batches)
    ]
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for into, read, count in zip(rates, (ours, peer), (batches, max(1, batches // slow_by)), strict=True):
            begun = time.process_time()
            for samples, frames in drawn[:count]:
                read(samples, frames)
            into.append(count * _BATCH / (time.process_time() - begun))
    return statistics.median(rates[0]), statistics.median(rates[1])


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw files under their published names")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where files go meanwhile (9 GB)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
