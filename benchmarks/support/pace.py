"""Trainings that stop after every few steps and wait, so that two can be timed in alternation.

Each runs in a single-threaded child process of its own. Ours is the project's own `train`, held up in
its event sink; nothing of it is rebuilt here.
"""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from benchmarks.support.datasets import Datasets
from benchmarks.support.peers import Candidate
from benchmarks.support.trials import THREADS
from ups.events import EventType

Command = Literal["run", "profile", "stop"]
STEPS = 10
"""Optimizer steps between two stops."""
_DISPATCH_US = 15.0
"""Below this mean time per call an operation is bound by its call."""
_ARITHMETIC = ("mm", "conv", "fft")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of a profile."""

    name: str
    share: float
    """Of the CPU time of the profiled steps, without what it calls."""
    calls: int
    bound: str


@dataclass(frozen=True, slots=True)
class Segment:
    """What happened between two stops."""

    cpu_seconds: float
    samples: int
    peak_bytes: int
    """Largest resident memory so far, without mapped files, beyond that when all was imported."""
    operations: tuple[Operation, ...] = ()

    @property
    def rate(self) -> float:
        """Samples per CPU second."""
        return self.samples / self.cpu_seconds


class EndedError(RuntimeError):
    """A training ended while it was being timed; its own error is on stderr."""


class Side:
    """A training in a child process, at its first stop."""

    def __init__(self, training: Callable[..., None], *values: Any) -> None:
        """Args:
        training: `ours` or `peer`.
        values: its arguments after the connection.
        """
        os.environ.update(dict.fromkeys(THREADS, "1"))  # read by the child when it imports torch
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=training, args=(theirs, *values), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, command: Command = "run") -> Segment:
        """Go on to the next stop.

        Raises:
            EndedError: the training ended.
        """
        try:
            self._pipe.send(command)
            segment = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise EndedError("a training ended while it was being timed: its error is above") from None
        assert isinstance(segment, Segment)
        return segment

    def close(self) -> None:
        """End the child process."""
        with suppress(OSError):
            self._pipe.send("stop")
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


class _Stop(BaseException):
    """Leaves a training from within."""


@dataclass(slots=True)
class _Meter:
    """Times what lies between two commands of the parent."""

    pipe: Connection
    baseline: int = field(default_factory=lambda: _fresh_peak())
    _profiler: Any = None
    _start: float = 0.0

    def wait(self) -> None:
        """Wait for the next command and start the clock."""
        command = self.pipe.recv()
        if command == "stop":
            raise _Stop
        if command == "profile":
            from torch.profiler import ProfilerActivity, profile

            self._profiler = profile(activities=[ProfilerActivity.CPU])
            self._profiler.__enter__()
        self._start = time.process_time()

    def answer(self, samples: int) -> None:
        """Stop the clock and tell the parent."""
        seconds = time.process_time() - self._start
        operations: tuple[Operation, ...] = ()
        if self._profiler is not None:
            self._profiler.__exit__(None, None, None)
            operations, self._profiler = _first_rows(self._profiler), None
        peak = max(0, _peak_bytes() - self.baseline)
        self.pipe.send(Segment(seconds, samples, peak, operations))


@dataclass(slots=True)
class _PacedSink:
    """An event sink that stops at each report of progress."""

    meter: _Meter
    _done: int = 0

    def write(self, kind: EventType, **fields: Any) -> None:
        """Stop at a `progress` event of training; the first steps, with their lazy imports, do not count."""
        if kind is not EventType.PROGRESS or fields["phase"] != "train":
            return
        if self._done:
            self.meter.answer(int(fields["done"]) - self._done)
        self._done = int(fields["done"])
        self.meter.wait()


def ours(pipe: Connection, tasks: tuple[str, ...], task: str, datasets: Datasets, folder: Path) -> None:
    """Train the joint operator of `tasks` on samples of one of them; to be run in a child process."""
    from benchmarks.support.ours import job_of, recipe
    from ups.training.run import train

    config = recipe(tasks, 0, 10**9, only=task, log_every=STEPS)
    _warm_imports()
    with suppress(_Stop):
        train(job_of(config, datasets, folder), _PacedSink(_Meter(pipe)))


def ours_data(task: str, datasets: Datasets, *, batches: int) -> float:
    """CPU seconds that a batch of ours takes from the files to augmented tensors."""
    import numpy as np
    import torch

    from benchmarks.support.ours import recipe
    from ups.data.sampling import PairSampler
    from ups.training.augment import augmented, to_device
    from ups.training.setup import open_data

    torch.set_num_threads(1)
    config = recipe((task,), 0, 1)
    sampler = PairSampler(open_data(config, datasets)[task].pairs, hard_share=config.training.hard_pair_share)
    random = np.random.default_rng(0)
    start = time.process_time()
    for _ in range(batches):
        augmented(to_device(sampler.draw(config.training.batch_size_of(task), random), "cpu"), random)
    return (time.process_time() - start) / batches


def peer(pipe: Connection, candidate: Candidate, task: str, datasets: Datasets) -> None:
    """Train a peer; to be run in a child process."""
    from benchmarks.support.ours import recipe
    from benchmarks.support.peer_training import PeerTrainer
    from benchmarks.support.peers import require_fno
    from ups.training.setup import new_operator, open_data

    if candidate.architecture == "fno":
        require_fno()
    _warm_imports()
    meter = _Meter(pipe)
    config = recipe((task,), 0, 1)
    data = open_data(config, {task: datasets[task]})
    head = new_operator(config, data, 0)[0].head(task)
    trainer = PeerTrainer(candidate, head, data[task], seed=0, hard_share=0.0)
    with suppress(_Stop):
        trainer.step(trainer.batch(), 0.5)
        while True:
            meter.wait()
            for _ in range(STEPS):
                trainer.step(trainer.batch(), 0.5)
            meter.answer(STEPS * candidate.batch_size)


def _warm_imports() -> None:
    """Import what a first optimizer step imports, so that it counts as no one's memory."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


def _first_rows(profiler: Any) -> tuple[Operation, ...]:
    """The five operations that took most of the time, and what bounds each."""
    found = sorted(profiler.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    total = sum(entry.self_cpu_time_total for entry in found)
    return tuple(
        Operation(entry.key, entry.self_cpu_time_total / total, entry.count, _bound(entry))
        for entry in found[:5]
    )


def _bound(entry: Any) -> str:
    if entry.self_cpu_time_total / max(entry.count, 1) < _DISPATCH_US:
        return "calls"
    return "arithmetic" if any(word in entry.key for word in _ARITHMETIC) else "memory"


def _fresh_peak() -> int:
    """Forget the peak of resident memory, where the system can; returns what is resident now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_bytes()


def _peak_bytes() -> int:
    """Peak of resident memory, without the pages of mapped files: those the system can take back."""
    with suppress(OSError, KeyError):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return (int(values["VmHWM"].split()[0]) - int(values["RssFile"].split()[0])) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
