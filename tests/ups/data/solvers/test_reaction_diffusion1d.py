"""Fisher's equation: exact solutions, a travelling front, and bounds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ups.data.solvers.reaction_diffusion1d import evolve
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import cell_centres

Doubles = NDArray[np.float64]


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def front(x: Doubles, time: float, nu: float, rho: float) -> Doubles:
    """The front of Ablowitz & Zeppetella (1979), which moves at 5 √(ρν/6)."""
    speed = 5.0 * np.sqrt(rho * nu / 6.0)
    return np.asarray((1.0 + np.exp(np.sqrt(rho / (6.0 * nu)) * (x - speed * time))) ** -2.0, np.float64)


def test_follows_an_exact_front_to_second_order_in_time() -> None:
    nu, rho, x = 1e-4, 4.0, cell_centres(0.0, 1.0, 256)

    def pair(time: float) -> Doubles:
        """A front to the right and its mirror image, far from each other."""
        return (front(x - 0.7, time, nu, rho) * front(0.3 - x, time, nu, rho))[None]

    errors = [
        relative_error(evolve(pair(0.0), nu, rho, frames=2, dt=1.0, steps=steps)[:, 1], pair(1.0))
        for steps in (8, 16, 32)
    ]
    assert errors[-1] < 2e-3
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.8).all(), errors


def test_a_uniform_state_grows_as_the_logistic_function() -> None:
    found = evolve(np.full((1, 8), 0.1), 0.5, 5.0, frames=3, dt=0.25, steps=1)[0, :, 0]
    growth = np.exp(5.0 * np.array([0.0, 0.25, 0.5]))
    assert np.allclose(found, 0.1 * growth / (0.9 + 0.1 * growth), rtol=1e-12)


def test_diffuses_a_wave_at_its_rate() -> None:
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * cell_centres(0.0, 1.0, 32))[None]
    found = evolve(wave, 0.5, 0.0, frames=2, dt=0.1, steps=1)[:, 1]
    assert np.allclose(found - 0.5, np.exp(-0.5 * 4 * np.pi**2 * 0.1) * (wave - 0.5), atol=1e-12)


@pytest.mark.parametrize("parameters", solver_of("reaction_diffusion1d").parameter_sets)
def test_starts_from_0_to_1_and_stays_there(parameters: tuple[float, ...]) -> None:
    states = solver_of("reaction_diffusion1d").solve(0, range(32), parameters).targets[..., 0]
    assert states.min() >= 0.0
    assert states.max() <= 1.0 + 1e-6
    assert (states[:, 0].min(axis=1) < 0.01).all()
    assert (states[:, 0].max(axis=1) > 0.99).all()
    assert (np.diff(states.mean(axis=2), axis=1) > -1e-6).all()  # the reaction only adds


def test_a_frame_is_solved_to_less_than_a_ten_thousandth() -> None:
    x = cell_centres(0.0, 1.0, 64)
    start = (0.5 + 0.3 * np.sin(2 * np.pi * x) + 0.2 * np.sin(6 * np.pi * x))[None]
    found, true = (evolve(start, 0.5, 10.0, frames=11, dt=0.01, steps=steps) for steps in (4, 64))
    assert relative_error(found, true) < 1e-4
