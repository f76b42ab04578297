"""The fixed encoder and decoder of a grid field: patches under a frozen isometry.

A train-normalised patch of d values is embedded in `latent.dim` ≥ d dimensions by a random matrix Q
with orthonormal columns, and read back by its transpose. QᵀQ = I, so that a decoded encoding is the
field itself and an error in latent space is the same error in field space.
"""

import zlib

import torch
from torch import Tensor, nn

from ups.models.spec import GridTask


class FieldCodec(nn.Module):
    """Normalised patches ⇄ latent tokens for one kind of field of one task."""

    mean: Tensor
    std: Tensor
    basis: Tensor

    def __init__(
        self, task: GridTask, channels: int, latent_dim: int, *, role: str, mean_field: bool
    ) -> None:
        """Args:
        task: the task and its grid.
        channels: channels C of the field.
        latent_dim: width of a token.
        role: `state`, `input` or `target`; another role gets another basis.
        mean_field: normalise by the mean of each cell rather than of each channel.
        """
        super().__init__()
        self.task = task
        self.channels = channels
        values = task.patch ** len(task.grid) * channels
        seed = zlib.crc32(f"{task.task}:{role}".encode())
        gaussian = torch.randn(latent_dim, values, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("basis", torch.linalg.qr(gaussian)[0])  # [latent_dim, values]
        self.register_buffer("mean", torch.zeros((*task.grid, channels) if mean_field else (channels,)))
        self.register_buffer("std", torch.ones(channels))

    def normalise(self, field: Tensor) -> Tensor:
        """[B, *S, C] in physical units → zero mean and unit deviation over the train split."""
        return (field - self.mean) / self.std

    def denormalise(self, field: Tensor) -> Tensor:
        return field * self.std + self.mean

    def encode(self, normalised: Tensor) -> Tensor:
        """Normalised field [B, *S, C] → tokens [B, N, latent_dim]."""
        return self._patches(normalised) @ self.basis.T

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, latent_dim] → normalised field [B, *S, C]."""
        return self._field(tokens @ self.basis)

    def _patches(self, field: Tensor) -> Tensor:
        """[B, *S, C] → [B, N, p^d · C]."""
        edge, dims = self.task.patch, len(self.task.grid)
        split = [part for count in self.task.tokens for part in (count, edge)]
        counts, edges = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
        parts = field.reshape(field.shape[0], *split, self.channels)
        parts = parts.permute(0, *counts, *edges, 2 * dims + 1)
        return parts.reshape(field.shape[0], self.task.num_tokens, -1)

    def _field(self, patches: Tensor) -> Tensor:
        """[B, N, p^d · C] → [B, *S, C]."""
        dims = len(self.task.grid)
        parts = patches.reshape(
            patches.shape[0], *self.task.tokens, *(self.task.patch,) * dims, self.channels
        )
        interleaved = [
            axis
            for pair in zip(range(1, dims + 1), range(dims + 1, 2 * dims + 1), strict=True)
            for axis in pair
        ]
        parts = parts.permute(0, *interleaved, 2 * dims + 1)
        return parts.reshape(patches.shape[0], *self.task.grid, self.channels)
