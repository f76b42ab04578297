"""What a run costs beside its training: its checkpoints, and being watched.

*Checkpoint*: the operator of `configs/train_pdebench_2task_baseline.yaml` at its real size, with the average
of its weights, trains for a few short epochs, one sample at a time, which changes nothing about its
checkpoints. How long each of them keeps training waiting is what the run itself tells. The peer of the first
row is a save of the same state that training would wait for; an epoch of 30 s that of the second.

*Watched*: `configs/local_2task.yaml` trains, every other epoch with telemetry, journal, published checkpoints
and a mirror, the others with none of these. CPU seconds, since a machine has other things to do as well.
The first row adds up what the parts have used, each by what it comes with: samples or time. The second
compares neighbouring epochs, all processes taken together, and is judged where there are five pairs and they
agree well enough: the spread is that of the pairs (half the range between their quartiles), and what a median
of them may be off by is a fraction of it.
"""

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# before torch and numpy are imported, which read them
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.support import watched_training
from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.datasets import Datasets, prepare
from benchmarks.support.ours import CpuClock, job_of
from benchmarks.support.watched_training import Epoch
from ups.config import TrainConfig, load_train_config
from ups.events import EventType
from ups.models import checkpoint as checkpoints
from ups.training.run import train

BAR_CHECKPOINT, BAR_WATCHED = 0.05, 0.01
EPOCH_S = 30.0
TASKS = ("advection1d", "darcy2d")
_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_FEWEST_PAIRS = 5
"""Of which a spread can be told."""
_SAMPLES = 20
"""Initial conditions that the solvers make: enough to draw from."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    checkpoints: int
    samples: int
    """Between two checkpoints, one at a time."""
    epoch_s: float
    """CPU seconds of an epoch that is watched or not."""
    pairs: int


FULL, QUICK = Sizes(5, 16, EPOCH_S, 5), Sizes(2, 4, 4.0, 2)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = arguments(__doc__).parse_args(argv)
    torch.set_num_threads(1)
    sizes = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="ups-runtime-") as folder:
        datasets = prepare(TASKS, Path(folder) / "data", samples=_SAMPLES)
        rows = [
            *_checkpoint_rows(sizes, datasets, Path(folder)),
            *watched_rows(_watched(sizes, datasets, Path(folder)), judged=not options.quick),
        ]
    return finish(rows, options.json)


# --- checkpoints ------------------------------------------------------------------------------


@dataclass(slots=True)
class _Saves:
    """The event sink of a training whose checkpoints are measured."""

    waited: list[float] = field(default_factory=list)
    """Seconds for which each has kept training waiting."""
    written: list[float] = field(default_factory=list)
    """Seconds in which each was written."""
    bytes: int = 0

    def write(self, kind: EventType, **fields: Any) -> None:
        if kind is EventType.CHECKPOINT:
            self.waited.append(fields["waited"])
            self.written.append(fields["seconds"])
            self.bytes = fields["bytes"]


def baseline(sizes: Sizes) -> TrainConfig:
    """The baseline's operator, trained one sample at a time."""
    return load_train_config(
        _CONFIGS / "train_pdebench_2task_baseline.yaml",
        [
            "training.batch_size=1", "training.accum_steps=1", "training.num_workers=0", "training.amp=false",
            "training.use_inverse_losses=false", f"training.samples_per_epoch={sizes.samples}",
            "training.patience=null", "evaluation.validation_samples=1", "evaluation.batch_size=1",
            "stages.diff_residual=null", "stages.consistency_distill=null",
            f"stages.operator.epochs={sizes.checkpoints}", "logging.wandb.enabled=false",
        ],
    )  # fmt: skip


def _checkpoint_rows(sizes: Sizes, datasets: Datasets, folder: Path) -> Iterator[Row]:
    saves, job = _Saves(), job_of(baseline(sizes), datasets, folder / "checkpoints")
    train(job, saves)
    found = checkpoints.last(job.run_dir.checkpoints)
    assert found is not None
    tensors = {file: found.tensors(file) for file in found.state["files"]}
    waited_for = []
    for number in range(sizes.checkpoints):
        began = time.perf_counter()
        written = checkpoints.write(folder / "peer", found.stage, number, tensors, {"score": -number})
        checkpoints.prune(folder / "peer", written)
        waited_for.append(time.perf_counter() - began)
    print(
        f"checkpoints of {saves.bytes / 1e6:.0f} MB: training waited {_all(saves.waited)} s, each was written"
        f" in {_all(saves.written)} s; the peer waits {_all(waited_for)} s",
        flush=True,
    )
    blocked, peer = statistics.median(saves.waited), statistics.median(waited_for)
    yield Row("checkpoint", blocked, peer, "save that is waited for", "s", "lower")
    yield Row("checkpoint, at worst", max(saves.waited), EPOCH_S, "epoch", "s", "lower", BAR_CHECKPOINT)


def _all(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


# --- being watched ----------------------------------------------------------------------------


def _local(samples: int, epochs: int) -> TrainConfig:
    return load_train_config(
        _CONFIGS / "local_2task.yaml",
        [
            f"training.samples_per_epoch={samples}", f"stages.operator.epochs={epochs}",
            "stages.diff_residual=null", "stages.consistency_distill=null",
            "evaluation.validation_samples=2",
        ],
    )  # fmt: skip


def _watched(sizes: Sizes, datasets: Datasets, folder: Path) -> list[Epoch]:
    clock = CpuClock()
    train(job_of(_local(480, 1), datasets, folder / "pace"), clock)
    samples = 48 * max(1, round(clock.samples_per_second * sizes.epoch_s / 48))
    # the first epoch warms up
    epochs = watched_training.run(_local(samples, 2 * sizes.pairs + 1), datasets, folder / "watched")
    for epoch in epochs:
        print(
            f"{'watched  ' if epoch.watched else 'unwatched'}: {epoch.wall:.1f} s, {epoch.cpu:.2f} CPU s, of"
            f" which journal {epoch.journal:.3f}, telemetry {epoch.telemetry:.3f}; besides mirror"
            f" {epoch.mirror:.3f}, publisher {epoch.publisher:.3f}",
            flush=True,
        )
    return epochs


def watched_rows(epochs: Sequence[Epoch], *, judged: bool) -> Iterator[Row]:
    """The rows that follow from epochs of which neighbours, two by two, make a pair."""
    watched = [epoch for epoch in epochs if epoch.watched]
    cost = statistics.mean(epoch.watching for epoch in watched)
    yield Row("watched, parts", cost, 1.0, "training", "CPU s/s", "lower", BAR_WATCHED, judged)
    pairs = [
        sorted(pair, key=lambda epoch: epoch.watched) for pair in zip(epochs[::2], epochs[1::2], strict=True)
    ]
    ratios = [bare.whole / seen.whole for bare, seen in pairs]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (0.0, 0.0, 1.0)
    spread = (high - low) / 2
    yield Row(
        f"watched, {len(pairs)} pairs ± {spread:.1%}", statistics.median(ratios), 1.0, "unwatched",
        "of its samples/CPU s", "higher", 1 - BAR_WATCHED,
        judged and len(pairs) >= _FEWEST_PAIRS and spread / math.sqrt(len(pairs)) < BAR_WATCHED / 2,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
