"""The training loop, the same for every stage.

Schedules count samples, never seconds. Every epoch ends with a validation and a checkpoint, and that
is where a run stops when it is asked to and where it goes on after it was killed.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import nn

from ups.config import TrainConfig
from ups.data.sampling import PairSampler
from ups.events import EventType
from ups.training import state as states
from ups.training.batch import Moment
from ups.training.curriculum import rollout_steps, task_shares
from ups.training.curves import TaskCurves
from ups.training.distributed import Group
from ups.training.job import EventSink, TrainingJob
from ups.training.optim import rate_factor
from ups.training.pace import Pace, Work
from ups.training.parallel import Parallel, gather, lay_out, parallel
from ups.training.rollouts import write_rollouts
from ups.training.saving import Saver
from ups.training.setup import TaskData
from ups.training.state import TrainingState
from ups.training.step import Stepper
from ups.training.stream import DataWait, EpochPlan, epoch_batches, read_ahead
from ups.training.tensors import own
from ups.training.trainee import Schedule, Trainee
from ups.training.validation import Validation, mean_nrmse, validate
from ups.training.vigil import Vigil

_ROLLOUTS_PER_STAGE = 8
HowItEnded = Literal["finished", "stopped", "paused", "enough"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What some stages have done together."""

    epochs: int = 0
    steps: int = 0
    samples: int = 0

    def plus(self, epochs: int, steps: int, samples: int) -> "Totals":
        return Totals(self.epochs + epochs, self.steps + steps, self.samples + samples)


@dataclass(slots=True)
class StageLoop:
    """Trains one stage from a state to its end."""

    job: TrainingJob
    sink: EventSink
    data: Mapping[str, TaskData]
    samplers: Mapping[str, PairSampler]
    trainee: Trainee
    state: TrainingState
    group: Group
    done: Totals = Totals()
    """What the stages before have done."""
    later: int = 0
    """Samples of the stages after, as planned."""
    pause_at: int | None = None
    """Epochs after which further tasks join; None: all have."""
    data_wait: DataWait = field(default_factory=DataWait)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        progress, schedule = self.state.progress, self.schedule
        work = Work.of([entry.validation for entry in self.data.values()], self.config)
        self.pace = Pace(schedule.samples / schedule.epochs, work, (progress.seconds, progress.samples))

    @property
    def config(self) -> TrainConfig:
        return self.job.spec.config

    @property
    def schedule(self) -> Schedule:
        return self.trainee.schedule

    def run(self) -> HowItEnded:
        """Train until the last epoch, the end of patience, a request to stop, or until further tasks join.

        `enough`: the job has said so, at a checkpoint whose weights are to be evaluated.
        """
        by = parallel(self.config, self.group, self.job.device)
        with Saver(self.job.run_dir, self.sink) as saver:
            how = self._run(by, saver)
            self.group.from_main(saver.wait)  # whoever goes on from here reads what is written
        if how == "finished":
            gather(self.state, by)
        return how

    def _run(self, by: Parallel, saver: Saver) -> HowItEnded:
        curves = TaskCurves(self.trainee.stage, self.sink)
        stepper = self._stepper(by)
        progress, enough = self.state.progress, False
        if progress.epoch and not progress.finished and self._is_enough():
            return "enough"  # it was, when this was killed
        while not progress.finished:
            self._train_epoch(stepper, curves, saver)
            progress.epoch += 1
            last, enough = progress.epoch == self.schedule.epochs, self._is_enough()
            due = last or enough or progress.epoch % self.config.evaluation.every == 0
            score = self._validate(by) if due else None
            progress.finished = last or self._out_of_patience()
            if progress.finished or self._is_rollout_epoch():
                self._write_rollouts(by)
            self._save(score, saver)
            if self.group.from_main(self.job.should_stop) and not progress.finished:
                return "stopped"
            if enough and not progress.finished:
                return "enough"
            if progress.epoch == self.pause_at and not progress.finished:
                return "paused"
        return "finished"

    def _stepper(self, by: Parallel) -> Stepper:
        state = self.state
        objective = lay_out(state, self.trainee, self.config, by)
        return Stepper(
            config=self.config, stage=self.trainee.stage, module=state.module,
            objective=objective, optimizer=state.optimizer,
            progress=state.progress, device=self.job.device, sink=self.sink,
            record=self.job.run_dir.root / "nonfinite.json", group=self.group, parallel=by,
        )  # fmt: skip

    def _plan(self) -> EpochPlan:
        training, progress = self.config.training, self.state.progress
        epoch = self.schedule.first_epoch + progress.epoch
        pairs = {task: len(entry.pairs) for task, entry in self.data.items()}
        unrolled = rollout_steps(self.config, epoch) if self.schedule.unrolled else 1
        return EpochPlan(
            shares=task_shares(self.config, epoch, pairs, progress.nrmse),
            sizes={task: training.batch_size_of(task) for task in self.data},
            steps={task: entry.pairs.most_steps(unrolled) for task, entry in self.data.items()},
            samples=self._end_of_epoch() - progress.samples,
            accumulate=training.accum_steps,
        )

    def _end_of_epoch(self) -> int:
        """Samples of the stage at the end of the current epoch."""
        return round(self.schedule.samples * (self.state.progress.epoch + 1) / self.schedule.epochs)

    def _train_epoch(self, stepper: Stepper, curves: TaskCurves, saver: Saver) -> None:
        training, state, progress = self.config.training, self.state, self.state.progress
        end, started = self._end_of_epoch(), time.perf_counter()
        curves.start_epoch()
        self.pace.begin_epoch()
        told = progress.samples
        state.module.train()
        # a stream of its own, so that it does not matter how far ahead batches are drawn
        augmentation = np.random.default_rng(int(state.random.integers(2**63)))
        batches = epoch_batches(self._plan(), self.samplers, state.rotation, state.random)
        for group in self.data_wait.over(read_ahead(batches, self._read_ahead_depth())):
            done = progress.samples / self.schedule.samples
            epochs = self.schedule.first_epoch + done * self.schedule.epochs
            factor = rate_factor(done, training.warmup)
            measured = stepper.step(group, Moment(epochs, progress.step), factor, augmentation)
            for task, samples, losses in measured.losses:
                curves.add(task, samples, losses)
            progress.samples += sum(map(len, group))
            progress.step += 1
            if not measured.skipped:
                self._average()
            saver.check()
            if progress.step % training.log_every == 0 or progress.samples >= end:
                rate = state.optimizer.rate * factor
                curves.write(
                    epoch=progress.epoch, step=progress.step, rate=rate, grad_norm=measured.grad_norm
                )
                self.pace.trained(progress.samples - told)
                told = progress.samples
                self._report_progress()
        progress.seconds += time.perf_counter() - started

    def _read_ahead_depth(self) -> int:
        training = self.config.training
        return training.num_workers and training.num_workers * (training.prefetch_factor or 2)

    def _average(self) -> None:
        """Move the average of the weights towards them."""
        decay, state = self.config.training.ema_decay, self.state
        if state.ema is None or decay is None:
            return
        # the average of a young run must not remember its first weights
        decay = min(decay, state.progress.step / (9 + state.progress.step))
        with torch.no_grad():
            averages, weights = (
                [own(parameter.data) for parameter in module.parameters()]
                for module in (state.ema, state.module)
            )
            torch._foreach_lerp_(averages, weights, 1 - decay)

    def _validate(self, by: Parallel) -> float | None:
        """Judge the weights, and their average where there is one; returns the tasks' mean nRMSE.

        None while not all tasks have joined: such a score says nothing beside one of all tasks.
        """
        evaluation, progress = self.config.evaluation, self.state.progress
        files = {task: entry.validation for task, entry in self.data.items()}

        def judge(module: nn.Module) -> dict[str, Validation]:
            whole = by.gathered(module)
            return self.group.from_main(
                lambda: validate(
                    self.trainee.predictor(whole), files,
                    samples=evaluation.validation_samples, batch_size=evaluation.batch_size,
                )
            )  # fmt: skip

        with self.pace.judging():
            results = judge(self.state.module)
        if self.state.ema is not None:
            averaged = judge(self.state.ema)
            self.state.use_ema = mean_nrmse(averaged) < mean_nrmse(results)
            results = averaged if self.state.use_ema else results
        score = mean_nrmse(results)
        progress.nrmse = {task: result.nrmse for task, result in results.items()}
        of_all = len(results) == len(self.config.data.task)
        if of_all:
            self._compare(score)
        rows: list[tuple[str | None, dict[str, float]]] = [
            *((task, {**result.values(), **self._reference(task)}) for task, result in results.items()),
            (None, {"nrmse": score}),
        ]  # fmt: skip
        said = self._vigil().note(progress.nrmse, score if of_all else None)
        for task, values in rows:
            self.sink.write(
                EventType.METRIC, stage=self.trainee.stage, epoch=progress.epoch, step=progress.step,
                task=task, split="val", values=values, **said.get(task, {}),
            )  # fmt: skip
        return score if of_all else None

    def _compare(self, score: float) -> None:
        """Count the epochs since the best score."""
        progress = self.state.progress
        better = progress.best_score is None or score < progress.best_score
        if better and math.isfinite(score):
            progress.best_score, progress.epochs_since_best = score, 0
        else:
            progress.epochs_since_best += self.config.evaluation.every

    def _reference(self, task: str) -> dict[str, float]:
        known = self.trainee.reference
        return {"operator_nrmse": known[task]} if task in known else {}

    def _save(self, score: float | None, saver: Saver) -> None:
        """Let a checkpoint be written while training goes on."""
        began = time.perf_counter()
        tensors = states.tensors_of(self.trainee, self.state)
        self.group.from_main(
            lambda: saver.save(
                states.snapshot(self.config, self.trainee, self.state, score, tensors), since=began
            )
        )

    def _write_rollouts(self, by: Parallel) -> None:
        files = {task: entry.validation for task, entry in self.data.items()}
        whole, step = by.gathered(self.state.judged), self.done.steps + self.state.progress.step
        self.group.from_main(
            lambda: write_rollouts(self.trainee.predictor(whole), files, self.job.run_dir, step, self.sink)
        )

    def _vigil(self) -> Vigil:
        return Vigil(self.trainee.stage, self.config, self.schedule.epochs, self.state.progress, self.sink)

    def _out_of_patience(self) -> bool:
        patience, progress = self.schedule.patience, self.state.progress
        is_out = patience is not None and progress.epochs_since_best >= patience
        if is_out and progress.epoch < self.schedule.epochs:
            self._vigil().end(progress.epochs_since_best)
        return is_out

    def _is_enough(self) -> bool:
        """Whether training has to end here, for what follows to have its time."""
        reason = self.group.from_main(lambda: self.job.enough(self.pace.next_s))
        if reason is not None:
            self._vigil().enough(reason)
        return reason is not None

    def _is_rollout_epoch(self) -> bool:
        every = math.ceil(self.schedule.epochs / _ROLLOUTS_PER_STAGE)
        return self.state.progress.epoch == 1 or self.state.progress.epoch % every == 0

    def _report_progress(self) -> None:
        total = self.done.samples + self.schedule.samples + self.later
        done = min(self.done.samples + self.state.progress.samples, total)
        self.sink.write(
            EventType.PROGRESS, phase="train", task=None, done=done, total=total, unit="samples",
            data_wait=round(self.data_wait.share(), 4), **self.pace.told(total - done),
        )  # fmt: skip
