"""Single trainings of the accuracy comparison, each in a single-threaded child process.

A `Trial` says what is trained, an `Outcome` what came of it. Outcomes can be kept in a file, line by
line, so that an interrupted comparison goes on where it was.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.support.datasets import Datasets
from benchmarks.support.peers import Candidate
from benchmarks.support.scoring import Score

SPLITS = ("val", "test")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Kind(StrEnum):
    """What is trained."""

    OURS = "ours"
    WITHOUT_TRANSPORT = "ours without transport skip"
    PEER = "peer"
    PEER_GIVEN = "peer given our sampling, guards and averaging"


@dataclass(frozen=True, slots=True)
class Trial:
    """One training."""

    kind: Kind
    tasks: tuple[str, ...]
    """A peer has one task."""
    seconds: float
    """CPU seconds."""
    seed: int
    candidate: Candidate | None = None

    def __str__(self) -> str:
        what = self.kind if self.candidate is None else f"{self.candidate} {', '.join(self.tasks)}"
        given = ", given ours" if self.kind is Kind.PEER_GIVEN else ""
        return f"{what}{given}, seed {self.seed}, {self.seconds:.1f} s"

    @property
    def key(self) -> str:
        """Names it among the kept outcomes."""
        return f"{self.kind} {'+'.join(self.tasks)} {self}"


Scores = Mapping[str, Score]
"""task → score."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    cpu_seconds: float
    samples: int
    parameters: int
    """Trained values."""
    scores: Mapping[str, Scores]
    """`variant/split` → the scores of the trial's tasks; the variant `full` is always there."""

    def of(self, split: str, variant: str = "full") -> Scores:
        return self.scores[f"{variant}/{split}"]

    def to_json(self) -> dict[str, Any]:
        scores = {
            name: {task: [score.one_step, score.rollout] for task, score in entry.items()}
            for name, entry in self.scores.items()
        }
        return {
            "cpu_seconds": self.cpu_seconds, "samples": self.samples, "parameters": self.parameters,
            "scores": scores,
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Outcome":
        scores = {
            name: {task: Score(*values) for task, values in entry.items()}
            for name, entry in content["scores"].items()
        }
        return cls(content["cpu_seconds"], content["samples"], content["parameters"], scores)


def run_trial(trial: Trial, datasets: Datasets) -> Outcome:
    """Train and score; to be called in a process whose torch is single-threaded."""
    return _run_ours(trial, datasets) if trial.candidate is None else _run_peer(trial, datasets)


def _run_ours(trial: Trial, datasets: Datasets) -> Outcome:
    from benchmarks.support.ours import recipe, train_operator
    from benchmarks.support.scoring import score
    from ups.data.fields import Fields

    transport = trial.kind is not Kind.WITHOUT_TRANSPORT
    chosen = {task: datasets[task] for task in trial.tasks}
    trained = train_operator(
        chosen, partial(recipe, trial.tasks, trial.seed, transport=transport), seconds=trial.seconds
    )
    variants = {"full": trained.predictor}
    if trial.kind is Kind.OURS:
        variants["unguarded"] = trained.predictor.unguarded()
        variants["plain"] = trained.predictor.plain()
    scores = {
        f"{name}/{split}": {
            task: score(partial(predictor.step, task), Fields.open(files[split]))
            for task, files in chosen.items()
        }
        for name, predictor in variants.items()
        for split in (SPLITS if name == "full" else ("test",))
    }
    parameters = sum(parameter.numel() for parameter in trained.predictor.model.parameters())
    return Outcome(trained.cpu_seconds, trained.samples, parameters, scores)


def _run_peer(trial: Trial, datasets: Datasets) -> Outcome:
    from benchmarks.support.ours import recipe
    from benchmarks.support.peer_training import train_peer
    from benchmarks.support.scoring import score
    from ups.data.fields import Fields
    from ups.training.setup import new_operator, open_data

    assert trial.candidate is not None
    (task,) = trial.tasks
    config = recipe(trial.tasks, trial.seed, 1)
    data = open_data(config, {task: datasets[task]})
    model, guards = new_operator(config, data, trial.seed)
    given = trial.kind is Kind.PEER_GIVEN
    hard_share = config.training.hard_pair_share if given else 0.0
    peer = train_peer(
        trial.candidate, model.head(task), data[task],
        seconds=trial.seconds, seed=trial.seed, hard_share=hard_share,
    )  # fmt: skip
    if given:
        peer = peer.given(guards[task])
    scores = {
        f"full/{split}": {task: score(peer.step, Fields.open(datasets[task][split]))} for split in SPLITS
    }
    return Outcome(peer.cpu_seconds, peer.samples, peer.model.num_parameters, scores)


@dataclass(slots=True)
class Progress:
    """Prints what is done, and when the rest will be."""

    planned_seconds: float
    """Training time of all trials that will come."""
    _started: float = field(default_factory=time.monotonic)
    _done: float = 0.0
    _skipped: float = 0.0

    def finished(self, trial: Trial, outcome: Outcome, *, kept: bool) -> None:
        """Count a trial; one that was kept from an earlier call costs nothing."""
        self._done += trial.seconds
        self._skipped += trial.seconds if kept else 0.0
        figures = "; ".join(
            f"{task} {score.one_step:.4f}" + ("" if score.rollout is None else f" / {score.rollout:.4f}")
            for task, score in outcome.of("test").items()
        )
        source = "kept" if kept else f"{outcome.cpu_seconds:.1f} CPU s"
        print(f"{self.share:4.0%}  {trial}: {source}; {figures}{self._eta()}", flush=True)

    @property
    def share(self) -> float:
        """Of the planned time that is done."""
        return min(1.0, self._done / self.planned_seconds)

    def _eta(self) -> str:
        trained = self._done - self._skipped
        if not trained:
            return ""
        left = (time.monotonic() - self._started) / trained * max(0.0, self.planned_seconds - self._done)
        return f"; about {left / 60:.0f} min left"


class Runner:
    """Runs trials, several at a time, and keeps their outcomes."""

    def __init__(self, datasets: Datasets, progress: Progress, *, jobs: int, kept: Path | None) -> None:
        """Args:
        datasets: files of every task.
        progress: told of every finished trial.
        jobs: child processes.
        kept: file of outcomes, read at the start and added to; None keeps none.
        """
        self._datasets, self._progress, self._jobs, self._kept = datasets, progress, jobs, kept
        self._outcomes = dict(_read(kept)) if kept is not None and kept.exists() else {}

    def run(self, trials: Sequence[Trial]) -> dict[Trial, Outcome]:
        """The outcome of each trial."""
        outcomes: dict[Trial, Outcome] = {}
        for trial in trials:
            if trial.key in self._outcomes:
                outcomes[trial] = self._outcomes[trial.key]
                self._progress.finished(trial, outcomes[trial], kept=True)
        missing = [trial for trial in trials if trial not in outcomes]
        if not missing:
            return outcomes
        os.environ.update(dict.fromkeys(THREADS, "1"))  # read by the children when they import torch
        context = multiprocessing.get_context("spawn")
        # a child for each trial: what one leaves in memory does not slow the next
        with ProcessPoolExecutor(self._jobs, mp_context=context, max_tasks_per_child=1) as pool:
            waiting = {pool.submit(_in_child, trial, self._datasets): trial for trial in missing}
            try:
                for future in as_completed(waiting):
                    trial, outcome = waiting[future], future.result()
                    outcomes[trial] = outcome
                    self.keep(trial, outcome)
                    self._progress.finished(trial, outcome, kept=False)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return outcomes

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Add an outcome to those that are not trained again."""
        self._outcomes[trial.key] = outcome
        if self._kept is not None:
            with self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"trial": trial.key, "outcome": outcome.to_json()}) + "\n")


def _in_child(trial: Trial, datasets: Datasets) -> Outcome:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    return run_trial(trial, datasets)


def _read(path: Path) -> Iterator[tuple[str, Outcome]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.endswith("}"):  # a torn last line is left out
            entry = json.loads(line)
            yield entry["trial"], Outcome.from_json(entry["outcome"])
