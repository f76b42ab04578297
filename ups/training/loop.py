"""The training loop of a stage.

Schedules count samples, never seconds. Every epoch ends with a validation and a checkpoint, and that
is where a run stops when it is asked to and where it goes on after it was killed.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ups.config import StageName, TrainConfig
from ups.data.sampling import Batch, PairSampler
from ups.errors import TrainingError
from ups.evaluation.predictor import Predictor
from ups.events import EventType
from ups.models.operator import LatentOperator
from ups.training import state as states
from ups.training.augment import augmented, to_device
from ups.training.curriculum import task_shares
from ups.training.curves import TaskCurves
from ups.training.job import EventSink, TrainingJob
from ups.training.losses import OPERATOR_LOSSES
from ups.training.optim import rate_factor
from ups.training.rollouts import write_rollouts
from ups.training.setup import TaskData
from ups.training.state import TrainingState
from ups.training.validation import Validation, mean_nrmse, validate

_ROLLOUTS_PER_STAGE = 8


@dataclass(slots=True)
class StageLoop:
    """Trains the operator stage from a state to its end."""

    job: TrainingJob
    sink: EventSink
    data: Mapping[str, TaskData]
    samplers: Mapping[str, PairSampler]
    state: TrainingState
    stage: StageName = "operator"

    @property
    def config(self) -> TrainConfig:
        return self.job.spec.config

    @property
    def epochs(self) -> int:
        return self.config.stages.operator.epochs

    @property
    def samples_per_epoch(self) -> int:
        return self.config.training.samples_per_epoch or sum(len(entry.pairs) for entry in self.data.values())

    def run(self) -> Literal["finished", "stopped"]:
        """Train until the last epoch, the end of patience, or a request to stop."""
        curves = TaskCurves(self.stage, self.sink)
        progress = self.state.progress
        while not progress.finished:
            self._train_epoch(curves)
            progress.epoch += 1
            last = progress.epoch == self.epochs
            due = last or progress.epoch % self.config.evaluation.every == 0
            score = self._validate() if due else None
            progress.finished = last or self._out_of_patience()
            if progress.finished or self._is_rollout_epoch():
                files = {task: entry.validation for task, entry in self.data.items()}
                write_rollouts(
                    self._predictor(self.state.judged), files, self.job.run_dir, progress.step, self.sink
                )
            self._save(score)
            if self.job.should_stop() and not progress.finished:
                return "stopped"
        return "finished"

    def _train_epoch(self, curves: TaskCurves) -> None:
        training, progress = self.config.training, self.state.progress
        sizes = {task: training.batch_size_of(task) for task in self.data}
        pairs = {task: len(entry.pairs) for task, entry in self.data.items()}
        shares = task_shares(self.config, progress.epoch, pairs, progress.nrmse)
        end = (progress.epoch + 1) * self.samples_per_epoch
        total = self.epochs * self.samples_per_epoch
        curves.start_epoch()
        self.state.model.train()
        while progress.samples < end:
            factor = rate_factor(progress.samples / total, training.warmup)
            for _ in range(training.accum_steps):
                task = self.state.rotation.next(shares, sizes)
                batch = self.samplers[task].draw(sizes[task], self.state.random)
                curves.add(task, self._backward(batch), len(batch))
                progress.samples += len(batch)
            grad_norm = self._optimizer_step(factor)
            progress.step += 1
            if progress.step % training.log_every == 0 or progress.samples >= end:
                curves.write(
                    epoch=progress.epoch, step=progress.step,
                    rate=self.state.optimizer.rate * factor, grad_norm=grad_norm,
                )  # fmt: skip
                self._report_progress(total)

    def _backward(self, batch: Batch) -> float:
        """Add the gradient of one micro-batch; returns its loss."""
        training = self.config.training
        tensors = to_device(batch, self.job.device)
        if training.augment:
            tensors = augmented(tensors, self.state.random)
        losses = [
            loss.weight * loss.compute(self.state.model, tensors, training.noise)
            for loss in OPERATOR_LOSSES
            if loss.weight
        ]
        total: Tensor = torch.stack(losses).sum()
        value = total.item()
        if not math.isfinite(value):
            self._fail_on_nonfinite(batch, value)
        torch.autograd.backward(total / training.accum_steps)
        return value

    def _optimizer_step(self, factor: float) -> float:
        """Clip, step, average; returns the norm of the gradient before clipping."""
        training, state = self.config.training, self.state
        parameters = [parameter for parameter in state.model.parameters() if parameter.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, training.grad_clip or math.inf, foreach=True))
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient is not finite at step {state.progress.step + 1} of {self.stage}",
                hint="lower the learning rate, or set training.grad_clip",
            )
        state.optimizer.step(factor)
        state.model.zero_grad(set_to_none=True)
        if state.ema is not None and training.ema_decay is not None:
            # the average of a young run must not remember its first weights
            decay = min(training.ema_decay, (1 + state.progress.step) / (10 + state.progress.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(state.ema.parameters()), list(state.model.parameters()), 1 - decay)
        return norm

    def _validate(self) -> float:
        """Judge the weights, and their average where there is one; returns the tasks' mean nRMSE."""
        evaluation, progress = self.config.evaluation, self.state.progress
        files = {task: entry.validation for task, entry in self.data.items()}

        def judge(model: LatentOperator) -> dict[str, Validation]:
            return validate(
                self._predictor(model), files,
                samples=evaluation.validation_samples, batch_size=evaluation.batch_size,
            )  # fmt: skip

        results = judge(self.state.model)
        if self.state.ema is not None:
            averaged = judge(self.state.ema)
            self.state.use_ema = mean_nrmse(averaged) < mean_nrmse(results)
            results = averaged if self.state.use_ema else results
        score = mean_nrmse(results)
        progress.nrmse = {task: result.nrmse for task, result in results.items()}
        better = progress.best_score is None or score < progress.best_score
        if better and math.isfinite(score):
            progress.best_score, progress.epochs_since_best = score, 0
        else:
            progress.epochs_since_best += evaluation.every
        rows: list[tuple[str | None, dict[str, float]]] = [
            *((task, result.values()) for task, result in results.items()), (None, {"nrmse": score}),
        ]  # fmt: skip
        for task, values in rows:
            self.sink.write(
                EventType.METRIC, stage=self.stage, epoch=progress.epoch, step=progress.step,
                task=task, split="val", values=values,
            )  # fmt: skip

        return score

    def _save(self, score: float | None) -> None:
        progress = self.state.progress
        written = states.save(self.job.run_dir.checkpoints, self.stage, self.config, self.state, score)
        self.sink.write(
            EventType.CHECKPOINT, stage=self.stage, epoch=progress.epoch,
            path=str(written.path.relative_to(self.job.run_dir.root)),
            sha256=written.sha256, bytes=written.num_bytes,
            best=score is not None and score == progress.best_score,
            files=written.state["files"],
        )  # fmt: skip

    def _out_of_patience(self) -> bool:
        patience = self.config.stages.operator.patience or self.config.training.patience
        return patience is not None and self.state.progress.epochs_since_best >= patience

    def _is_rollout_epoch(self) -> bool:
        every = math.ceil(self.epochs / _ROLLOUTS_PER_STAGE)
        return self.state.progress.epoch == 1 or self.state.progress.epoch % every == 0

    def _predictor(self, model: LatentOperator) -> Predictor:
        return Predictor(
            model.eval(), self.state.guards, torch.device(self.job.device), self.config.training.time_stride
        )

    def _report_progress(self, total: int) -> None:
        done = min(self.state.progress.samples, total)
        self.sink.write(EventType.PROGRESS, phase="train", task=None, done=done, total=total, unit="samples")

    def _fail_on_nonfinite(self, batch: Batch, value: float) -> None:
        """Keep the batch's ids for a look afterwards, then stop before the optimizer moves."""
        progress = self.state.progress
        record = {
            "stage": self.stage, "epoch": progress.epoch, "step": progress.step + 1, "task": batch.task,
            "samples": batch.samples.tolist(), "frames": batch.frames.tolist(), "loss": str(value),
        }  # fmt: skip
        path = self.job.run_dir.root / "nonfinite.json"
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
        raise TrainingError(
            f"the loss of {batch.task} is {value} at step {progress.step + 1} of {self.stage}",
            hint=f"{path.name} in the run directory names the samples: look at them, or lower the rate",
        )
