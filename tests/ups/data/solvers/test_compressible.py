"""Compressible flow against exact solutions, conservation, and the authentic files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ups.data import raws
from ups.data.solvers import compressible
from ups.data.solvers.compressible import GAMMA
from ups.data.solvers.random_flow import random_flows
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import cell_centres

Doubles = NDArray[np.float64]


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def wave_means(cells: int, shift: float) -> Doubles:
    """[X] means of 1 + ½ sin 2π(x − shift)."""
    faces = 2 * np.pi * (np.arange(cells + 1) / cells - shift)
    return 1.0 - 0.5 * np.diff(np.cos(faces)) * cells / (2 * np.pi)


class TestSmoothFlow:
    @pytest.mark.parametrize("axis", [0, 1])
    def test_carries_a_wave_of_density_to_second_order(self, axis: int) -> None:
        errors = []
        for cells in (32, 64, 128):
            shape = [4 if other != axis else cells for other in range(2)]
            initial = np.ones((4, 1, *shape))
            line = [1, 1]
            line[axis] = cells
            initial[0, 0] = wave_means(cells, 0.0).reshape(line)
            initial[2:] = 0.0
            initial[2 + axis] = 1.0
            found = compressible.evolve(initial, width=1 / cells, eta=0.0, zeta=0.0, frames=2, dt=0.5)[
                0, 0, 1
            ]
            errors.append(np.abs(found - wave_means(cells, 0.5).reshape(line)).mean())
        assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.8).all(), errors
        assert errors[-1] < 5e-4

    @pytest.mark.parametrize(("eta", "zeta"), [(0.02, 0.0), (0.02, 0.05)])
    def test_damps_a_shear_wave_at_its_rate(self, eta: float, zeta: float) -> None:
        """Of so small a velocity that the heat of friction does nothing; bulk viscosity does not act."""
        errors = []
        for cells in (16, 32):
            initial = np.zeros((4, 1, cells, 4))
            initial[0], initial[1] = 2.0, 3.0
            initial[3, 0] = 1e-4 * np.sin(2 * np.pi * cell_centres(0.0, 1.0, cells))[:, None]
            found = compressible.evolve(initial, width=1 / cells, eta=eta, zeta=zeta, frames=2, dt=0.5)
            exact = initial[3, 0] * np.exp(-eta * (2 * np.pi) ** 2 * 0.5)
            errors.append(relative_error(found[3, 0, 1], exact))
        assert errors[1] < 0.006
        assert errors[0] / errors[1] > 3.0


class TestShocks:
    def test_resolves_the_shock_tube_of_sod_to_first_order(self) -> None:
        """Against the exact solution (Toro, Riemann Solvers, chapter 4)."""
        errors = []
        for cells in (128, 256, 512):
            x = cell_centres(-1.0, 1.0, cells)
            inside = np.abs(x) < 0.5
            initial = np.stack([np.where(inside, 1.0, 0.125), np.where(inside, 1.0, 0.1), 0.0 * x])[:, None]
            found = compressible.evolve(initial, width=2 / cells, eta=0.0, zeta=0.0, frames=2, dt=0.15)
            right = x > 0.1
            exact = sod_density((x[right] - 0.5) / 0.15)
            errors.append(float(np.abs(found[0, 0, 1][right] - exact).mean()))
            assert np.allclose(found[0, 0, 1], found[0, 0, 1][::-1], rtol=0, atol=1e-10)
        assert errors[-1] < 0.003
        assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 0.75).all(), errors


def sod_density(speed: Doubles) -> Doubles:
    """The density at x/t of the tube with (ρ, p) = (1, 1) on the left, (0.125, 0.1) on the right, at rest."""
    sound_left, sound_right = np.sqrt(GAMMA), np.sqrt(GAMMA * 0.1 / 0.125)

    def velocities(pressure: float) -> tuple[float, float]:
        """Behind the rarefaction, and behind the shock."""
        fan = 2 * sound_left / (GAMMA - 1) * (1 - pressure ** ((GAMMA - 1) / (2 * GAMMA)))
        a, b = 2 / ((GAMMA + 1) * 0.125), (GAMMA - 1) / (GAMMA + 1) * 0.1
        return fan, (pressure - 0.1) * np.sqrt(a / (pressure + b))

    low, high = 0.1, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        fan, shocked = velocities(middle)
        low, high = (middle, high) if fan > shocked else (low, middle)
    pressure, (velocity, _) = middle, velocities(middle)
    ratio, weak = pressure / 0.1, (GAMMA - 1) / (GAMMA + 1)
    behind_shock = 0.125 * (ratio + weak) / (weak * ratio + 1)
    front = sound_right * np.sqrt((GAMMA + 1) / (2 * GAMMA) * ratio + (GAMMA - 1) / (2 * GAMMA))
    behind_fan = pressure ** (1 / GAMMA)
    tail = velocity - sound_left * pressure ** ((GAMMA - 1) / (2 * GAMMA))
    in_fan = np.clip(2 / (GAMMA + 1) - weak / sound_left * speed, 1e-9, None) ** (2 / (GAMMA - 1))
    return np.select(
        [speed < -sound_left, speed < tail, speed < velocity, speed < front],
        [1.0, in_fan, behind_fan, behind_shock],
        0.125,
    )


class TestEveryFlow:
    @pytest.mark.parametrize(
        ("dims", "cells", "eta"), [(2, 16, 0.0), (2, 16, 0.02), (3, 8, 0.0), (3, 8, 0.02)]
    )
    def test_conserves_mass_momentum_and_energy(self, dims: int, cells: int, eta: float) -> None:
        initial = random_flows(1, range(2), dims=dims, cells=cells, mach=1.0)
        states = compressible.evolve(initial, width=1 / cells, eta=eta, zeta=eta, frames=3, dt=0.05)
        assert (states[:2] > 0.0).all()
        sums = compressible.conserved(states).reshape(*states.shape[:3], -1).sum(axis=-1)
        sizes = np.abs(compressible.conserved(states)).reshape(*states.shape[:3], -1).sum(axis=-1)
        assert (np.abs(sums - sums[:, :, :1]) < 1e-12 * sizes).all()

    def test_is_the_same_in_any_batch(self) -> None:
        initial = random_flows(1, range(3), dims=2, cells=16, mach=1.0)
        settings = {"width": 1 / 16, "eta": 0.01, "zeta": 0.01, "dt": 0.05}
        together = compressible.evolve(initial, frames=2, **settings)
        alone = compressible.evolve(initial[:, 1:2], frames=2, **settings)
        assert np.array_equal(together[:, 1:2], alone)

    def test_has_the_mach_number_that_is_asked_for(self) -> None:
        flow = random_flows(0, range(8), dims=2, cells=32, mach=0.5)
        speed = np.sqrt((flow[2:] ** 2).sum(axis=0)).mean(axis=(1, 2))
        sound = np.sqrt(GAMMA * flow[1] / flow[0]).mean(axis=(1, 2))
        assert 0.45 < (speed / sound).max() < 0.55  # less where the flow is confined to a box

    def test_exchanges_axes_with_the_flow(self) -> None:
        initial = random_flows(1, range(1), dims=2, cells=16, mach=1.0)
        turned = np.swapaxes(initial, 2, 3)[[0, 1, 3, 2]]
        settings = {"width": 1 / 16, "eta": 0.01, "zeta": 0.02, "frames": 2}
        found = compressible.evolve(initial, dt=0.01, **settings)
        other = np.swapaxes(compressible.evolve(turned, dt=0.01, **settings), 3, 4)[[0, 1, 3, 2]]
        assert relative_error(other[:2], found[:2]) < 0.02  # the order of the axes is of second order


class TestAuthentic:
    """The same equations and a close relative of the scheme, from the files' own first frames."""

    @pytest.mark.parametrize(
        ("path", "names", "length", "bound"),
        [
            (raws.CFD_1D, ("density", "pressure", "Vx"), 2.0, 0.01),
            (raws.CFD_2D, ("density", "pressure", "Vx", "Vy"), 1.0, 0.05),
        ],
    )
    def test_agrees_with_the_published_scheme(
        self, path: Path, names: tuple[str, ...], length: float, bound: float
    ) -> None:
        with h5py.File(path) as file:
            states = np.stack([file[name][()] for name in names]).astype(np.float64)
            eta, dt = float(file.attrs["eta"]), float(np.diff(file["t-coordinate"][:2])[0])
        width, frames = length / states.shape[-1], states.shape[2]
        found = compressible.evolve(
            states[:, :, 0].astype(np.float32), width=width, eta=eta, zeta=eta, frames=frames, dt=dt
        )
        errors = [relative_error(found[:2, i, -1], states[:2, i, -1]) for i in range(states.shape[1])]
        assert np.median(errors) < bound, errors


def test_one_dimension_starts_between_the_published_bounds() -> None:
    states = solver_of("compressible_ns1d").solve(0, range(2), (0.1, 0.1)).targets
    assert (states[:, 0, :, 0] > 0.95).all()
    assert (states[:, 0, :, 0] < 20.0).all()
    assert (states[:, 0, :, 1] > 9.5).all()
    assert (states[:, 0, :, 1] < 200.0).all()
