"""The encoder and decoder of a grid field: patches under a fixed basis, and what training adds to it.

A train-normalised patch of d ≤ `latent.dim` values is embedded by a random matrix Q with orthonormal
columns, and read back by its transpose: QᵀQ = I, so that a decoded encoding is the field itself and
an error in latent space is the same error in field space. A larger patch is projected on the leading
directions of the train split (`fit`), and loses what they do not span. This fixed part is all that a
latent cache depends on. Learned refinements come after it, start as nothing, and exist only where the
spec gives them a width.
"""

import zlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from ups.models.basis import leading_basis, random_basis
from ups.models.interpolation import pool, sample, upsample
from ups.models.spec import GridTask


class TokenRefinement(nn.Module):
    """A small network on each token by itself; its last layer starts at zero."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.up = nn.Linear(width_in, hidden)
        self.down = nn.Linear(hidden, width_out)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, width_in] → [B, N, width_out]."""
        refined: Tensor = self.down(functional.silu(self.up(tokens)))
        return refined


class FieldCodec(nn.Module):
    """Normalised fields ⇄ latent tokens for one kind of field of one task."""

    mean: Tensor
    std: Tensor
    basis: Tensor

    def __init__(
        self,
        task: GridTask,
        channels: int,
        latent_dim: int,
        *,
        role: str,
        mean_field: bool,
        refinement: int = 0,
    ) -> None:
        """Args:
        task: the task and its grid.
        channels: channels C of the field.
        latent_dim: width of a token.
        role: `state`, `input` or `target`; another role gets another basis.
        mean_field: normalise by the mean of each cell rather than of each channel.
        refinement: hidden width of the learned refinements; 0: none.
        """
        super().__init__()
        self.task = task
        self.channels = channels
        self.values = task.patch_cells * channels
        self._seed = zlib.crc32(f"{task.task}:{role}".encode())
        self.register_buffer("basis", random_basis(latent_dim, self.values, self._seed))
        self.register_buffer("mean", torch.zeros((*task.grid, channels) if mean_field else (channels,)))
        self.register_buffer("std", torch.ones(channels))
        with torch.random.fork_rng(devices=[]):  # the other weights start the same with and without them
            torch.manual_seed(self._seed)
            self.encoder_refinement = (
                TokenRefinement(latent_dim, refinement, latent_dim) if refinement else None
            )
            self.decoder_refinement = (
                TokenRefinement(latent_dim, refinement, self.values) if refinement else None
            )

    @property
    def projects(self) -> bool:
        """A patch has more values than a token."""
        return self.values > self.basis.shape[0]

    @property
    def lossless(self) -> bool:
        """The fixed part gives every field back."""
        return self.task.pool == 1 and not self.projects

    @property
    def inverts(self) -> bool:
        """Decoding inverts encoding whatever is learned."""
        return self.lossless and self.decoder_refinement is None

    def normalise(self, field: Tensor) -> Tensor:
        """[B, *S, C] in physical units → zero mean and unit deviation over the train split."""
        return (field - self.mean) / self.std

    def denormalise(self, field: Tensor) -> Tensor:
        return field * self.std + self.mean

    @torch.no_grad()
    def fit(self, fields: Tensor) -> None:
        """Take the basis from fields [M, *S, C] in physical units; patches that fit a token need none."""
        if self.projects:
            patches = self._patches(pool(self.normalise(fields), self.task.pool)).flatten(0, 1)
            self.basis.copy_(leading_basis(patches, self.basis.shape[0], self._seed))

    def project(self, normalised: Tensor) -> Tensor:
        """The fixed part of `encode`: normalised field [B, *S, C] → tokens [B, N, latent_dim]."""
        return self._patches(pool(normalised, self.task.pool)) @ self.basis.T

    def unproject(self, tokens: Tensor) -> Tensor:
        """The fixed part of `decode`, linear as `project` is: tokens → field of [B, *S, C]."""
        field = self._field(self.read(tokens))
        return upsample(field, self.task.pool, periodic=self.task.spec.periodic)

    def encode(self, normalised: Tensor) -> Tensor:
        """Normalised field [B, *S, C] → tokens [B, N, latent_dim]."""
        tokens = self.project(normalised)
        if self.encoder_refinement is not None:
            tokens = tokens + self.encoder_refinement(tokens)
        return tokens

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, latent_dim] → normalised field [B, *S, C]."""
        patches = self.read(tokens)
        if self.decoder_refinement is not None:
            patches = patches + self.decoder_refinement(tokens)
        return upsample(self._field(patches), self.task.pool, periodic=self.task.spec.periodic)

    def reconstruct(self, field: Tensor) -> Tensor:
        """What encoder and decoder leave of a field [B, *S, C] in physical units."""
        return self.denormalise(self.decode(self.encode(self.normalise(field))))

    def read(self, tokens: Tensor) -> Tensor:
        """What the fixed decoder reads of tokens: [B, N, values] of [B, N, latent_dim]."""
        return tokens @ self.basis

    def decode_at(self, tokens: Tensor, coordinates: Tensor) -> Tensor:
        """The decoded field in physical units at points, between the cells by interpolation.

        Args:
            tokens: [B, N, latent_dim].
            coordinates: [B, Q, d] in the unit domain.

        Returns:
            [B, Q, C].
        """
        return self.at(self.denormalise(self.decode(tokens)), coordinates)

    def at(self, field: Tensor, coordinates: Tensor) -> Tensor:
        """A field [B, *S, C] at points [B, Q, d] of the unit domain: [B, Q, C]."""
        return sample(field, coordinates, periodic=self.task.spec.periodic)

    def _patches(self, field: Tensor) -> Tensor:
        """[B, *S, C] → [B, N, values]; S counts pooled cells."""
        edges, dims = self.task.edges, len(self.task.grid)
        split = [part for pair in zip(self.task.tokens, edges, strict=True) for part in pair]
        counts, inner = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
        parts = field.reshape(field.shape[0], *split, self.channels)
        parts = parts.permute(0, *counts, *inner, 2 * dims + 1)
        return parts.reshape(field.shape[0], self.task.num_tokens, -1)

    def _field(self, patches: Tensor) -> Tensor:
        """[B, N, values] → [B, *S, C]; S counts pooled cells."""
        dims = len(self.task.grid)
        parts = patches.reshape(patches.shape[0], *self.task.tokens, *self.task.edges, self.channels)
        interleaved = [
            axis
            for pair in zip(range(1, dims + 1), range(dims + 1, 2 * dims + 1), strict=True)
            for axis in pair
        ]
        parts = parts.permute(0, *interleaved, 2 * dims + 1)
        return parts.reshape(patches.shape[0], *self.task.coarse, self.channels)
