"""One task set and budget: which trainings it takes, which candidates win, and the rows that follow."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.support.comparison import Row
from benchmarks.support.datasets import Datasets
from benchmarks.support.peers import Architecture, Candidate, candidates
from benchmarks.support.scoring import Score, persistence
from benchmarks.support.trials import Kind, Outcome, Runner, Scores, Trial
from ups.data.fields import Fields
from ups.tasks import task_spec

BAR_MEAN = 0.5
BAR_WORST = 0.95
_FNO = "FNO per task"


def planned_trainings(seeds: int, *, quick: bool, explained: bool) -> int:
    """How many times the budget a contest trains: ours, the tuned FNOs, and three things that explain it."""
    tried = len(_tried("fno", "advection1d", quick=quick))
    return seeds + (tried + seeds - 1) + 3 * explained


def share_of(total_seconds: float, tasks: Sequence[str]) -> float:
    """The CPU seconds of each task's own network where all of them together have `total_seconds`."""
    return total_seconds / len(tasks)


def best_of(scores: Mapping[Candidate, Score]) -> Candidate:
    """The candidate with the best validation score; one that diverged loses to all that did not."""

    def rank(candidate: Candidate) -> float:
        value = scores[candidate].choice
        return value if math.isfinite(value) else math.inf

    return min(scores, key=rank)


def medians(outcomes: Sequence[Scores]) -> dict[str, Score]:
    """Per task, the median over seeds of each figure."""
    return {
        task: Score(
            statistics.median(scores[task].one_step for scores in outcomes),
            None if first.rollout is None else statistics.median(_rollouts(s[task] for s in outcomes)),
        )
        for task, first in outcomes[0].items()
    }


def summary(scores: Scores) -> dict[str, float]:
    """Geometric means over the tasks of one step, and over the time steppers of the rollout."""
    return {
        "one-step": _geometric([score.one_step for score in scores.values()]),
        "rollout": _geometric(_rollouts(scores.values())),
    }


@dataclass(frozen=True, slots=True)
class Contest:
    """Ours against the peers on one task set at one budget."""

    tasks: tuple[str, ...]
    budget: float
    """CPU seconds in all that each side may train."""
    seeds: tuple[int, ...]
    runner: Runner
    datasets: Datasets
    quick: bool
    explained: bool = True
    """Train also what shows where the gain comes from."""

    def rows(self) -> list[Row]:
        """Train what has to be trained, and compare."""
        joint = {seed: Trial(Kind.OURS, self.tasks, self.budget, seed) for seed in self.seeds}
        ours = self.runner.run(list(joint.values()))
        seconds = {seed: share_of(ours[trial].cpu_seconds, self.tasks) for seed, trial in joint.items()}
        winners, tried = self._tuned(seconds[self.seeds[0]])
        again = [
            Trial(Kind.PEER, (task,), seconds[seed], seed, winner)
            for seed in self.seeds[1:]
            for task, winner in winners.items()
        ]
        rest = self.runner.run(again)
        peers = [_joined(tried, winners)]
        for seed in self.seeds[1:]:
            peers.append(_merged(rest[trial] for trial in again if trial.seed == seed))
        mine = [ours[trial] for trial in joint.values()]
        fno, best = medians(peers), medians([outcome.of("test") for outcome in mine])
        beside = {
            "without guards": medians([outcome.of("test", "unguarded") for outcome in mine]),
            "without symmetric averaging": medians([outcome.of("test", "plain") for outcome in mine]),
        }
        others = {"persistence": self._persistence()}
        if self.explained:
            bare, more = self._explanations(seconds[self.seeds[0]], winners)
            beside["without transport skip"] = bare
            others |= more
        return [
            *self._judged(best, fno),
            *(row for name, scores in beside.items() for row in self._pair(f"{name}: ", scores, fno, _FNO)),
            *(row for name, scores in others.items() for row in self._pair("ours: ", best, scores, name)),
        ]

    def _explanations(
        self, seconds: float, winners: Mapping[str, Candidate]
    ) -> tuple[Scores, dict[str, Scores]]:
        """Ours without the transport skip, and peers that are given more or built otherwise; first seed."""
        first = self.seeds[0]
        bare = Trial(Kind.WITHOUT_TRANSPORT, self.tasks, self.budget, first)
        given = [Trial(Kind.PEER_GIVEN, (task,), seconds, first, c) for task, c in winners.items()]
        unets = [
            Trial(Kind.PEER, (task,), seconds, first, _tried("unet", task, quick=self.quick)[0])
            for task in self.tasks
        ]
        found = self.runner.run([bare, *given, *unets])
        return found[bare].of("test"), {
            "FNO given our sampling, guards, averaging": _merged(found[trial] for trial in given),
            "U-Net": _merged(found[trial] for trial in unets),
        }

    def _tuned(self, seconds: float) -> tuple[dict[str, Candidate], dict[tuple[str, Candidate], Outcome]]:
        """The FNO that validation prefers for each task, and every one that was tried."""
        trials = {
            (task, candidate): Trial(Kind.PEER, (task,), seconds, self.seeds[0], candidate)
            for task in self.tasks
            for candidate in _tried("fno", task, quick=self.quick)
        }
        outcomes = self.runner.run(list(trials.values()))
        tried = {key: outcomes[trial] for key, trial in trials.items()}
        winners = {
            task: best_of({c: tried[name, c].of("val")[task] for name, c in tried if name == task})
            for task in self.tasks
        }
        return winners, tried

    def _judged(self, ours: Scores, fno: Scores) -> list[Row]:
        """The rows that have bars, then each task's own."""
        rows = self._pair("geomean ", ours, fno, _FNO, bar=BAR_MEAN)
        singles = [
            row
            for task in self.tasks
            for row in self._pair(f"{task} ", {task: ours[task]}, {task: fno[task]}, "FNO")
        ]
        worst = max(singles, key=lambda row: row.ratio or 0.0)
        task, _, figure = worst.what.partition(" ")
        name = f"FNO, {task} {figure.partition(',')[0]}"
        return [*rows, self._row("worst task", worst.ours, worst.peer, name, BAR_WORST), *singles]

    def _pair(
        self, prefix: str, ours: Scores, peer: Scores, peer_name: str, bar: float | None = None
    ) -> list[Row]:
        """One step and rollout of one comparison; without the rollout where no task has one."""
        mine, other = summary(ours), summary(peer)
        return [
            self._row(f"{prefix}{name}", mine[name], other[name], peer_name, bar)
            for name in mine
            if name == "one-step" or _rollouts(ours.values())
        ]

    def _row(self, what: str, ours: float, peer: float, peer_name: str, bar: float | None) -> Row:
        where = f"{what}, {len(self.tasks)} tasks, {self.budget:g} s"
        return Row(where, ours, peer, peer_name, "nRMSE", "lower", bar, judged=not self.quick)

    def _persistence(self) -> dict[str, Score]:
        return {
            task: persistence(*(Fields.open(self.datasets[task][split]) for split in ("train", "test")))
            for task in self.tasks
        }


def _tried(architecture: Architecture, task: str, *, quick: bool) -> tuple[Candidate, ...]:
    found = candidates(architecture, task_spec(task))
    return found[:1] if quick else found


def _joined(
    tried: Mapping[tuple[str, Candidate], Outcome], winners: Mapping[str, Candidate]
) -> dict[str, Score]:
    return _merged(tried[task, candidate] for task, candidate in winners.items())


def _merged(outcomes: Iterable[Outcome]) -> dict[str, Score]:
    """The test scores of several single-task trainings."""
    return {task: score for outcome in outcomes for task, score in outcome.of("test").items()}


def _rollouts(scores: Iterable[Score]) -> list[float]:
    return [score.rollout for score in scores if score.rollout is not None]


def _geometric(values: Sequence[float]) -> float:
    """Geometric mean; not a number of nothing, or of anything that is not finite."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    return math.exp(statistics.fmean(math.log(max(value, 1e-12)) for value in values))
