"""PDEBench's own metrics, under its own names, written from its formulas.

A whole split counts as one batch, whatever the batch size it is computed with: `CSV`, `Max` and
`fRMSE` are not means over samples. All are computed per channel and step and then averaged. They
are comparable with figures that were computed over the same frames.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_BANDS = {"fRMSE_low": (0, 4), "fRMSE_mid": (4, 12), "fRMSE_high": (12, None)}
"""First and past the last wave number of each band."""


class PdebenchMetrics:
    """Collects batches of predictions; `result` are the metrics over all of them."""

    def __init__(self, lengths: Sequence[float] = ()) -> None:
        """Args:
        lengths: of the domain along each axis, a factor of fRMSE; 1 where PDEBench is not told.
        """
        self._extent = math.prod(lengths)
        self.samples = 0
        """Counted so far; points have none, since these metrics need a grid."""
        self._grid: Sequence[int] = ()
        self._sums: dict[str, Tensor] = {}
        self._largest: Tensor | None = None

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Count a batch of [B, T, *S, C]."""
        error = (predicted - true).double()
        self._grid = error.shape[2:-1]
        self.samples += len(error)
        spatial = tuple(range(2, error.dim() - 1))
        rmse = error.square().mean(dim=spatial).sqrt()  # [B, T, C]
        scale = true.double().square().mean(dim=spatial).sqrt()
        for name, values in (
            ("RMSE", rmse),
            ("nRMSE", rmse / scale),
            ("CSV", error.sum(dim=spatial).square()),
            ("BD", _boundary(error)),
            ("fRMSE", _shells(error)),
        ):
            total = values.sum(dim=0)
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        largest = error.abs().amax(dim=(0, *spatial))
        self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)

    def result(self) -> dict[str, float | None]:
        """RMSE, nRMSE, CSV, Max, BD and fRMSE in three bands; None where a figure does not exist."""
        assert self._largest is not None
        means = {name: total / self.samples for name, total in self._sums.items()}
        cells = math.prod(self._grid)
        spectrum = means["fRMSE"].sqrt() * (self._extent / cells)  # [T, C, shells]
        values = {
            "RMSE": means["RMSE"].mean(),
            "nRMSE": means["nRMSE"].mean(),
            "CSV": (means["CSV"].sqrt() / cells).mean(),
            "Max": self._largest.mean(),
            "BD": means["BD"].mean(),
            **{name: spectrum[..., first:end].mean() for name, (first, end) in _BANDS.items()},
        }
        return {name: float(value) if bool(value.isfinite()) else None for name, value in values.items()}


def _boundary(error: Tensor) -> Tensor:
    """Root mean square over the outermost cells; a corner counts once for each of its edges.

    Returns:
        [B, T, C]; in three dimensions [B, T, 1], because there PDEBench adds the channels under the root.
    """
    total, count = error.new_zeros(()), 0
    for axis in range(2, error.dim() - 1):
        for index in (0, error.shape[axis] - 1):
            edge = error.narrow(axis, index, 1).flatten(2, -2)
            total = total + edge.square().sum(dim=2)
            count += edge.shape[2]
    mean: Tensor = total / count
    return (mean.sum(dim=-1, keepdim=True) if error.dim() == 6 else mean).sqrt()


def _shells(error: Tensor) -> Tensor:
    """Spectral energy of the error by wave number [B, T, C, shells].

    In one dimension every wave number up to the highest; in more only the first orthant, summed over
    shells of whole wave numbers, of which those below half the shortest side are kept.
    """
    grid = error.shape[2:-1]
    if len(grid) == 1:
        spectrum: Tensor = torch.fft.rfft(error, dim=2)
        return spectrum.abs().square().movedim(2, -1)
    axes = tuple(range(2, error.dim() - 1))
    halves = tuple(slice(0, cells // 2) for cells in grid)
    energy: Tensor = torch.fft.fftn(error, dim=axes).abs().square()[(slice(None), slice(None), *halves)]
    wave = torch.meshgrid(*(torch.arange(cells // 2) for cells in grid), indexing="ij")
    shell = torch.stack(wave).double().square().sum(dim=0).sqrt().floor().long().flatten()
    kept = min(cells // 2 for cells in grid)
    sums = energy.new_zeros(*energy.shape[:2], energy.shape[-1], int(shell.max()) + 1)
    by_shell: Tensor = sums.index_add(3, shell, energy.flatten(2, -2).movedim(2, -1))
    return by_shell[..., :kept]
