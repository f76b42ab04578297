"""How long a run has still to go, from measured times: steps, the rest of an epoch, and the evaluation."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from ups.config import TrainConfig
from ups.data.outline import Outline
from ups.data.split import Split
from ups.physics import symmetries

_KEPT = 0.9
"""Of what was measured before, at each further measurement: the last ten or so decide."""
_FRAMES, _ROLLOUT_STEPS = 8, 10
"""Of a validation, as in `ups.training.validation`."""


@dataclass(frozen=True, slots=True)
class Work:
    """Predictions times samples."""

    validation: float
    evaluation: float

    @classmethod
    def of(cls, splits: Collection[Split], config: TrainConfig) -> "Work":
        """Of a run whose tasks have these validation splits; those for tests are taken to be like them."""
        return cls(validation_work(splits, config), 2 * evaluation_work(splits, config))


@dataclass(slots=True)
class _Rate:
    """Seconds per unit, the newest measurements weighing most."""

    seconds: float = 0.0
    units: float = 0.0

    def add(self, seconds: float, units: float) -> None:
        self.seconds = _KEPT * self.seconds + seconds
        self.units = _KEPT * self.units + units

    def of(self, units: float) -> float:
        """Seconds of so many units; 0 while nothing was measured."""
        return units * self.seconds / self.units if self.units else 0.0


class Pace:
    """Measures a stage's epochs as they pass."""

    def __init__(
        self,
        per_epoch: float,
        work: Work,
        measured: tuple[float, int] = (0.0, 0),
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Nothing has been measured yet, but what a checkpoint tells.

        Args:
            per_epoch: samples of an epoch.
            work: what validations and the evaluation have to predict.
            measured: seconds that the stage's steps have taken before, and their samples.
            clock: monotonic seconds.
        """
        self._per_epoch = per_epoch
        self._work = work
        self._clock = clock
        self._sample, self._rest, self._predicted = _Rate(), _Rate(), _Rate()
        seconds, samples = measured
        if samples:
            self._sample.add(seconds / samples, 1.0)  # weighs little beside what is measured here
        self._mark: float | None = None

    def begin_epoch(self) -> None:
        """Its steps follow; since the last one's there was validation, checkpoint, rollouts."""
        now = self._clock()
        if self._mark is not None:
            self._rest.add(now - self._mark, 1)
        self._mark = now

    def trained(self, samples: int) -> None:
        """So many samples since the last word."""
        now = self._clock()
        if self._mark is not None and samples:
            self._sample.add(now - self._mark, samples)
        self._mark = now

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Around one set of weights' validation."""
        started = self._clock()
        yield
        self._predicted.add(self._clock() - started, self._work.validation)

    def training_s(self, samples: float) -> float | None:
        """Seconds to train on so many samples, with all else that their epochs bring; None: unknown yet."""
        if not self._sample.units:
            return None
        return self._sample.of(samples) + self._rest.of(samples / self._per_epoch)

    @property
    def evaluation_s(self) -> float:
        """Seconds of the final evaluation; 0 before a validation was measured."""
        return self._predicted.of(self._work.evaluation)

    @property
    def next_s(self) -> float:
        """Seconds of a further epoch and the evaluation after it, as far as they are known."""
        return (self.training_s(self._per_epoch) or 0.0) + self.evaluation_s

    def told(self, samples: float) -> dict[str, float | None]:
        """What a `progress` event says of so many samples to go: when the phase ends, and the evaluation."""
        eta = self.training_s(samples)
        if eta is None:
            return {"eta_s": None, "run_eta_s": None}
        return {"eta_s": round(eta, 1), "run_eta_s": round(eta + self.evaluation_s, 1)}


def validation_work(splits: Iterable[Split], config: TrainConfig) -> float:
    """Predictions of one validation, times samples."""
    most, stride = config.evaluation.validation_samples, config.training.time_stride
    work = 0.0
    for outline, spec in ((Outline.of(split), split.spec) for split in splits):
        steps = max(0, (outline.frames - 1) // stride)
        predictions = 1 if spec.static else min(_FRAMES, steps) + min(_ROLLOUT_STEPS, steps)
        work += min(most, outline.samples) * predictions
    return work


def evaluation_work(splits: Iterable[Split], config: TrainConfig) -> float:
    """The same of the final evaluation of whole splits: guarded, unguarded, plain, averaged."""
    evaluation, stride = config.evaluation, config.training.time_stride
    work = 0.0
    for outline, spec in ((Outline.of(split), split.spec) for split in splits):
        grid = outline.extent if len(outline.extent) == spec.spatial_dims else (1,) * spec.spatial_dims
        averaged = evaluation.symmetric_average and spec.spatial_dims > 1
        maps = len(symmetries(spec, grid)) if averaged else 1
        steps = max(1, (outline.frames - 1) // stride)
        rolled = min(evaluation.rollout_steps or steps, steps)
        # one step averaged and plain, its reconstruction, and two rollouts
        predictions = maps + 2 if spec.static else steps * (maps + 2) + 2 * rolled * maps
        work += outline.samples * predictions
    return work
