"""Allen–Cahn and Cahn–Hilliard: exact fronts and growth, energy that falls, what is conserved."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ups.data.solvers import allen_cahn2d, cahn_hilliard2d
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import cell_centres
from ups.data.solvers.spectral import random_field, squared_wave_numbers

Doubles = NDArray[np.float64]


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def energy(states: Doubles, epsilon: float) -> Doubles:
    """∫ ¼(u² − 1)² + ½ε²|∇u|² of [..., X, X]."""
    squared = squared_wave_numbers(states.shape[-1])
    laplacian = -np.fft.irfft2(squared * np.fft.rfft2(states), s=states.shape[-2:])
    density: Doubles = 0.25 * (states**2 - 1.0) ** 2 - 0.5 * epsilon**2 * states * laplacian
    return np.asarray(density.mean(axis=(-2, -1)), np.float64)


def waves(cells: int, strength: float = 0.2) -> Doubles:
    """[1, X, X]."""
    return strength * random_field(np.random.default_rng(1), cells, largest_wave_number=3)[None]


def test_a_random_field_is_the_same_on_any_number_of_cells() -> None:
    coarse, fine = (random_field(np.random.default_rng(5), c, largest_wave_number=3) for c in (16, 48))
    assert np.allclose(coarse, fine[1::3, 1::3], atol=1e-12)
    assert abs(coarse.mean()) < 1e-12
    assert np.mean(coarse**2) == pytest.approx(1.0)


@pytest.mark.parametrize("task", ["allen_cahn2d", "cahn_hilliard2d"])
def test_energy_never_rises(task: str) -> None:
    solver = solver_of(task)
    for (epsilon,) in solver.parameter_sets:
        states = solver.solve(0, range(2), (epsilon,)).targets[..., 0].astype(np.float64)
        assert (np.diff(energy(states, epsilon), axis=1) <= 1e-7).all()


class TestAllenCahn:
    def test_is_of_second_order_in_time(self) -> None:
        def after(steps: int) -> Doubles:
            return allen_cahn2d.evolve(waves(32), 0.05, frames=2, dt=2.0, steps=steps)[:, 1]

        exact = after(512)
        errors = [relative_error(after(steps), exact) for steps in (4, 8, 16)]
        assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.9).all(), errors

    def test_a_border_between_phases_keeps_its_profile(self) -> None:
        """tanh(x / √2 ε) is steady; two of them, at a distance of 18 of their widths, all but are."""
        epsilon, x = 0.02, cell_centres(0.0, 1.0, 128)
        profile = np.tanh((0.25 - np.abs(x - 0.5)) / (np.sqrt(2.0) * epsilon))
        start = np.broadcast_to(profile[:, None], (1, 128, 128))
        found = allen_cahn2d.evolve(start, epsilon, frames=2, dt=1.0, steps=32)[:, 1]
        assert relative_error(found, start) < 1e-3

    def test_a_disc_shrinks_by_its_curvature(self) -> None:
        """d(r²)/dt = −2ε², as long as the disc is much larger than its border."""
        epsilon, x = 0.02, cell_centres(0.0, 1.0, 128) - 0.5
        radius = np.hypot(x[:, None], x)
        start = np.tanh((0.3 - radius) / (np.sqrt(2.0) * epsilon))[None]
        found = allen_cahn2d.evolve(start, epsilon, frames=2, dt=20.0, steps=200)[0]
        squares = (0.5 * (found + 1.0)).mean(axis=(1, 2)) / np.pi
        assert squares[0] - squares[1] == pytest.approx(2 * epsilon**2 * 20.0, rel=0.03)

    def test_a_uniform_state_reacts_exactly(self) -> None:
        found = allen_cahn2d.evolve(np.full((1, 4, 4), 0.1), 0.05, frames=2, dt=1.0, steps=1)[0, 1]
        growth = np.exp(1.0)
        assert np.allclose(found, 0.1 * growth / np.sqrt(1.0 + 0.01 * (growth**2 - 1.0)), rtol=1e-12)

    def test_stays_between_the_phases(self) -> None:
        solver = solver_of("allen_cahn2d")
        for parameters in solver.parameter_sets:
            assert np.abs(solver.solve(0, range(4), parameters).targets).max() < 1.0 + 1e-4


class TestCahnHilliard:
    def test_is_of_more_than_third_order_in_time(self) -> None:
        def after(steps: int) -> Doubles:
            return cahn_hilliard2d.evolve(waves(32), 0.1, frames=2, dt=0.02, steps=steps)[:, 1]

        exact = after(512)
        errors = [relative_error(after(steps), exact) for steps in (8, 16, 32)]
        assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 3.2).all(), errors

    def test_a_faint_wave_grows_at_its_rate(self) -> None:
        """k²(1 − ε²k²) around u = 0."""
        epsilon, x = 0.05, 2 * np.pi * cell_centres(0.0, 1.0, 32)
        wave = 1e-6 * np.cos(x[:, None] + 2.0 * x)[None]
        square = 5.0 * (2 * np.pi) ** 2
        found = cahn_hilliard2d.evolve(wave, epsilon, frames=2, dt=0.02, steps=4)[:, 1]
        growth = np.exp(square * (1.0 - epsilon**2 * square) * 0.02)
        assert relative_error(found, growth * wave) < 1e-6

    def test_a_border_between_phases_keeps_its_profile(self) -> None:
        epsilon, x = 0.03, cell_centres(0.0, 1.0, 64)
        profile = np.tanh((0.25 - np.abs(x - 0.5)) / (np.sqrt(2.0) * epsilon))
        start = np.broadcast_to(profile[:, None], (1, 64, 64))
        found = cahn_hilliard2d.evolve(start, epsilon, frames=2, dt=0.01, steps=40)[:, 1]
        assert relative_error(found, start) < 2e-3

    def test_conserves_the_mean(self) -> None:
        start = waves(32) + np.linspace(-0.3, 0.3, 4)[:, None, None]
        states = cahn_hilliard2d.evolve(start, 0.05, frames=11, dt=0.002, steps=4)
        means = states.mean(axis=(2, 3))
        assert np.abs(means - means[:, :1]).max() < 1e-13

    def test_separates_but_not_far_beyond_the_phases(self) -> None:
        solver = solver_of("cahn_hilliard2d")
        states = solver.solve(0, range(4), solver.parameter_sets[0]).targets[:, -1, ..., 0]
        assert np.abs(states).max() < 1.25
        assert (np.abs(states) > 0.7).mean() > 0.6

    def test_a_frame_is_solved_accurately(self) -> None:
        start = waves(64, 0.3)
        found, true = (
            cahn_hilliard2d.evolve(start, 0.025, frames=11, dt=0.002, steps=steps) for steps in (8, 40)
        )
        assert relative_error(found, true) < 1e-3
