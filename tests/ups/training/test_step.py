"""An optimizer step: what it measures, what it tolerates, and how it does with less memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.ups.training.jobs import tiny_config
from ups.config import Optimizer
from ups.data.sampling import Batch
from ups.errors import TrainingError
from ups.events import EventType
from ups.ranks import ALONE
from ups.tasks import task_spec
from ups.training.batch import Moment, TensorBatch
from ups.training.distributed import Group
from ups.training.optim import Hybrid
from ups.training.parallel import Alone
from ups.training.state import Progress
from ups.training.step import Measured, Stepper


class Events:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.warnings: list[dict[str, Any]] = []

    def write(self, kind: EventType, **fields: Any) -> None:
        assert kind is EventType.WARNING
        self.warnings.append(fields)


class Scale(nn.Module):
    """One weight; its loss is the mean squared difference of weight × input and target."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5]]))

    def loss(self, batch: TensorBatch) -> Tensor:
        return (self.weight * batch.inputs - batch.targets[:, 0]).square().mean()


Hook = Callable[[TensorBatch], None]


class ScaleObjective(nn.Module):
    def __init__(self, module: Scale, before: Hook, factor: Callable[[], float]) -> None:
        super().__init__()
        self.module, self.before, self.factor = module, before, factor

    def forward(self, batch: TensorBatch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        self.before(batch)
        loss = self.module.loss(batch) * self.factor()
        return loss, {"square": loss.detach()}


def a_batch(size: int, seed: int) -> Batch:
    random = np.random.default_rng(seed)
    values = random.normal(size=(size, 8, 1)).astype(np.float32)
    index = np.arange(size)
    return Batch(
        task_spec("advection1d"), values, 2 * values[:, None], np.ones((size, 1), np.float32), 0.1, 1, index,
        index,
    )  # fmt: skip


def a_stepper(
    folder: Path, events: Events, *, skip: int = 0, before: Hook = lambda batch: None,
    factor: Callable[[], float] = lambda: 1.0,
) -> Stepper:  # fmt: skip
    module = Scale()
    return Stepper(
        config=tiny_config(skip_nonfinite=skip, augment=False), stage="operator", module=module,
        objective=ScaleObjective(module, before, factor),
        optimizer=Hybrid(module, Optimizer(name="adamw", lr=0.1), muon_dtype=torch.float32),
        progress=Progress(), device="cpu", sink=events, record=folder / "nonfinite.json",
        group=Group(ALONE), parallel=Alone(),
    )  # fmt: skip


def stepped(stepper: Stepper, *batches: Batch) -> Measured:
    return stepper.step(batches, Moment(), 1.0, np.random.default_rng(0))


def weight(stepper: Stepper) -> float:
    assert isinstance(stepper.module, Scale)
    return float(stepper.module.weight.detach())


def test_micro_batches_count_the_same_and_are_measured_apart(tmp_path: Path) -> None:
    stepper = a_stepper(tmp_path, Events())
    measured = stepped(stepper, a_batch(4, 0), a_batch(8, 1))
    assert [(task, size) for task, size, _ in measured.losses] == [("advection1d", 4), ("advection1d", 8)]
    first, second = (terms["loss"] for *_, terms in measured.losses)
    assert first != second
    assert weight(stepper) == pytest.approx(0.6, abs=1e-3)  # AdamW's first step is the rate


def test_memory_that_runs_out_halves_the_micro_batches_and_changes_nothing_else(tmp_path: Path) -> None:
    def too_large(batch: TensorBatch) -> None:
        if len(batch) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    events = Events()
    stepper = a_stepper(tmp_path, events, before=too_large)
    reference = a_stepper(tmp_path, Events())
    batches = a_batch(3, 0), a_batch(7, 1)
    halved, whole = stepped(stepper, *batches), stepped(reference, *batches)
    assert stepper.progress.split == 2
    assert [warning["code"] for warning in events.warnings] == ["memory"]
    assert halved.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    assert halved.losses[1][2]["loss"] == pytest.approx(whole.losses[1][2]["loss"], rel=1e-5)
    stepped(stepper, a_batch(8, 2))
    assert len(events.warnings) == 1


def test_memory_that_runs_out_again_stops_the_run(tmp_path: Path) -> None:
    def never(batch: TensorBatch) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    with pytest.raises(TrainingError, match="although the micro-batches are halved"):
        stepped(a_stepper(tmp_path, Events(), before=never), a_batch(4, 0))


def test_other_errors_are_not_taken_for_memory(tmp_path: Path) -> None:
    def broken(batch: TensorBatch) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        stepped(a_stepper(tmp_path, Events(), before=broken), a_batch(4, 0))


def test_a_tolerated_step_leaves_the_weights_alone_and_names_the_samples(tmp_path: Path) -> None:
    factors = iter([float("nan"), 1.0, float("inf")])
    events = Events()
    stepper = a_stepper(tmp_path, events, skip=1, factor=lambda: next(factors))
    before = weight(stepper)
    measured = stepped(stepper, a_batch(4, 0))
    assert measured.skipped
    assert not measured.losses
    assert weight(stepper) == before
    assert events.warnings[0]["code"] == "nonfinite"
    assert json.loads((tmp_path / "nonfinite.json").read_text())["samples"] == [0, 1, 2, 3]
    assert not stepped(stepper, a_batch(4, 1)).skipped
    with pytest.raises(TrainingError, match="the loss of advection1d is inf at step 1 of operator"):
        stepped(stepper, a_batch(4, 2))


def test_a_gradient_that_is_not_finite_is_told_from_a_loss(tmp_path: Path) -> None:
    stepper = a_stepper(tmp_path, Events())
    assert isinstance(stepper.module, Scale)
    stepper.module.weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingError, match="the gradient of advection1d is nan"):
        stepped(stepper, a_batch(4, 0))
