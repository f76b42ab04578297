"""One latent operator over several PDE tasks: encode, advance, decode, refine.

Each task brings its own fixed codec, condition features and field-space refinement (`GridHead`, or
`PointHead` for meshes and particles);
the transformer, the condition network and the latent space are shared. The statistics of the train
split live in buffers, so that weights and spec alone predict in physical units.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models import draws
from ups.models.codec import FieldCodec
from ups.models.conditioning import ConditionFeatures, displacement, feature_width
from ups.models.geometry import Geometry
from ups.models.pdet import PdetStack, Rotation, rotary_angles
from ups.models.points import PlacedHead, PointHead
from ups.models.refinement import refinement
from ups.models.spec import GridTask, OperatorSpec
from ups.models.transport import carry


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What the train split says about a task's fields, in physical units."""

    input_mean: Tensor
    """[Ci]; a time stepper's input is its state."""
    input_std: Tensor
    target_mean: Tensor
    """[C] for a time stepper and on points, [*S, C] for a static task on a grid."""
    target_std: Tensor
    parameters: Tensor
    """[N, P] of the train split."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the operator makes of a state."""

    fields: Tensor
    """[B, *S, C] in physical units."""
    latents: Tensor
    """[B, N, L] the tokens that were decoded, before the refinement."""


class GridHead(nn.Module):
    """All that is a grid task's own: codec, positions, condition features, refinement, transport."""

    cos: Tensor
    sin: Tensor

    def __init__(self, task: GridTask, spec: OperatorSpec, first_slot: int) -> None:
        super().__init__()
        self.task = task
        fields, inputs = len(task.spec.fields), len(task.spec.input_fields)
        role = "target" if task.spec.static else "state"
        width, learned = spec.latent_dim, spec.codec_hidden
        self.target = FieldCodec(
            task, fields, width, role=role, mean_field=task.spec.static, refinement=learned
        )
        self.input = (
            FieldCodec(task, inputs, width, role="input", mean_field=False, refinement=learned)
            if task.spec.static
            else None
        )
        self.features = ConditionFeatures(task, first_slot=first_slot, width=feature_width(spec.tasks))
        self.refinement = refinement(task, spec)
        self.position = (
            None if task.spec.periodic else nn.Parameter(0.02 * torch.randn(task.num_tokens, spec.hidden_dim))
        )
        angles = rotary_angles(task, spec.head_dim)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    @property
    def source(self) -> FieldCodec:
        """The codec of what is stepped from; a time stepper has one for both."""
        return self.target if self.input is None else self.input

    def reconstruct(self, fields: Tensor) -> Tensor:
        """What encoder and decoder leave of states or answers [B, *S, C] in physical units."""
        return self.target.reconstruct(fields)

    def unencoded(self, source: Tensor, tokens: Tensor) -> Tensor | None:
        """What the tokens of a normalised state [B, *S, C] do not say of it; a step leaves that unchanged.

        None where the tokens say all, and for a static task, whose answer is no change of its input.
        """
        if self.task.spec.static or self.source.inverts:
            return None
        return source - self.source.decode(tokens)

    @property
    def rotation(self) -> Rotation:
        return self.cos, self.sin

    @property
    def mask(self) -> None:
        """Every token stands for a patch."""
        return

    def on(self, geometry: Geometry | None) -> "GridHead":
        """The head itself: a grid is always the same."""
        return self

    def refined(self, source: Tensor, predicted: Tensor, condition: Tensor) -> Tensor:
        """The prediction [B, *S, C] after the refinement on it and on what it was made of."""
        if self.refinement is None:
            return predicted
        correction: Tensor = self.refinement(torch.cat([source, predicted], dim=-1), condition)
        return predicted + correction

    def carried(self, inputs: Tensor, parameters: Tensor, dt: Tensor) -> Tensor:
        """The input after the transport skip, where the task has one."""
        fraction = displacement(self.task, parameters, dt) if self.task.transport else None
        return inputs if fraction is None else carry(inputs, self.task.transport * fraction)


Head = GridHead | PointHead
Placed = GridHead | PlacedHead
"""A head on the points of a batch, which a grid's always is."""


@torch.no_grad()
def _set_normalisation(head: Head, values: Normalisation) -> None:
    """Take over the statistics of a task's train split."""
    head.source.mean.copy_(values.input_mean)
    head.source.std.copy_(values.input_std)
    head.target.mean.copy_(values.target_mean)
    head.target.std.copy_(values.target_std)
    if head.features.center.numel():
        parameters = head.features.values(values.parameters)
        spread = parameters.std(dim=0, unbiased=False)
        head.features.center.copy_(parameters.mean(dim=0))
        head.features.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))


class LatentOperator(nn.Module):
    """Predicts one step (or the answer of a static problem) of any of its tasks."""

    def __init__(self, spec: OperatorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.amp = False
        """bfloat16 in the transformer; decided once per run by measuring."""
        self.heads = nn.ModuleDict()
        slot = feature_width(spec.tasks)
        for task in spec.tasks:
            slot -= len(task.spec.parameters)
            self.heads[task.task] = (
                GridHead(task, spec, slot) if isinstance(task, GridTask) else PointHead(task, spec, slot)
            )
        width = spec.hidden_dim
        self.trunk = PdetStack(spec)
        self.condition = nn.Sequential(
            nn.Linear(feature_width(spec.tasks), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.task_embedding = nn.Parameter(0.2 * torch.randn(len(spec.tasks), width))

    def head(self, task: str) -> Head:
        head = self.heads[task]
        assert isinstance(head, GridHead | PointHead)
        return head

    def grid_head(self, task: str) -> GridHead:
        """The head of a task that lives on a grid."""
        head = self.heads[task]
        assert isinstance(head, GridHead)
        return head

    def reconstruct(self, task: str, fields: Tensor, geometry: Geometry | None = None) -> Tensor:
        """What encoder and decoder leave of states or answers [B, *S, C] in physical units."""
        return self.head(task).on(geometry).reconstruct(fields)

    def set_normalisation(self, values: Mapping[str, Normalisation]) -> None:
        """Take over the statistics of every task's train split."""
        for task, statistics in values.items():
            _set_normalisation(self.head(task), statistics)

    @torch.no_grad()
    def adopt(self, other: "LatentOperator", tasks: Iterable[str]) -> None:
        """Take over what another operator of the same shape knows of the data of some tasks."""
        for task in tasks:
            theirs = dict(other.head(task).named_buffers())
            for name, buffer in self.head(task).named_buffers():
                buffer.copy_(theirs[name])

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
    ) -> Tensor:
        """The state after one step, or a static problem's answer.

        Args:
            task: one of the operator's tasks.
            inputs: [B, *S, Ci] in physical units; [B, P, Ci] on points.
            parameters: [B, P] in physical units.
            dt: [B] time of the step.
            stride: [B] stored frames of the step, as a float.
            geometry: the points, of a task on a mesh or on particles.
            noise: standard deviation of noise added to the latent tokens (training only).

        Returns:
            [B, *S, C] in physical units.
        """
        return self.advance(task, inputs, parameters, dt, stride, geometry=geometry, noise=noise).fields

    def advance(
        self,
        task: str,
        inputs: Tensor,
        parameters: Tensor,
        dt: Tensor,
        stride: Tensor,
        *,
        geometry: Geometry | None = None,
        noise: float = 0.0,
    ) -> Step:
        """As `forward`, with the predicted latents."""
        head: Placed = self.head(task).on(geometry)
        static = head.task.spec.static
        index = list(self.heads).index(task)
        embedded = self.condition(head.features(parameters, dt, stride))
        condition = functional.silu(embedded + self.task_embedding[index])
        source = head.source.normalise(head.carried(inputs, parameters, dt))
        tokens = head.source.encode(source)
        unencoded = head.unencoded(source, tokens)
        if noise:
            tokens = tokens + noise * draws.normal_like(tokens)
        change = self.trunk(tokens, condition, head.rotation, head.position, amp=self.amp, mask=head.mask)
        latents = change if static else tokens + change
        predicted = head.target.decode(latents)
        if unencoded is not None:
            predicted = predicted + unencoded
        predicted = head.refined(source, predicted, condition)
        return Step(head.target.denormalise(predicted), latents)
