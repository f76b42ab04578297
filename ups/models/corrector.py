"""The corrector: a few-step denoiser of what the operator leaves wrong.

The residual of a prediction, target − prediction, is encoded by the fixed part of the task's codec and
scaled to unit size by what training pairs show. Between it (angle 0) and pure noise (angle π/2) lie
z = cos φ · r + sin φ · ε, the variance-preserving path in angles of Salimans and Ho, *Progressive
Distillation* (arXiv:2202.00512). The network predicts r, not v as there: its head starts at zero, and a
residual of zero leaves the operator's prediction as it is. A few deterministic DDIM steps (Song et al.,
arXiv:2010.02502) lead from noise to a residual. Refining a surrogate's own prediction in three or four
steps is PDE-Refiner's idea (Lippe et al., arXiv:2308.05732), learning only the residual of a deterministic
prediction CorrDiff's (Mardani et al., arXiv:2309.15214).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ups.config import TrainConfig
from ups.models.geometry import Geometry
from ups.models.operator import Head, LatentOperator, Placed
from ups.models.spec import OperatorSpec
from ups.models.token_network import TokenNetwork

LEVELS = 4
"""Noise levels of the second stage, at equal distances up to pure noise."""
_OPERATOR_BLOCKS_PER_BLOCK = 3


@dataclass(frozen=True, slots=True)
class CorrectorSpec:
    """Shape of a `Corrector` beside its operator."""

    latent_dim: int
    """Width of its tokens."""
    hidden_dim: int
    depth: int
    steps: int = LEVELS
    """Evaluations in which noise becomes a residual: 1 once it is distilled."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "CorrectorSpec":
        return cls(**content)

    def distilled(self) -> "CorrectorSpec":
        """The same network, used in one step."""
        return replace(self, steps=1)


def corrector_spec(config: TrainConfig) -> CorrectorSpec:
    """The corrector that a config describes: a third as deep as its operator."""
    depth = max(1, config.operator.pdet.depth // _OPERATOR_BLOCKS_PER_BLOCK)
    return CorrectorSpec(config.diffusion.latent_dim, config.diffusion.hidden_dim, depth)


@dataclass(frozen=True, slots=True)
class Situation:
    """A step of the operator as its corrector sees it."""

    task: str
    head: Placed
    """The operator's head of the task, on the points of these samples."""
    tokens: Tensor
    """[B, N, L] of the input."""
    predicted: Tensor
    """[B, N, L] of the operator's prediction."""
    features: Tensor
    """[B, F] the operator's condition features."""


def angles(steps: int) -> list[float]:
    """The angles of a path in `steps` evaluations, from pure noise (π/2) down; the last step ends at 0."""
    return [math.pi / 2 * (steps - index) / steps for index in range(steps)]


class Corrector(nn.Module):
    """Predicts the scaled residual tokens of a situation from a noisy version of them."""

    scales: Tensor

    def __init__(self, spec: CorrectorSpec, operator: OperatorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.amp = False
        self.tasks = tuple(task.task for task in operator.tasks)
        self.network = TokenNetwork(
            operator, sequences=3, width=spec.latent_dim, hidden=spec.hidden_dim, depth=spec.depth, extra=4
        )
        self.out = nn.Linear(spec.latent_dim, operator.latent_dim, bias=False)
        self.register_buffer("scales", torch.ones(len(self.tasks)))

    def scale(self, task: str) -> Tensor:
        """Root mean square of the task's residuals in units of the normalised field, a scalar."""
        found: Tensor = self.scales[self.tasks.index(task)]
        return found

    def forward(self, given: Situation, noisy: Tensor, angle: Tensor) -> Tensor:
        """The residual [B, N, L] that is expected behind a noisy one.

        Args:
            given: the situation.
            noisy: [B, N, L] residual and noise at `angle`.
            angle: [B] from 0 (no noise) to π/2 (nothing but noise).
        """
        level = torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], dim=1)
        features = torch.cat([given.features, level], dim=1)
        sequences = [noisy, given.tokens, given.predicted]
        hidden = self.network(given.task, sequences, features, given.head, amp=self.amp)
        residual: Tensor = self.out(hidden)
        return residual

    def sample(self, given: Situation, noise: Tensor | None) -> Tensor:
        """Residual tokens [B, N, L] in `spec.steps` evaluations.

        Args:
            given: the situation.
            noise: [B, N, L] that the path starts from; None starts at its mean, zero.
        """
        noisy = torch.zeros_like(given.predicted) if noise is None else noise
        path = angles(self.spec.steps)
        for here, there in zip(path, [*path[1:], 0.0], strict=True):
            noisy = self.descend(given, noisy, here, there)
        return noisy

    def descend(self, given: Situation, noisy: Tensor, here: float, there: float) -> Tensor:
        """One DDIM step [B, N, L] from the angle `here` to the lower angle `there`."""
        residual: Tensor = self(given, noisy, noisy.new_full((len(noisy),), here))
        if there == 0.0:
            return residual
        noise = (noisy - math.cos(here) * residual) / math.sin(here)
        return math.cos(there) * residual + math.sin(there) * noise


class CorrectedOperator(nn.Module):
    """An operator and the corrector of its residual, called like the operator alone."""

    def __init__(self, operator: LatentOperator, corrector: Corrector) -> None:
        super().__init__()
        self.operator = operator
        self.corrector = corrector

    @property
    def spec(self) -> OperatorSpec:
        return self.operator.spec

    @property
    def heads(self) -> nn.ModuleDict:
        return self.operator.heads

    def head(self, task: str) -> Head:
        return self.operator.head(task)

    def reconstruct(self, task: str, fields: Tensor, geometry: Geometry | None = None) -> Tensor:
        """As `LatentOperator.reconstruct`."""
        return self.operator.reconstruct(task, fields, geometry)

    def forward(
        self,
        task: str,
        inputs: Tensor,
        parameters: Tensor,
        dt: Tensor,
        stride: Tensor,
        *,
        geometry: Geometry | None = None,
        noise: float = 0.0,
        draw: Tensor | None = None,
    ) -> Tensor:
        """The corrected state after one step, or a static problem's corrected answer.

        Args:
            task: one of the operator's tasks.
            inputs: [B, *S, Ci] in physical units.
            parameters: [B, P] in physical units.
            dt: [B] time of the step.
            stride: [B] stored frames of the step, as a float.
            geometry: the points, of a task on a mesh or on particles.
            noise: as in `LatentOperator.forward`.
            draw: standard normal field [B, *S, C] from which the correction is drawn; None: the expected one.

        Returns:
            [B, *S, C] in physical units.
        """
        predicted = self.operator(task, inputs, parameters, dt, stride, geometry=geometry, noise=noise)
        given = situation(self.operator, task, inputs, parameters, dt, stride, predicted, geometry)
        target = given.head.target
        # By the isometry, white noise in field space is white noise among the latents that can be decoded.
        start = None if draw is None else target.project(draw)
        residual = self.corrector.sample(given, start)
        correction = self.corrector.scale(task) * target.unproject(residual)
        corrected: Tensor = predicted + correction * target.std
        return corrected


def situation(
    operator: LatentOperator,
    task: str,
    inputs: Tensor,
    parameters: Tensor,
    dt: Tensor,
    stride: Tensor,
    predicted: Tensor,
    geometry: Geometry | None = None,
) -> Situation:
    """What a prediction [B, *S, C] looks like to the corrector (and the critic) of an operator."""
    head: Placed = operator.head(task).on(geometry)
    return Situation(
        task,
        head,
        head.source.project(head.source.normalise(head.carried(inputs, parameters, dt))),
        head.target.project(head.target.normalise(predicted)),
        head.features(parameters, dt, stride),
    )


def residual_tokens(given: Situation, predicted: Tensor, target: Tensor) -> Tensor:
    """What a prediction [B, *S, C] lacks, [B, N, L] in units of the normalised field."""
    codec = given.head.target
    return codec.project(codec.normalise(target) - codec.normalise(predicted))


def residual_squares(given: Situation, predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squares of what predictions lack, in units of the normalised field, over all their values."""
    codec = given.head.target
    return (codec.normalise(target) - codec.normalise(predicted)).square().flatten()
