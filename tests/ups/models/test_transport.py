"""The transport skip: exact for band-limited fields, calibrated, and only where it helps."""

import math

import torch

from ups.models.transport import calibrate, carry


def waves(shift: torch.Tensor) -> torch.Tensor:
    """[B, 32, 1] of sines moved by `shift` [B] of the domain."""
    x = torch.arange(32) / 32 - shift[:, None]
    return (torch.sin(2 * math.pi * 3 * x) + torch.cos(2 * math.pi * x))[..., None]


def test_carried_field_is_the_exact_solution() -> None:
    fraction = torch.tensor([0.013, -0.4, 0.5])
    torch.testing.assert_close(carry(waves(torch.zeros(3)), fraction), waves(fraction), atol=1e-5, rtol=0)


def test_calibration_finds_the_multiple() -> None:
    fraction = torch.linspace(0.02, 0.05, 6)
    assert abs(calibrate(waves(torch.zeros(6)), waves(1.2 * fraction), fraction) - 1.2) < 1e-3


def test_calibration_is_rejected_where_it_explains_nothing() -> None:
    inputs, targets = torch.randn(6, 32, 1), torch.randn(6, 32, 1)
    assert calibrate(inputs, targets, torch.full((6,), 0.02)) == 0.0
