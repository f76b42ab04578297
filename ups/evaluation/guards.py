"""Inference guards: what the training data say that no prediction may break.

A channel whose mean the data conserve gets its mean back after each step; every value is clamped to
the widened range of the training data. One exploding trajectory would otherwise be the mean of a
rollout. Calibrated on the training split only, and kept in the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ups.config import Guards as GuardsConfig
from ups.data.survey import Survey
from ups.physics import restore_mean

_CONSERVED_BELOW = 1e-3
"""Mean change per step, in standard deviations, below which a channel's mean counts as conserved."""
_WIDENED_BY = 0.15
"""Share of the training range that is added at each end: test states exceed it a little."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The guards of one task; an empty tuple leaves one out."""

    conserved: tuple[float, ...] = ()
    """Per channel 1 where the mean is restored, else 0."""
    low: tuple[float, ...] = ()
    """Per channel, in physical units."""
    high: tuple[float, ...] = ()

    def apply(self, predicted: Tensor, previous: Tensor) -> Tensor:
        """The guarded prediction [B, *S, C] of a step from `previous`."""
        if self.conserved:
            predicted = restore_mean(predicted, previous, _like(self.conserved, predicted))
        if self.low:
            predicted = predicted.clamp(_like(self.low, predicted), _like(self.high, predicted))
        return predicted

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Guards":
        return cls(**{key: tuple(values) for key, values in content.items()})


def calibrate(survey: Survey, config: GuardsConfig) -> Guards:
    """The guards that a train split supports and a config asks for."""
    conserved: tuple[float, ...] = ()
    if config.conserve and survey.drift is not None and (survey.drift < _CONSERVED_BELOW).any():
        conserved = tuple(float(value) for value in survey.drift < _CONSERVED_BELOW)
    if not config.clamp:
        return Guards(conserved)
    margin = _WIDENED_BY * (survey.high - survey.low)
    return Guards(conserved, tuple(map(float, survey.low - margin)), tuple(map(float, survey.high + margin)))


def _like(values: tuple[float, ...], field: Tensor) -> Tensor:
    return torch.tensor(values, dtype=field.dtype, device=field.device)
