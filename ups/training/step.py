"""One optimizer step: gradients of some micro-batches, then one move of the weights.

Losses are read from the device once per step. A loss that is not finite keeps the optimizer from
moving; memory that runs out halves the micro-batches, once, and keeps the effective batch.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.data.sampling import Batch
from ups.errors import TrainingError
from ups.events import EventType
from ups.training.augment import augmented, to_device
from ups.training.batch import Moment, TensorBatch
from ups.training.job import EventSink
from ups.training.objective import Objective
from ups.training.optim import Hybrid
from ups.training.state import Progress

Terms = dict[str, float]


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
    objective: Objective
    optimizer: Hybrid
    progress: Progress
    device: str
    sink: EventSink
    record: Path
    """Where the samples of a loss that is not finite are named."""

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
        values = self._with_less_memory(lambda: self._accumulate(tensors, moment))
        losses = [
            (batch.task, len(batch), dict(zip(names, row.tolist(), strict=True)))
            for batch, (names, row) in zip(batches, values, strict=True)
        ]
        norm = self._clipped_norm()
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

    def _accumulate(self, batches: Sequence[TensorBatch], moment: Moment) -> list[tuple[list[str], Tensor]]:
        """Add up the gradients; per micro-batch the names of its losses and their values, on the device."""
        found = []
        for batch in batches:
            total: dict[str, Tensor] = {}
            size = -(-len(batch) // self.progress.split)
            for first in range(0, len(batch), size):
                part = batch.part(first, first + size)
                loss, terms = self.objective(part, moment)
                share = len(part) / len(batch)
                torch.autograd.backward(loss * (share / len(batches)))
                for name, value in {"loss": loss.detach(), **terms}.items():
                    total[name] = total[name] + share * value if name in total else share * value
            found.append((list(total), torch.stack(list(total.values())).float()))
        return found

    def _with_less_memory(
        self, compute: Callable[[], list[tuple[list[str], Tensor]]]
    ) -> list[tuple[list[str], Tensor]]:
        """The result of `compute`, tried again with halved micro-batches where memory runs out."""
        random = torch.get_rng_state()
        try:
            return [(names, values.cpu()) for names, values in compute()]
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if self.progress.split > 1:
                raise TrainingError(
                    f"memory runs out in {self.stage} although the micro-batches are halved",
                    hint="lower training.batch_size and raise training.accum_steps as much",
                ) from None
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

    def _clipped_norm(self) -> float:
        parameters = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        limit = self.config.training.grad_clip or math.inf
        return float(nn.utils.clip_grad_norm_(parameters, limit, foreach=True))

    def _tolerate(self, what: str, value: float, batches: Sequence[Batch]) -> None:
        """Name the samples, and stop unless the config tolerates another such step."""
        progress, first = self.progress, batches[0]
        progress.nonfinite += 1
        record = {
            "stage": self.stage, "epoch": progress.epoch, "step": progress.step + 1, what: str(value),
            "task": first.task, "samples": first.samples.tolist(), "frames": first.frames.tolist(),
        }  # fmt: skip
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
