"""All that is a mesh or particle task's own: codec, positions of tokens, refinement.

A k-d tree (`ups.models.kdtree`) divides the points into supernodes and, a few levels higher, into
leaves. A supernode's value is the mean of its points, as a rule of one; the values of a leaf's
supernodes, in the tree's order, are one token under a frozen isometry. So a token is to a mesh what
a patch is to a grid: decoding an encoding gives the field back wherever there are as many
supernodes as points.
"""

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ups.models.conditioning import ConditionFeatures, feature_width
from ups.models.geometry import Geometry, fractions, interpolate
from ups.models.kdtree import Cells, build
from ups.models.message_passing import MessagePassing
from ups.models.pdet import Rotation
from ups.models.spec import OperatorSpec, PointTask

_WAVES = 8
"""Waves along each axis that tell a token its place in a domain with edges."""


@dataclass(frozen=True, slots=True)
class Places:
    """The points of a batch, and the supernodes they are in."""

    geometry: Geometry
    cells: Cells
    """Supernodes; those of a leaf follow one another."""
    spread: Tensor
    """[B, N, S, D] offsets of supernodes from their leaf's centre, in units of a leaf; 0 where empty."""
    filled: Tensor
    """[B, N, S] 1 where a supernode has points, else 0."""
    centre: Tensor
    """[B, N, D] centres of the leaves, as fractions of the domain."""

    @property
    def mask(self) -> Tensor | None:
        """[B, N] tokens that stand for points; None where all do."""
        tokens = self.filled.any(dim=2)
        return None if bool(tokens.all()) else tokens


def place(task: PointTask, geometry: Geometry) -> Places:
    """Divide the points of a batch."""
    where = fractions(geometry.positions, task.spec)
    cells = build(where, geometry.mask, task.depth)
    shape = (len(where), task.leaves, task.slots)
    supernodes = cells.pool(where).view(*shape, where.shape[-1])
    filled = (cells.points > 0).to(where.dtype).view(shape)
    weight = (filled / filled.sum(dim=2, keepdim=True).clamp_min(1))[..., None]
    centre = (supernodes * weight).sum(dim=2)
    edge = task.leaves ** (-1 / where.shape[-1])
    spread = (supernodes - centre[:, :, None]) * filled[..., None] / edge
    return Places(geometry, cells, spread, filled, centre)


class PointCodec(nn.Module):
    """Normalised values of supernodes ⇄ latent tokens for one kind of field of one task."""

    mean: Tensor
    std: Tensor
    basis: Tensor

    def __init__(self, task: PointTask, channels: int, latent_dim: int, *, role: str) -> None:
        """Args:
        task: the task.
        channels: channels C of the field.
        latent_dim: width of a token.
        role: `state`, `input` or `target`; another role gets another basis.
        """
        super().__init__()
        self.task = task
        self.channels = channels
        seed = zlib.crc32(f"{task.task}:{role}".encode())
        gaussian = torch.randn(
            latent_dim, task.slots * channels, generator=torch.Generator().manual_seed(seed)
        )
        self.register_buffer("basis", torch.linalg.qr(gaussian)[0])  # [latent_dim, S · C]
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))


@dataclass(frozen=True, slots=True)
class PlacedCodec:
    """A codec on the points of a batch."""

    codec: PointCodec
    places: Places

    @property
    def std(self) -> Tensor:
        """[C] deviation over the train split."""
        return self.codec.std

    def normalise(self, field: Tensor) -> Tensor:
        """[B, P, C] in physical units → zero mean and unit deviation over the train split, 0 at padding."""
        return self._masked((field - self.codec.mean) / self.codec.std)

    def denormalise(self, field: Tensor) -> Tensor:
        return self._masked(field * self.codec.std + self.codec.mean)

    def encode(self, normalised: Tensor) -> Tensor:
        """Normalised field [B, P, C] → tokens [B, N, latent_dim]."""
        supernodes = self.places.cells.pool(normalised)
        return supernodes.reshape(len(supernodes), self.codec.task.leaves, -1) @ self.codec.basis.T

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, latent_dim] → normalised field [B, P, C]."""
        supernodes = (tokens @ self.codec.basis).view(len(tokens), -1, self.codec.channels)
        return self.places.cells.spread(supernodes)

    def decode_at(self, tokens: Tensor, queries: Tensor) -> Tensor:
        """The decoded field [B, Q, C] in physical units at positions [B, Q, D], interpolated."""
        decoded = self.denormalise(self.decode(tokens))
        return interpolate(decoded, self.places.geometry, queries, self.codec.task.spec)

    def project(self, normalised: Tensor) -> Tensor:
        """As `encode`: nothing of this codec is learned."""
        return self.encode(normalised)

    def unproject(self, tokens: Tensor) -> Tensor:
        """As `decode`."""
        return self.decode(tokens)

    def _masked(self, field: Tensor) -> Tensor:
        return field * self.places.geometry.mask[..., None]


class PointHead(nn.Module):
    """The part of the operator that a mesh or particle task has for itself."""

    frequency: Tensor
    waves: Tensor

    def __init__(self, task: PointTask, spec: OperatorSpec, first_slot: int) -> None:
        super().__init__()
        self.task = task
        fields, inputs = len(task.spec.fields), len(task.spec.input_fields)
        role = "target" if task.spec.static else "state"
        self.target = PointCodec(task, fields, spec.latent_dim, role=role)
        self.input = PointCodec(task, inputs, spec.latent_dim, role="input") if task.spec.static else None
        self.features = ConditionFeatures(task, first_slot=first_slot, width=feature_width(spec.tasks))
        self.message_passing = (
            MessagePassing(
                task.spec, width_in=(inputs or fields) + fields, channels=spec.refinement_channels,
                rounds=task.message_passing_steps, condition=spec.hidden_dim,
            )
            if spec.refinement_layers
            else None
        )  # fmt: skip
        dims = task.spec.spatial_dims
        self.shape = nn.Linear(task.slots * (dims + 1), spec.hidden_dim) if task.use_coords else None
        self.centre = None if task.spec.periodic else nn.Linear(2 * _WAVES * dims, spec.hidden_dim)
        if self.shape is not None:
            nn.init.zeros_(self.shape.weight)
            nn.init.zeros_(self.shape.bias)
        waves = math.pi * torch.arange(1.0, _WAVES + 1)
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("frequency", self._frequencies(spec.head_dim // 2), persistent=False)

    @property
    def source(self) -> PointCodec:
        """The codec of what is stepped from; a time stepper has one for both."""
        return self.target if self.input is None else self.input

    def on(self, geometry: Geometry | None) -> "PlacedHead":
        """The head on the points of a batch."""
        assert geometry is not None, f"{self.task.task} lives on points: its geometry must be given"
        return PlacedHead(self, place(self.task, geometry))

    def rotation(self, centre: Tensor) -> Rotation:
        """Cosine and sine of the tokens' rotary angles [B, N, 1, head_dim / 2] at their centres."""
        angles = (centre @ self.frequency)[:, :, None]
        return angles.cos(), angles.sin()

    def embedding(self, places: Places) -> Tensor | None:
        """[B, N, W] what tokens are told of where they lie and of what shape they are; None: nothing."""
        parts = []
        if self.centre is not None:
            angles = (places.centre[..., None] * self.waves).flatten(2)
            parts.append(self.centre(torch.cat([angles.sin(), angles.cos()], dim=-1)))
        if self.shape is not None:
            parts.append(self.shape(torch.cat([places.spread.flatten(2), places.filled], dim=-1)))
        return sum(parts[1:], parts[0]) if parts else None

    def _frequencies(self, pairs: int) -> Tensor:
        """[D, pairs] angle per fraction of the domain: whole modes on periodic axes, as on grids."""
        dims = self.task.spec.spatial_dims
        per_axis, count = pairs // dims, max(round(self.task.leaves ** (1 / dims)), 1)
        index = torch.arange(per_axis)
        modes = index % max(count // 2, 1) + 1
        frequency = 2 * math.pi * modes if self.task.spec.periodic else math.pi * (index + 1)
        table = torch.zeros(dims, pairs)
        for axis in range(dims):
            table[axis, axis * per_axis : (axis + 1) * per_axis] = frequency
        return table


class PlacedHead:
    """A head on the points of one batch: what `LatentOperator` needs of a head."""

    def __init__(self, head: PointHead, places: Places) -> None:
        self.head, self.places = head, places
        self.task, self.features = head.task, head.features
        self.source = PlacedCodec(head.source, places)
        self.target = PlacedCodec(head.target, places)
        self.rotation = head.rotation(places.centre)
        self.position = head.embedding(places)
        self.mask = places.mask

    def reconstruct(self, fields: Tensor) -> Tensor:
        """What encoder and decoder leave of states or answers [B, P, C] in physical units."""
        codec = self.target
        return codec.denormalise(codec.decode(codec.encode(codec.normalise(fields))))

    def unencoded(self, source: Tensor, tokens: Tensor) -> Tensor | None:
        """What the tokens of a normalised state [B, P, C] do not say of it; a step leaves that unchanged.

        None where every supernode is one point, and for a static task.
        """
        if self.task.spec.static or bool((self.places.cells.points <= 1).all()):
            return None
        return source - self.source.decode(tokens)

    def carried(self, inputs: Tensor, parameters: Tensor, dt: Tensor) -> Tensor:
        """The input as it is: points move by themselves, there is nothing to carry."""
        return inputs

    def refined(self, source: Tensor, predicted: Tensor, condition: Tensor) -> Tensor:
        """The prediction [B, P, C] after message passing on it and on what it was made of."""
        if self.head.message_passing is None:
            return predicted
        fields = torch.cat([source, predicted], dim=-1)
        correction: Tensor = self.head.message_passing(fields, condition, self.places.geometry)
        return predicted + correction
