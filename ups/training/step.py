"""One optimizer step: gradients of some micro-batches, then one move of the weights.

Losses are read from the device once per step. A loss that is not finite keeps the optimizer from
moving; memory that runs out halves the micro-batches, once, and keeps the effective batch. Of several
processes each computes its own samples of every micro-batch, and all decide the same.
"""

import contextlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.data.sampling import Batch
from ups.errors import TrainingError
from ups.events import EventType
from ups.models.draws import drawing_for
from ups.training.augment import augmented, to_device
from ups.training.batch import Moment, TensorBatch
from ups.training.distributed import Group
from ups.training.job import EventSink
from ups.training.optim import Hybrid
from ups.training.parallel import Parallel
from ups.training.state import Progress
from ups.training.tensors import whole

Terms = dict[str, float]
Losses = list[Terms]
"""Of each micro-batch."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step has measured."""

    losses: list[tuple[str, int, Terms]]
    """Of each micro-batch: its task, its samples, and its losses by name, `loss` the weighted sum."""
    grad_norm: float
    """Before clipping."""
    skipped: bool = False
    """A loss or the gradient was not finite, and the weights have not moved."""


@dataclass(slots=True)
class Stepper:
    """Makes the optimizer steps of a stage."""

    config: TrainConfig
    stage: str
    module: nn.Module
    objective: nn.Module
    """The module's `Objective`, whose backward passes exchange gradients."""
    optimizer: Hybrid
    progress: Progress
    device: str
    sink: EventSink
    record: Path
    """Where the samples of a loss that is not finite are named."""
    group: Group
    parallel: Parallel
    _rehearsed: set[tuple[str, torch.Size]] = field(default_factory=set)
    """Tasks and windows for which memory is known to suffice."""

    def step(
        self, batches: Sequence[Batch], moment: Moment, factor: float, random: np.random.Generator
    ) -> Measured:
        """Train on the micro-batches of one step.

        Args:
            batches: they count the same, whatever their size.
            moment: when this is.
            factor: share of the full learning rate.
            random: of the augmentation.

        Raises:
            TrainingError: a loss or the gradient is not finite, more often than the config tolerates,
                or memory runs out although the micro-batches are halved.
        """
        tensors = [self._prepared(batch, random) for batch in batches]
        values = self._computed(tensors, moment)
        losses = [(batch.task, len(batch), terms) for batch, terms in zip(batches, values, strict=True)]
        norm = self._clipped_norm()  # of gradients that all processes share, as they do the losses
        broken = [i for i, (*_, terms) in enumerate(losses) if not math.isfinite(terms["loss"])]
        finite = not broken and math.isfinite(norm)
        if finite:
            self.optimizer.step(factor)
        self.module.zero_grad(set_to_none=True)
        if finite:
            return Measured(losses, norm)
        value = losses[broken[0]][2]["loss"] if broken else norm
        self._tolerate("loss" if broken else "gradient", value, [batches[i] for i in broken] or batches)
        return Measured([], norm, skipped=True)

    def _prepared(self, batch: Batch, random: np.random.Generator) -> TensorBatch:
        tensors = to_device(batch, self.device)
        return augmented(tensors, random) if self.config.training.augment else tensors

    def _computed(self, batches: Sequence[TensorBatch], moment: Moment) -> Losses:
        """Gradients and losses of a step's micro-batches."""
        if self.group.ranks.world_size == 1:
            return self._with_less_memory(lambda: self._accumulate(batches, moment))
        for batch in batches:
            kind = batch.task, batch.targets.shape
            if self.parallel.can_rehearse and kind not in self._rehearsed:
                self._with_less_memory(partial(self._rehearse, batch, moment))
                self._rehearsed.add(kind)
        return self._accumulate(batches, moment)

    def _rehearse(self, batch: TensorBatch, moment: Moment) -> Losses:
        """Try whether memory suffices before gradients are exchanged: then nobody may drop out any more."""
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            for part in self._parts(batch):
                self._pass(part, moment, 1.0, exchange=False)
        self.module.zero_grad(set_to_none=True)
        return []

    def _accumulate(self, batches: Sequence[TensorBatch], moment: Moment) -> Losses:
        """Add up the gradients; per micro-batch its losses by name, means over all processes' samples."""
        names, rows = [], []
        for number, batch in enumerate(batches):
            parts, total = self._parts(batch), dict[str, Tensor]()
            for index, part in enumerate(parts):
                share = len(part) / len(batch)
                last = number == len(batches) - 1 and index == len(parts) - 1
                for name, value in self._pass(part, moment, share / len(batches), exchange=last).items():
                    total[name] = total[name] + share * value if name in total else share * value
            names.append(list(total))
            rows.append(torch.stack(list(total.values())).float())
        values = torch.split(self.parallel.average(torch.cat(rows)).cpu(), list(map(len, rows)))
        return [dict(zip(keys, row.tolist(), strict=True)) for keys, row in zip(names, values, strict=True)]

    def _parts(self, batch: TensorBatch) -> list[TensorBatch]:
        size = -(-len(batch) // self.progress.split)
        return [batch.part(first, first + size) for first in range(0, len(batch), size)]

    def _pass(self, part: TensorBatch, moment: Moment, factor: float, *, exchange: bool) -> dict[str, Tensor]:
        """Add `factor` times a part's gradient; returns this process's share of its mean losses.

        Args:
            part: the samples of all processes.
            moment: when this is.
            factor: of the loss.
            exchange: it is the step's last, which may average what has been added up over the processes.
        """
        share = self.group.share_of(len(part))
        rows = share.rows
        mine = part if rows is None else part.part(rows.first, rows.end)
        with contextlib.nullcontext() if exchange else self.parallel.apart(self.objective):
            with drawing_for(rows):
                loss, terms = self.objective(mine, moment)
            # gradients are averaged over the processes: each counts as many times as there are
            torch.autograd.backward(loss * (factor * share.weight * self.group.ranks.world_size))
        return {name: share.weight * value for name, value in {"loss": loss.detach(), **terms}.items()}

    def _with_less_memory(self, compute: Callable[[], Losses]) -> Losses:
        """The result of `compute`, tried again with halved micro-batches where memory runs out anywhere."""
        random = torch.get_rng_state()
        found = self._unless_memory_runs_out(compute)
        if not self.group.any(found is None):
            assert found is not None
            return found
        if self.progress.split > 1:
            raise TrainingError(
                f"memory runs out in {self.stage} although the micro-batches are halved",
                hint="lower training.batch_size and raise training.accum_steps as much",
            )
        self.progress.split = 2
        self.module.zero_grad(set_to_none=True)
        torch.set_rng_state(random)
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        self.sink.write(
            EventType.WARNING, code="memory",
            message=f"memory ran out at step {self.progress.step + 1} of {self.stage}: from here on every"
            " micro-batch is computed in two halves; the effective batch is the same",
            hint="a smaller training.batch_size with more training.accum_steps does this from the start",
        )  # fmt: skip
        return self._with_less_memory(compute)

    def _unless_memory_runs_out(self, compute: Callable[[], Losses]) -> Losses | None:
        try:
            return compute()
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            return None

    def _clipped_norm(self) -> float:
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        limit = self.config.training.grad_clip or math.inf
        return float(whole(nn.utils.clip_grad_norm_(parameters, limit, foreach=True)))

    def _tolerate(self, what: str, value: float, batches: Sequence[Batch]) -> None:
        """Name the samples, and stop unless the config tolerates another such step."""
        progress, first = self.progress, batches[0]
        progress.nonfinite += 1
        record = {
            "stage": self.stage, "epoch": progress.epoch, "step": progress.step + 1, what: str(value),
            "task": first.task, "samples": first.samples.tolist(), "frames": first.frames.tolist(),
        }  # fmt: skip
        if self.group.is_main:
            self.record.write_text(json.dumps(record, indent=1), encoding="utf-8")
        tasks = ", ".join(dict.fromkeys(batch.task for batch in batches))
        message = f"the {what} of {tasks} is {value} at step {progress.step + 1} of {self.stage}"
        tolerated = self.config.training.skip_nonfinite
        if progress.nonfinite > tolerated:
            raise TrainingError(
                message,
                hint=f"{self.record.name} in the run directory names the samples: look at them, or lower the"
                " rate; --skip-nonfinite N passes over N such steps",
            )
        self.sink.write(
            EventType.WARNING, code="nonfinite", message=f"{message}: the step is left out",
            hint=f"{progress.nonfinite} of {tolerated} tolerated; {self.record.name} names the samples",
        )  # fmt: skip


def _out_of_memory(error: RuntimeError) -> bool:
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _cuda_devices(device: str) -> list[str]:
    return [device] if device.startswith("cuda") else []
