"""The loss that compares spectra: how much of each scale a prediction has, wherever it has put it.

A relative L2 error forgives a prediction that blurs what it cannot place; its amplitude spectrum shows
the missing scales. On periodic domains the transform is the Fourier transform. Elsewhere that would see
a jump at the edges and spread it over all modes; the cosine transform (DCT-II) continues a field evenly
about its outermost faces and has no jump there (Strang, 1999, "The discrete cosine transform"), computed
by one Fourier transform of the reordered field (Makhoul, 1980, "A fast cosine transform in one and two
dimensions").
"""

import math

import torch
from torch import Tensor

from ups.config import Training
from ups.evaluation.metrics import relative_error
from ups.models.operator import LatentOperator
from ups.training.batch import TensorBatch
from ups.training.terms import Prediction, WeightedLoss, constant, on_grids


def spectral_losses(training: Training) -> tuple[WeightedLoss, ...]:
    """The spectral loss where a config gives it a weight."""
    if not training.lambda_spectral:
        return ()
    return (WeightedLoss("spectral", constant(training.lambda_spectral), spectral, on_grids),)


def spectral(model: LatentOperator, batch: TensorBatch, prediction: Prediction) -> Tensor:
    """Mean relative L2 difference of the amplitude spectra of predicted and true states."""
    periodic = model.head(batch.task).task.spec.periodic
    predicted, true = (
        amplitudes(states.flatten(0, 1), periodic=periodic) for states in (prediction.states, batch.targets)
    )
    return relative_error(predicted, true).mean()


def amplitudes(field: Tensor, *, periodic: bool) -> Tensor:
    """Amplitude of every mode of fields [B, *S, C]; both transforms keep the norm of a field.

    Returns:
        [B, *S, C] real and not negative.
    """
    axes = tuple(range(1, field.dim() - 1))
    if periodic:
        spectrum: Tensor = torch.fft.fftn(field, dim=axes, norm="ortho")
        return spectrum.abs()
    for axis in axes:
        field = _cosine_transform(field.movedim(axis, -1)).movedim(-1, axis)
    return field.abs()


def _cosine_transform(values: Tensor) -> Tensor:
    """The orthonormal DCT-II along the last axis."""
    count = values.shape[-1]
    reordered = torch.cat([values[..., ::2], values[..., 1::2].flip(-1)], dim=-1)
    modes = torch.arange(count, device=values.device, dtype=values.dtype)
    turn = torch.polar(torch.full_like(modes, math.sqrt(2 / count)), -math.pi / (2 * count) * modes)
    turn[0] = math.sqrt(1 / count)
    transformed: Tensor = (torch.fft.fft(reordered) * turn).real
    return transformed
