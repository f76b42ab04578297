"""The optional transport skip: carry the state by the known velocity before anything is learned."""

import math

import torch
from torch import Tensor


def carry(field: Tensor, fraction: Tensor) -> Tensor:
    """Move a periodic field along its first axis, exactly for band-limited fields.

    Args:
        field: [B, X, *S, C].
        fraction: [B], the displacement as a fraction of the domain.
    """
    cells = field.shape[1]
    modes = torch.arange(cells // 2 + 1, device=field.device)
    phase = torch.polar(torch.ones_like(fraction[:, None] * modes), -2 * math.pi * fraction[:, None] * modes)
    if cells % 2 == 0:  # the highest mode has no phase of its own on the grid
        phase[:, -1] = phase[:, -1].real + 0j
    phase = phase.view(*phase.shape, *(1,) * (field.dim() - 2))
    carried: Tensor = torch.fft.irfft(torch.fft.rfft(field, dim=1) * phase, n=cells, dim=1)
    return carried


def calibrate(inputs: Tensor, targets: Tensor, fraction: Tensor) -> float:
    """The multiple of a displacement that best explains training pairs.

    Args:
        inputs: [B, X, *S, C] states, `targets` one step later.
        targets: same shape.
        fraction: [B] velocity × dt as a fraction of the domain.

    Returns:
        The multiple, or 0 where carrying does not halve the error of standing still.
    """

    def error(multiple: float) -> float:
        wrong = (carry(inputs, multiple * fraction) - targets).flatten(1).norm(dim=1)
        return float((wrong / targets.flatten(1).norm(dim=1).clamp_min(1e-8)).mean())

    best, spacing = 0.0, 0.05
    candidates = [index * spacing for index in range(-40, 41)]
    for _ in range(6):
        best = min([*candidates, best], key=error)
        spacing /= 4
        candidates = [best + index * spacing for index in range(-4, 5)]
    return best if error(best) < 0.5 * error(0.0) else 0.0
