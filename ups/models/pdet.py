"""`pdet_stack`: the transformer that advances latent tokens, shared by all tasks.

Few, wide blocks: adaptive layer norm that starts as the identity (adaLN-Zero), normalised
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
"""Cosine and sine of each token's rotary angles, [N, 1, head_dim / 2], or [B, N, 1, head_dim / 2]."""


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


def modulated(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive layer norm: tokens [B, N, W] normalised, then scaled and shifted by [B, 1, W]."""
    return torch.addcmul(shift, functional.layer_norm(tokens, tokens.shape[-1:]), 1 + scale)


class Block(nn.Module):
    """Attention and MLP, each modulated and gated by the condition."""

    kept_share: Tensor
    """Share of the samples for which a branch is computed; a tensor, so that all blocks compile to one."""

    def __init__(self, spec: OperatorSpec, drop_path: float) -> None:
        super().__init__()
        width, inner = spec.hidden_dim, round(spec.hidden_dim * spec.mlp_ratio)
        self.num_heads, self.head_dim = spec.num_heads, spec.head_dim
        self.qk_norm, self.dropout, self.drops_paths = spec.qk_norm, spec.dropout, drop_path > 0
        self.register_buffer("kept_share", torch.tensor(1 - drop_path), persistent=False)
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

    def forward(
        self, tokens: Tensor, condition: Tensor, rotation: Rotation, mask: Tensor | None = None
    ) -> Tensor:
        """tokens [B, N, W], condition [B, W] → tokens [B, N, W].

        No token attends to those that are not in the mask [B, N]. The rotation is [1, N, head_dim] or
        [B, 1, N, head_dim]: the cosine, and the sine with the sign of what it is added to.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (
            self.modulation(condition)[:, None].float().chunk(6, dim=-1)
        )
        attended = self._drop(self._attend(modulated(tokens, scale_a, shift_a), rotation, mask))
        tokens = torch.addcmul(tokens, gate_a, attended.float())
        hidden = self.up(modulated(tokens, scale_m, shift_m))
        update = self._drop(self.down(functional.silu(hidden)))
        return torch.addcmul(tokens, gate_m, update.float())

    def _attend(self, hidden: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        batch, num_tokens, width = hidden.shape
        qkv = functional.linear(hidden, self.qkv.flatten(0, 1))
        # one copy, after which each head's tokens lie together
        qkv = (
            qkv.view(batch, num_tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).contiguous()
        )
        query_key, value = qkv[:2].float(), qkv[2]
        scale = self.head_dim**-0.5
        if self.qk_norm:
            query_key = functional.layer_norm(query_key, query_key.shape[-1:])
            # the gains of query and key only ever meet in their product
            scale = scale * self.gain.prod(dim=0)[:, None]  # [heads, 1, 1]
        cos, sin = rotation
        swapped = query_key.roll(self.head_dim // 2, dims=-1)
        query, key = torch.addcmul(query_key * cos, swapped, sin).unbind(0)
        query, key = (query * scale).to(value.dtype), key.to(value.dtype)
        keys = None if mask is None else mask[:, None, None]
        if hidden.is_cuda:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=keys, scale=1.0)
        else:
            # The fused CPU kernel's backward is several times slower at such lengths.
            scores = (query @ key.transpose(-1, -2)).float()
            if keys is not None:
                scores = scores.masked_fill(~keys, -torch.inf)
            mixed = scores.softmax(dim=-1).to(value.dtype) @ value
        projected: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num_tokens, width))
        return projected

    def _drop(self, update: Tensor) -> Tensor:
        """Dropout, and leaving the whole branch out for a share of the samples."""
        if not self.training:
            return update
        if self.dropout:
            update = draws.dropout(update, self.dropout)
        if self.drops_paths:
            kept = draws.uniform(len(update), 1, 1, device=update.device) < self.kept_share
            update = update * kept / self.kept_share
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
        self,
        tokens: Tensor,
        condition: Tensor,
        rotation: Rotation,
        position: Tensor | None,
        *,
        amp: bool,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Latent change [B, N, latent_dim].

        Args:
            tokens: [B, N, latent_dim].
            condition: [B, W].
            rotation: of the tokens' rotary angles, [N, 1, head_dim / 2] or [B, N, 1, head_dim / 2].
            position: embedding [N, W] or [B, N, W] of where a token lies; None where nothing tells.
            amp: run the blocks in bfloat16.
            mask: [B, N] tokens that stand for something; None: all do.
        """
        cos, sin = (part.squeeze(-2).unsqueeze(-3) for part in rotation)
        # a pair lies half a head apart: (a, b) → (a·cos − b·sin, b·cos + a·sin)
        turned = torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)
        hidden = self.embed(tokens)
        if position is not None:
            hidden = hidden + position
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=amp):
            for block in self.blocks:
                hidden = block(hidden, condition, turned, mask)
        scale, shift = self.final_modulation(condition)[:, None].chunk(2, dim=-1)
        hidden = modulated(hidden.float(), scale, shift)
        change: Tensor = self.head(hidden)
        return change
