"""Spectra: what the loss is blind to, what it sees, and that edges are no jumps."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from tests.ups.training.jobs import tiny_config
from ups.data.sampling import probe_windows
from ups.training.augment import to_device
from ups.training.losses import operator_losses, require_reach
from ups.training.objective import predict
from ups.training.setup import new_operator, open_data
from ups.training.spectral_loss import amplitudes, spectral
from ups.training.terms import Prediction

Datasets = dict[str, dict[str, Path]]
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3)


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.booleans(), st.integers(0, 99))
def test_spectrum_has_the_norm_of_its_field(shape: list[int], periodic: bool, seed: int) -> None:
    field = torch.randn(2, *shape, 3, generator=torch.Generator().manual_seed(seed))
    found = amplitudes(field, periodic=periodic)
    assert found.shape == field.shape
    torch.testing.assert_close(found.flatten(1).norm(dim=1), field.flatten(1).norm(dim=1))


@pytest.mark.parametrize("shape", [(8,), (7,), (6, 5), (4, 3, 2)])
def test_with_edges_it_is_the_cosine_transform(shape: tuple[int, ...]) -> None:
    field = torch.randn(2, *shape, 1, dtype=torch.float64)
    expected = dctn(field.numpy(), axes=range(1, len(shape) + 1), norm="ortho")
    torch.testing.assert_close(amplitudes(field, periodic=False), torch.from_numpy(expected).abs())


def test_ramp_between_walls_has_no_jump_at_its_edges() -> None:
    ramp = torch.linspace(0, 1, 64).view(1, 64, 1)
    high = {
        periodic: float(amplitudes(ramp, periodic=periodic)[0, 16:32].norm()) for periodic in (True, False)
    }
    assert high[False] < 0.1 * high[True]


def loss_of(predicted: torch.Tensor, true: torch.Tensor, datasets: Datasets) -> float:
    config = tiny_config()
    data = open_data(config, datasets)
    model = new_operator(config, data, 0)[0]
    batch = to_device(probe_windows(data["advection1d"].pairs), "cpu")
    given = batch.__class__(batch.spec, batch.inputs, true[:, None], batch.parameters, batch.dt, batch.stride)
    return float(spectral(model, given, Prediction(predicted[:, None], torch.zeros(0))))


def test_misplaced_waves_are_forgiven_and_blurred_ones_are_not(datasets: Datasets) -> None:
    x = torch.arange(32) / 32
    true = (torch.sin(2 * math.pi * x) + torch.sin(2 * math.pi * 8 * x))[None, :, None].expand(2, -1, -1)
    blurred = torch.sin(2 * math.pi * x)[None, :, None].expand(2, -1, -1)
    assert loss_of(true.roll(5, 1), true, datasets) < 1e-5
    assert loss_of(blurred, true, datasets) == pytest.approx(math.sqrt(0.5), rel=1e-3)


def test_it_has_a_weight_only_where_a_config_gives_one_and_reaches_every_task(datasets: Datasets) -> None:
    config = tiny_config(lambda_spectral=0.05)
    assert [loss.name for loss in operator_losses(tiny_config())] == ["relative_l2"]
    assert [loss.name for loss in operator_losses(config)] == ["relative_l2", "spectral"]
    data = open_data(config, datasets)
    batches = {task: to_device(probe_windows(entry.pairs), "cpu") for task, entry in data.items()}
    require_reach(new_operator(config, data, 0)[0], operator_losses(config), batches, predict)


def test_gradient_is_finite_where_a_mode_is_missing() -> None:
    field = torch.zeros(1, 8, 8, 1, requires_grad=True)
    amplitudes(field, periodic=False).sum().backward()
    assert field.grad is not None
    assert bool(field.grad.isfinite().all())
