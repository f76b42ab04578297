"""The fixed matrices of the encoder: an isometry for small patches, leading directions for large ones."""

import torch
from torch import Tensor

_OVERSAMPLING = 16
"""Directions beyond those that are asked for; they make the leading ones accurate."""
_ITERATIONS = 6


def random_basis(latent_dim: int, values: int, seed: int) -> Tensor:
    """[latent_dim, values] with orthonormal columns, or orthonormal rows where a patch has more values."""
    generator = torch.Generator().manual_seed(seed)
    if values <= latent_dim:
        return _orthonormal(torch.randn(latent_dim, values, generator=generator, device="cpu"))
    return _orthonormal(torch.randn(values, latent_dim, generator=generator, device="cpu")).mT.contiguous()


def leading_basis(rows: Tensor, latent_dim: int, seed: int) -> Tensor:
    """The `latent_dim` directions along which patches are largest, turned at random among themselves.

    No other projection on so many directions reconstructs these patches better: a principal component
    analysis about zero, found by randomised subspace iteration (Halko, Martinsson & Tropp, 2011,
    algorithm 4.4). Turning spreads the variance evenly over a token's entries, as the isometry of
    smaller patches does; the subspace and so the reconstruction stay the same.

    Args:
        rows: [M, values] patches.
        latent_dim: at most `values`.
        seed: of the test matrix and of the turn; equal seeds and rows give equal bases.

    Returns:
        [latent_dim, values] with orthonormal rows.
    """
    values = rows.shape[1]
    generator = torch.Generator().manual_seed(seed)
    width = min(latent_dim + _OVERSAMPLING, values)
    subspace = _orthonormal(torch.randn(values, width, generator=generator))
    for _ in range(_ITERATIONS):
        subspace = _orthonormal(rows.mT @ (rows @ subspace))
    inner = rows @ subspace  # [M, width]
    # eigenvectors of the second moment; ascending, so the leading ones are last
    directions: Tensor = torch.linalg.eigh((inner.mT @ inner).double())[1][:, -latent_dim:]
    turn = _orthonormal(torch.randn(latent_dim, latent_dim, generator=generator))
    return turn @ (subspace @ directions.to(rows.dtype)).mT


def _orthonormal(matrix: Tensor) -> Tensor:
    """Orthonormal columns that span those of a tall matrix."""
    columns: Tensor = torch.linalg.qr(matrix)[0]
    return columns
