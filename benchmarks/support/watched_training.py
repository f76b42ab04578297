"""A training that is watched in every other epoch, and what the watching costs.

Watched means: telemetry every 2 s, every event in the journal, each checkpoint published to a store by the
process beside training, and everything mirrored by another process. In the other epochs the same
training goes on, and its events go nowhere.
"""

import contextlib
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.support.datasets import Datasets
from benchmarks.support.mirroring import Mirroring
from remote.journal import Journal
from remote.publishing import Publishing
from remote.telemetry import Telemetry
from ups.config import TrainConfig
from ups.events import EventType
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.training.job import TrainingJob
from ups.training.run import train


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch took, with the validation and the checkpoint before it."""

    watched: bool
    wall: float
    """Seconds."""
    cpu: float
    """CPU seconds of the process that trains."""
    mirror: float
    """CPU seconds of the mirror."""
    publisher: float
    """The same of the process that publishes."""
    journal: float
    """CPU seconds of writing events, a part of `cpu`."""
    telemetry: float
    """The same of telemetry."""

    @property
    def watching(self) -> float:
        """CPU seconds of all that watches for a second of training.

        What comes with the samples counts by the CPU seconds that they take, what comes with the clock by
        the wall: on a machine that is shared a training has fewer CPU seconds than seconds.
        """
        beside = self.cpu - self.journal - self.telemetry
        return (self.journal + self.publisher) / beside + (self.telemetry + self.mirror) / self.wall

    @property
    def whole(self) -> float:
        """CPU seconds of all processes."""
        return self.cpu + self.mirror + self.publisher


@dataclass(slots=True)
class _Watch:
    """The event sink of the training."""

    run_dir: RunDirectory
    copy: Path
    samples: int
    """Of an epoch."""
    epochs: list[Epoch] = field(default_factory=list)
    _on: bool = False
    _journal_cpu: float = 0.0
    _mark: tuple[float, ...] | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _telemetry: Telemetry | None = None
    _journal: Journal = field(init=False)
    _publishing: Publishing = field(init=False)
    _mirror: Mirroring = field(init=False)

    def __enter__(self) -> "_Watch":
        self._journal = self._stack.enter_context(Journal(self.run_dir.events_path, as_json=False))
        self._publishing = self._stack.enter_context(
            Publishing(self.run_dir, self._on_published, self._journal.warn)
        )
        self._publishing.checkpoint()  # its process starts once in a run, not once an epoch
        self._mirror = Mirroring(self.run_dir.root.parent, self.copy)
        self._stack.callback(self._mirror.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch_machine(on=False)
        self._stack.close()

    def write(self, kind: EventType, **fields: Any) -> None:
        """Tell an event where this epoch is watched; the last one of an epoch ends it."""
        if self._on:
            began = time.thread_time()
            self._journal.write(kind, **fields)
            if kind is EventType.CHECKPOINT:
                self._publishing.checkpoint()
            self._journal_cpu += time.thread_time() - began
        if kind is EventType.PROGRESS and fields["phase"] == "train" and fields["done"] % self.samples == 0:
            self._next()

    def _next(self) -> None:
        now = self._now()
        if self._mark is not None:
            self.epochs.append(Epoch(self._on, *(b - a for a, b in zip(self._mark, now, strict=True))))
        # on, off, off, on: what drifts meets both alike
        self._on = len(self.epochs) % 4 in (0, 3)
        self._watch_machine(on=self._on)
        self._mark = self._now()

    def _watch_machine(self, *, on: bool) -> None:
        if self._telemetry is not None:
            self._telemetry.__exit__()
        self._telemetry = Telemetry(self._journal, self.run_dir.root).__enter__() if on else None

    def _now(self) -> tuple[float, ...]:
        """The counters of an `Epoch`, in its order."""
        mirror = self._mirror.say("on" if self._on else "off")
        child = self._publishing._child
        publisher = sum(map(_cpu_seconds, Path(f"/proc/{child.pid}/task").iterdir())) if child else 0.0
        threads = self._telemetry._threads if self._telemetry is not None else []
        telemetry = sum(_cpu_seconds(Path(f"/proc/self/task/{thread.native_id}")) for thread in threads)
        return time.perf_counter(), time.process_time(), mirror, publisher, self._journal_cpu, telemetry

    def _on_published(self, path: str, where: str, sha256: str) -> None:
        self._journal.write(EventType.PUBLISHED, path=path, where=where, sha256=sha256)


def run(config: TrainConfig, datasets: Datasets, folder: Path) -> list[Epoch]:
    """Train, and measure every epoch but the first.

    Args:
        config: `training.samples_per_epoch` decides how long an epoch is; one thread.
        datasets: the files.
        folder: for the run, its mirror and a store.
    """
    directory = RunDirectory(folder / "box" / "run")
    directory.root.mkdir(parents=True)
    spec = RunSpec(
        run="watched", name="watched", created=0.0, config=config, tasks=config.data.task,
        stages=config.stages.names, seed=config.seed, threads=1, store=f"dir:{folder / 'store'}",
        datasets={}, code_version="0", config_sha256=config_sha256(config),
    )  # fmt: skip
    directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
    samples = config.training.samples_per_epoch
    assert samples is not None
    with (
        directory.log_path.open("w") as log, contextlib.redirect_stdout(log),
        _Watch(directory, folder / "copy", samples) as watch,
    ):  # fmt: skip
        train(TrainingJob(spec, directory, datasets, "cpu"), watch)
    return watch.epochs


def _cpu_seconds(thread: Path) -> float:
    """Of a thread, by its folder below /proc."""
    try:
        return int((thread / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError, ValueError):
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
