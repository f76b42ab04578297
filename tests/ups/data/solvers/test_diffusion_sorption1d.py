"""Diffusion–sorption: an exact front, an independent integrator, what is conserved, the authentic file."""

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import erfc

from tests.ups.data import raws
from ups.data.solvers.diffusion_sorption1d import Column, evolve
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import cell_centres

Doubles = NDArray[np.float64]


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def flat(level: float, cells: int) -> Doubles:
    return np.full((1, cells), level)


def test_follows_the_exact_front_of_the_linear_equation_to_second_order_in_space() -> None:
    """With Freundlich's exponent 1 a front is u = erfc(x / 2√(Dt/R)), x from the ghost cell's centre."""
    column = Column(exponent=1.0, offset=0.0)
    spread = 2.0 * np.sqrt(column.diffusivity * 100.0 / (1.0 + column.bound))
    errors = []
    for cells in (32, 64, 128):
        found = evolve(flat(0.0, cells), column, frames=5, dt=25.0, steps=32, first_steps=64)[0, -1]
        exact = erfc((cell_centres(0.0, 1.0, cells) + 0.5 / cells) / spread)
        errors.append(relative_error(found, exact))
    assert errors[-1] < 1e-3
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.9).all(), errors


def test_is_of_second_order_in_time() -> None:
    x = cell_centres(0.0, 1.0, 64)
    smooth = (np.exp(-4.0 * x) * (1.0 - x**2) + 0.05)[None]

    def after(steps: int) -> Doubles:
        return evolve(smooth, Column(), frames=2, dt=40.0, steps=1, first_steps=steps)[0, 1]

    exact = after(256)
    errors = [relative_error(after(steps), exact) for steps in (8, 16, 32)]
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.8).all(), errors


def test_agrees_with_an_independent_integrator() -> None:
    column, cells = Column(), 64

    def rate(_: float, u: Doubles) -> Doubles:
        outlet = column.diffusivity * cells * (u[-2] - u[-1])
        padded = np.concatenate([[column.entry], u, [outlet]])
        change: Doubles = column.diffusivity * cells**2 * np.diff(padded, 2) / column.retardation(u)
        return change

    times = 25.0 * np.arange(5)
    options = {"method": "Radau", "rtol": 1e-7, "atol": 1e-9}
    true = solve_ivp(rate, (0.0, 100.0), flat(0.1, cells)[0], t_eval=times, **options).y.T
    found = evolve(flat(0.1, cells), column, frames=5, dt=25.0, steps=16, first_steps=32)[0]
    assert relative_error(found[1:], true[1:]) < 1e-4


def test_loses_only_what_leaves_at_the_right() -> None:
    """From a level that is that of the entry nothing comes in, so that C is missing by the outflow."""
    column, cells, frames, dt = Column(entry=0.3), 64, 401, 0.0125
    states = evolve(flat(0.3, cells), column, frames=frames, dt=dt, steps=1, first_steps=4)[0]
    rate = column.diffusivity * cells
    ghost = rate * (states[:, -2] - states[:, -1])
    outflow = rate * (states[:, -1] - ghost)
    content = column.content(states).mean(axis=1)
    assert content[0] - content[-1] == pytest.approx(np.trapezoid(outflow, dx=dt), rel=0.01)


def test_stays_between_nothing_and_what_enters_and_rises_at_the_entry() -> None:
    states = solver_of("diffusion_sorption1d").solve(0, range(4), ()).targets[..., 0]
    assert (states > 0.0).all()
    assert (states < 1.0).all()
    assert (np.diff(states[:, 1:, :8], axis=1) > 0.0).all()


def test_agrees_with_the_authentic_file() -> None:
    with h5py.File(raws.DIFFUSION_SORPTION) as file:
        states = np.stack([file[f"{seed:04d}/data"][..., 0] for seed in range(6)]).astype(np.float64)
    found = evolve(states[:, 0], Column(), frames=21, dt=25.0, steps=16, first_steps=32)
    for frame in (1, 5, 20):  # what the tolerance of the authentic integrator leaves
        assert relative_error(found[:, frame], states[:, frame]) < 0.003
