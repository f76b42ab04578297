"""`pdet_stack`: the transformer that advances latent tokens, shared by all tasks.

Few, wide blocks: adaptive layer norm that starts as the identity (adaLN-Zero), RMS-normalised
queries and keys with a learned gain, axial rotary positions, SiLU. Measured choices; the notes in
docs/learning.md say what each is worth.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models import draws
from ups.models.spec import GridTask, OperatorSpec

Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of each token's rotary angles, [N, 1, head_dim / 2]."""


def rotary_angles(task: GridTask, head_dim: int) -> Tensor:
    """Axial rotary angles [N, 1, head_dim / 2] of a grid's patches.

    On a periodic axis of n patches the frequencies are whole modes 2πm/n, so that attention depends
    on the difference of positions round the domain: exactly equivariant to shifts by patches.
    """
    dims, pairs = len(task.grid), head_dim // 2
    positions = torch.cartesian_prod(*(torch.arange(float(count)) for count in task.tokens))
    positions = positions.reshape(task.num_tokens, dims)
    per_axis = pairs // dims
    angles = torch.zeros(task.num_tokens, pairs)
    for axis, count in enumerate(task.tokens):
        index = torch.arange(per_axis)
        if task.spec.periodic:
            frequency = 2 * math.pi / count * (index % max(count // 2, 1) + 1)
        else:
            frequency = math.pi / count * (index + 1)
        angles[:, axis * per_axis : (axis + 1) * per_axis] = positions[:, axis : axis + 1] * frequency
    return angles[:, None]


class Block(nn.Module):
    """Attention and MLP, each modulated and gated by the condition."""

    def __init__(self, spec: OperatorSpec, drop_path: float) -> None:
        super().__init__()
        width, inner = spec.hidden_dim, round(spec.hidden_dim * spec.mlp_ratio)
        self.num_heads, self.head_dim = spec.num_heads, spec.head_dim
        self.qk_norm, self.dropout, self.drop_path = spec.qk_norm, spec.dropout, drop_path
        # Three matrices in one tensor: one product, and the optimizer still sees each matrix alone.
        self.qkv = nn.Parameter(torch.empty(3, width, width))
        nn.init.uniform_(self.qkv, -(width**-0.5), width**-0.5)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.gain = nn.Parameter(torch.full((2, self.num_heads, 1), 1.5))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, condition: Tensor, rotation: Rotation) -> Tensor:
        """tokens [B, N, W], condition [B, W] → tokens [B, N, W]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (
            self.modulation(condition)[:, None].float().chunk(6, dim=-1)
        )
        width = tokens.shape[-1:]
        attended = self._attend(functional.layer_norm(tokens, width) * (1 + scale_a) + shift_a, rotation)
        tokens = tokens + gate_a * self._drop(attended)
        hidden = functional.layer_norm(tokens, width) * (1 + scale_m) + shift_m
        advanced: Tensor = tokens + gate_m * self._drop(self.down(functional.silu(self.up(hidden))))
        return advanced

    def _attend(self, hidden: Tensor, rotation: Rotation) -> Tensor:
        batch, num_tokens, width = hidden.shape
        qkv = functional.linear(hidden, self.qkv.flatten(0, 1))
        qkv = qkv.view(batch, num_tokens, 3, self.num_heads, self.head_dim)
        query_key, value = qkv[:, :, :2].float(), qkv[:, :, 2].transpose(1, 2)
        if self.qk_norm:
            query_key = functional.rms_norm(query_key, query_key.shape[-1:]) * self.gain
        first, second = query_key.chunk(2, dim=-1)
        cos, sin = (part[:, None] for part in rotation)
        rotated = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
        query, key = rotated.to(value.dtype).permute(2, 0, 3, 1, 4)
        if hidden.is_cuda:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        else:
            # The fused CPU kernel's backward is several times slower at such lengths.
            scores = (query @ key.transpose(-1, -2)).float() * self.head_dim**-0.5
            mixed = scores.softmax(dim=-1).to(value.dtype) @ value
        projected: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num_tokens, width))
        return projected

    def _drop(self, update: Tensor) -> Tensor:
        """Dropout, and leaving the whole branch out for a share of the samples."""
        if not self.training:
            return update
        if self.dropout:
            update = draws.dropout(update, self.dropout)
        if self.drop_path:
            keep = 1 - self.drop_path
            kept = draws.uniform(len(update), 1, 1, device=update.device) < keep
            update = update * kept / keep
        return update


class PdetStack(nn.Module):
    """Latent tokens → latent change, for every task."""

    def __init__(self, spec: OperatorSpec) -> None:
        super().__init__()
        self.embed = nn.Linear(spec.latent_dim, spec.hidden_dim)
        last = max(spec.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(spec, spec.drop_path * i / last) for i in range(spec.depth))
        self.final_modulation = nn.Linear(spec.hidden_dim, 2 * spec.hidden_dim)
        self.head = nn.Linear(spec.hidden_dim, spec.latent_dim)
        for layer in (self.final_modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, tokens: Tensor, condition: Tensor, rotation: Rotation, position: Tensor | None, *, amp: bool
    ) -> Tensor:
        """Latent change [B, N, latent_dim].

        Args:
            tokens: [B, N, latent_dim].
            condition: [B, W].
            rotation: rotary angles of the tokens.
            position: learned embedding [N, W] where the domain has edges, else None.
            amp: run the blocks in bfloat16.
        """
        hidden = self.embed(tokens)
        if position is not None:
            hidden = hidden + position
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=amp):
            for block in self.blocks:
                hidden = block(hidden, condition, rotation)
        scale, shift = self.final_modulation(condition)[:, None].chunk(2, dim=-1)
        hidden = functional.layer_norm(hidden.float(), hidden.shape[-1:]) * (1 + scale) + shift
        change: Tensor = self.head(hidden)
        return change
