"""What the operator is told beside the state: parameters, time step, boundary, displacement.

The features follow from the `TaskSpec`: a logarithmic parameter enters as its logarithm, a velocity
also as the phase that it makes in one step. No task is named here.
"""

import math

import torch
from torch import Tensor, nn

from ups.models.spec import AnyTask
from ups.tasks import Boundary

_PHASES = 8
"""Fourier modes of the displacement; the lowest that a network cannot easily make from its value."""
_BOUNDARIES = tuple(Boundary)
_COMMON = 3 + len(_BOUNDARIES) + 1 + 2 * _PHASES


def feature_width(tasks: tuple[AnyTask, ...]) -> int:
    """Length of the feature vector: a common part and one slot per task and parameter."""
    return _COMMON + sum(len(task.spec.parameters) for task in tasks)


def displacement(task: AnyTask, parameters: Tensor, dt: Tensor) -> Tensor | None:
    """How far, as a fraction of the domain's first axis, the state is carried in one step.

    Args:
        task: the task.
        parameters: [B, P] in physical units.
        dt: [B] time of the step.

    Returns:
        [B], or None where the task has no velocity parameter.
    """
    for index, parameter in enumerate(task.spec.parameters):
        if parameter.velocity:
            low, high = task.spec.domain[0]
            return parameters[:, index] * dt / (high - low)
    return None


class ConditionFeatures(nn.Module):
    """The feature vector of one task; parameters are standardised by the train split."""

    center: Tensor
    scale: Tensor
    constant: Tensor
    modes: Tensor

    def __init__(self, task: AnyTask, *, first_slot: int, width: int) -> None:
        """Args:
        task: the task.
        first_slot: index of its first parameter's slot.
        width: length of the whole vector (`feature_width`).
        """
        super().__init__()
        self.task = task
        self.first_slot = first_slot
        self.width = width
        num_parameters = len(task.spec.parameters)
        self.register_buffer("center", torch.zeros(num_parameters))
        self.register_buffer("scale", torch.ones(num_parameters))
        constant = torch.zeros(3 + len(_BOUNDARIES))
        constant[2] = float(task.spec.static)
        constant[3 + _BOUNDARIES.index(task.spec.boundary)] = 1.0
        self.register_buffer("constant", constant, persistent=False)
        self.register_buffer("modes", 2 * math.pi * torch.arange(1.0, _PHASES + 1), persistent=False)

    def values(self, parameters: Tensor) -> Tensor:
        """Parameters [B, P], logarithms taken where they span decades."""
        columns = [
            parameters[:, index].log10() if parameter.logarithmic else parameters[:, index]
            for index, parameter in enumerate(self.task.spec.parameters)
        ]
        return torch.stack(columns, dim=1) if columns else parameters[:, :0]

    def forward(self, parameters: Tensor, dt: Tensor, stride: Tensor) -> Tensor:
        """Features [B, width] of parameters [B, P], time step dt [B] and stride [B] in stored frames."""
        features = parameters.new_zeros(parameters.shape[0], self.width)
        common = self.constant.shape[0]
        features[:, :common] = self.constant
        if not self.task.spec.static:
            features[:, 0] = (dt / self.task.dt).log2() / 3
            features[:, 1] = stride.log2() / 3
        moved = displacement(self.task, parameters, dt)
        if moved is not None:
            phase = moved[:, None] * self.modes
            features[:, common] = moved
            features[:, common + 1 : _COMMON] = torch.cat([phase.sin(), phase.cos()], dim=1)
        values = (self.values(parameters) - self.center) / self.scale
        features[:, self.first_slot : self.first_slot + values.shape[1]] = values
        return features
