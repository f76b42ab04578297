"""How wrong a prediction is. All figures are in physical units, per sample first.

nRMSE of a sample is ‖pred − true‖₂ / ‖true‖₂ over space and channels, averaged over steps. PDEBench's
own variants are in `ups.evaluation.pdebench`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TINY = 1e-8
DIVERGED_ABOVE = 10.0
"""Relative error at any step beyond which a rollout counts as diverged."""


def relative_error(predicted: Tensor, true: Tensor, *, first: int = 1) -> Tensor:
    """‖predicted − true‖₂ / ‖true‖₂ over all axes from `first` on.

    Args:
        predicted: [B, *S, C] with `first` 1, or [B, T, *S, C] with `first` 2.
        true: same shape.
        first: number of leading axes that are kept.
    """
    difference = (predicted - true).flatten(first).norm(dim=-1)
    error: Tensor = difference / true.flatten(first).norm(dim=-1).clamp_min(_TINY)
    return error


def diverged(errors: Tensor) -> Tensor:
    """Which samples' rollouts diverged: [B] of the relative errors [B, T]."""
    return (~torch.isfinite(errors) | (errors > DIVERGED_ABOVE)).any(dim=1)


def pointwise(predicted: Tensor, true: Tensor, share: Tensor | None = None) -> dict[str, Tensor]:
    """MSE, RMSE, MAE and largest error of each sample [B], of [B, T, *S, C].

    Args:
        predicted: zero where the truth is padded with zeros.
        true: same shape.
        share: [B] of the values that are not padding; None: all of them.
    """
    error = (predicted - true).flatten(1)
    known = error.new_ones(len(error)) if share is None else share.to(error.dtype)
    mse = error.square().mean(dim=1) / known
    return {
        "mse": mse,
        "rmse": mse.sqrt(),
        "mae": error.abs().mean(dim=1) / known,
        "max_error": error.abs().amax(dim=1),
    }


def interval(values: NDArray[np.float64], *, resamples: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over samples [N]; the same values give the same interval."""
    return _percentiles(_resampled(values, resamples, np.random.default_rng(len(values))))


def aggregate_interval(tasks: Sequence[NDArray[np.float64]], *, resamples: int = 1000) -> tuple[float, float]:
    """The same of the mean over tasks of their means over samples; each task is resampled by itself."""
    random = np.random.default_rng(len(tasks))
    return _percentiles(np.mean([_resampled(values, resamples, random) for values in tasks], axis=0))


def _resampled(
    values: NDArray[np.float64], resamples: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Means [resamples] of as many samples, drawn with replacement."""
    drawn = random.integers(len(values), size=(resamples, len(values)))
    means: NDArray[np.float64] = values[drawn].mean(axis=1)
    return means


def _percentiles(means: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
