"""How fast, in how much memory the joint operator trains, beside neuraloperator's FNO.

Both train on batches of the same size with the settings of `accuracy.py`, each in a single-threaded
child process, in alternation: a few steps of one, then of the other. `samples/s` is the median ratio
of the pairs, and its figures the medians of CPU rates; of the tasks of one dimension the least
favourable counts. `data wait` is the CPU time that a batch takes from the files to augmented
tensors, beside the whole step. `peak memory` is the largest resident memory beyond what is resident once
everything is imported: ours with all tasks in one model, the FNO's with the larger of its tasks.
"""

import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import pace
from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.datasets import Datasets, prepare
from benchmarks.support.peers import MissingPeerError, candidates, require_fno
from benchmarks.support.task_sets import TASK_SETS
from ups.errors import UpsError
from ups.tasks import task_spec

BARS = {1: 1.0, 2: 2.0}
"""Dimensions → the least samples/s of ours by the FNO's."""
BAR_DATA, BAR_MEMORY = 0.03, 0.6
_TASKS = TASK_SETS[4]
_SAMPLES = 30
"""Initial conditions that the solvers make: enough to draw from."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Ours and the fastest of the FNOs that `accuracy.py` tries, on one task."""

    task: str
    ours: float
    """Samples per CPU second, the median."""
    fno: float
    ratio: float
    """Median of the pairs' ratios."""
    ours_bytes: int
    """Peak memory."""
    fno_bytes: int
    data_share: float
    """Of the time of our step."""
    operations: tuple[pace.Operation, ...]

    @property
    def dims(self) -> int:
        return task_spec(self.task).spatial_dims


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(given)
    try:
        require_fno()
        with tempfile.TemporaryDirectory(prefix="ups-throughput-") as folder:
            datasets = prepare(_TASKS, Path(folder), raw=options.data, samples=_SAMPLES)
            pairs = 3 if options.quick else options.pairs
            paces = [_measured(task, datasets, Path(folder), pairs) for task in _TASKS]
    except (MissingPeerError, UpsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    for measured in paces:
        print(f"{measured.task}: the first rows of the profile of our steps")
        for row in measured.operations:
            print(f"  {row.name:<40} {row.share:5.1%} in {row.calls} calls, bound by {row.bound}")
    return finish(rows(paces), options.json)


def rows(paces: Sequence[Pace]) -> list[Row]:
    """The rows of the table."""
    found = []
    for dims, bar in sorted(BARS.items(), reverse=True):
        least = min((entry for entry in paces if entry.dims == dims), key=lambda entry: entry.ratio)
        # the figures of a pair belong together: the peer's follows from the median of the ratios
        found.append(
            Row(f"samples/s {dims}-D", least.ours, least.ours / least.ratio, f"FNO, {least.task}",
                "1/s", "higher", bar)
        )  # fmt: skip
    waiting = max(paces, key=lambda entry: entry.data_share)
    found.append(
        Row("data wait", waiting.data_share, 1.0, f"step of {waiting.task}", "of a step", "lower", BAR_DATA)
    )
    most = max(paces, key=lambda entry: entry.fno_bytes)
    memory = max(entry.ours_bytes for entry in paces) / 2**20
    found.append(
        Row("peak memory", memory, most.fno_bytes / 2**20, f"FNO, {most.task}", "MiB", "lower", BAR_MEMORY)
    )
    found += [
        Row(f"samples/s {entry.task}", entry.ours, entry.ours / entry.ratio, "FNO", "1/s", "higher")
        for entry in paces
    ]
    return found


def _measured(task: str, datasets: Datasets, folder: Path, pairs: int) -> Pace:
    """Time both sides on one task, in alternation."""
    fastest = min(candidates("fno", task_spec(task)), key=lambda entry: entry.width)
    print(f"{task}: ours and {fastest}, {pairs} pairs of {pace.STEPS} steps", flush=True)
    with (
        closing(pace.Side(pace.ours, _TASKS, task, datasets, folder / f"run-{task}")) as ours,
        closing(pace.Side(pace.peer, fastest, task, datasets)) as fno,
    ):
        timed = [(ours.run(), fno.run()) for _ in range(pairs)]
        operations = ours.run("profile").operations
    mine, theirs = (statistics.median(pair[side].rate for pair in timed) for side in (0, 1))
    per_batch = pace.ours_data(task, datasets, batches=50)
    return Pace(
        task, mine, theirs, statistics.median(a.rate / b.rate for a, b in timed),
        timed[-1][0].peak_bytes, timed[-1][1].peak_bytes, per_batch * mine / fastest.batch_size, operations,
    )  # fmt: skip


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw files under their published names")
    parser.add_argument("--pairs", type=int, default=9, help="alternations of each task (default: 9)")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
