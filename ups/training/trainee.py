"""What a stage trains: the seam between the loop, which is the same for all stages, and each stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ups.config import Stage, StageName, TrainConfig
from ups.evaluation.guards import Guards
from ups.evaluation.predictor import Predictor
from ups.models.checkpoint import AVERAGE_FILE, MODEL_FILE
from ups.models.operator import LatentOperator
from ups.training.losses import operator_losses
from ups.training.objective import Objective, OperatorObjective


class Trainee(Protocol):
    """One stage's module, its losses, how it predicts, and what of it a checkpoint holds.

    Methods take the module that is meant: the one that is trained, or the average of its weights.
    """

    @property
    def stage(self) -> StageName: ...

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
    stage: StageName = "operator"
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
        }


def stage_of(config: TrainConfig, name: StageName) -> Stage:
    """The section of a stage that the config defines."""
    found: Stage | None = getattr(config.stages, name)
    assert found is not None
    return found


def _operator(module: nn.Module) -> LatentOperator:
    assert isinstance(module, LatentOperator)
    return module
