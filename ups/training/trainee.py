"""What a stage trains: the seam between the loop, which is the same for all stages, and each stage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ups.config import Optimizer, Stage, TrainConfig
from ups.course import FIRST
from ups.evaluation.guards import Guards
from ups.evaluation.predictor import Predictor
from ups.models.checkpoint import AVERAGE_FILE, MODEL_FILE
from ups.models.operator import LatentOperator
from ups.training.losses import operator_losses
from ups.training.objective import Objective, OperatorObjective


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a stage lasts, and how fast it learns."""

    epochs: int
    samples: int
    """Of the whole stage."""
    optimizer: Optimizer
    patience: int | None = None
    """Epochs without a better validation after which it ends."""
    first_epoch: int = 0
    """Epochs of the stages before: where the curricula stand when it begins."""
    unrolled: bool = True
    """It learns from as many steps as the rollout curriculum says; else from one."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "optimizer": self.optimizer.model_dump(mode="json")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Schedule":
        return cls(**{**content, "optimizer": Optimizer.model_validate(content["optimizer"])})


class Trainee(Protocol):
    """One stage's module, its losses, how it predicts, and what of it a checkpoint holds.

    Methods take the module that is meant: the one that is trained, or the average of its weights.
    """

    @property
    def stage(self) -> str:
        """Its name in the run's course."""
        ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def reference(self) -> Mapping[str, float]:
        """Validation nRMSE of each task that the stage has to beat; {} where it is the first."""
        ...

    def objective(self, module: nn.Module) -> Objective:
        """The losses of a module, itself a module."""
        ...

    def predictor(self, module: nn.Module) -> Predictor:
        """How the module predicts in validation: guarded, not averaged over symmetries."""
        ...

    @property
    def file(self) -> str:
        """The checkpoint file of the trained module."""
        ...

    @property
    def average_file(self) -> str:
        """The checkpoint file of the average of its weights."""
        ...

    def fixed(self) -> dict[str, Mapping[str, Tensor]]:
        """Checkpoint file → tensors that prediction needs and that this stage does not train."""
        ...

    def description(self) -> dict[str, Any]:
        """What `state.json` needs to build the module again."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorTrainee:
    """The first stage: the operator itself."""

    config: TrainConfig
    model: LatentOperator
    guards: Mapping[str, Guards]
    device: str
    schedule: Schedule
    stage: str = FIRST
    """`operator`, or the control of a later stage."""
    reference: Mapping[str, float] = field(default_factory=dict)
    file: str = MODEL_FILE
    average_file: str = AVERAGE_FILE

    def objective(self, module: nn.Module) -> OperatorObjective:
        return OperatorObjective(_operator(module), operator_losses(self.config), self.config.training.noise)

    def predictor(self, module: nn.Module) -> Predictor:
        return Predictor(
            _operator(module).eval(), self.guards, torch.device(self.device), self.config.training.time_stride
        )

    def fixed(self) -> dict[str, Mapping[str, Tensor]]:
        return {}

    def description(self) -> dict[str, Any]:
        return {
            "operator": self.model.spec.to_json(),
            "guards": {task: guards.to_json() for task, guards in self.guards.items()},
            "schedule": self.schedule.to_json(),
            "reference": dict(self.reference),
        }


def schedule_of(config: TrainConfig, stage: str, samples_per_epoch: int) -> Schedule:
    """The schedule of a stage that the config defines."""
    section: Stage | None = getattr(config.stages, stage)
    assert section is not None
    first = stage == FIRST
    return Schedule(
        section.epochs, section.epochs * samples_per_epoch, section.optimizer,
        section.patience or config.training.patience,
        first_epoch=0 if first else config.stages.operator.epochs, unrolled=first,
    )  # fmt: skip


def _operator(module: nn.Module) -> LatentOperator:
    assert isinstance(module, LatentOperator)
    return module
