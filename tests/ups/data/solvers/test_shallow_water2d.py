"""The dam break: exact and radial references, what is conserved, symmetry, and the authentic file."""

from itertools import pairwise

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from tests.ups.data import raws
from ups.data.solvers.registry import solver_of
from ups.data.solvers.shallow_water2d import dam, evolve
from ups.data.solvers.solver import cell_centres

Doubles = NDArray[np.float64]


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def stoker(position: Doubles) -> Doubles:
    """Height at x / t behind a straight dam at 0, 2 on its left and 1 on its right (Stoker 1957)."""

    def speed_behind_shock(height: float) -> float:
        return float((height - 1.0) * np.sqrt(0.5 * (height + 1.0) / height))

    behind = float(brentq(lambda h: speed_behind_shock(h) - 2.0 * (np.sqrt(2.0) - np.sqrt(h)), 1.0, 2.0))
    shock = behind * speed_behind_shock(behind) / (behind - 1.0)
    wave = (2.0 * np.sqrt(2.0) - position) ** 2 / 9.0
    height = np.clip(wave, behind, 2.0)
    return np.asarray(np.where(position < shock, height, 1.0), np.float64)


def test_follows_the_exact_solution_of_a_straight_dam_along_either_axis() -> None:
    errors = []
    for cells in (32, 64, 128):
        x = cell_centres(-2.5, 2.5, cells)
        start = np.broadcast_to(np.where(x < 0.0, 2.0, 1.0)[:, None], (cells, 4))
        found = evolve(start[None], 5.0 / cells, frames=2, dt=1.0, steps=cells)[0, 1]
        turned = evolve(start.T[None], 5.0 / cells, frames=2, dt=1.0, steps=cells)[0, 1]
        assert np.allclose(found, turned.T, rtol=0, atol=1e-12)
        exact = stoker(np.linspace(-2.5, 2.5, 64 * cells + 1)[:-1] + 2.5 / 64 / cells)
        errors.append(np.abs(found[:, 0] - exact.reshape(cells, 64).mean(axis=1)).mean())
    assert errors[-1] < 5e-3
    assert np.log2(errors[0] / errors[2]) > 2 * 0.8, errors  # 1 is all that a shock allows


def test_is_of_second_order_where_the_water_is_smooth() -> None:
    def after(cells: int) -> Doubles:
        x = cell_centres(-2.5, 2.5, cells)
        hump = 1.0 + 0.05 * np.exp(-4.0 * (x[:, None] ** 2 + x**2))
        return evolve(hump[None], 5.0 / cells, frames=2, dt=0.5, steps=cells // 4)[0, 1] - 1.0

    def halved(fine: Doubles) -> Doubles:
        cells = len(fine) // 2
        return np.asarray(fine.reshape(cells, 2, cells, 2).mean(axis=(1, 3)), np.float64)

    solutions = [after(cells) for cells in (32, 64, 128)]
    errors = [np.abs(coarse - halved(fine)).mean() for coarse, fine in pairwise(solutions)]
    assert np.log2(errors[0] / errors[1]) > 1.7, errors


def radial(radius: float, time: float, cells: int) -> tuple[Doubles, Doubles]:
    """Distances and heights: first-order fluxes of Rusanov's in the distance from the centre alone."""
    width = 2.5 / cells
    faces = np.linspace(0.0, 2.5, cells + 1)
    centres = 0.5 * (faces[1:] + faces[:-1])
    height = np.where(centres < radius, 2.0, 1.0)
    momentum = np.zeros(cells)
    steps = int(np.ceil(time * 2.0 / width))
    for _ in range(steps):
        h = np.concatenate([height[:1], height, height[-1:]])
        q = np.concatenate([-momentum[:1], momentum, momentum[-1:]])
        push = q * q / h
        fastest = (np.abs(q / h) + np.sqrt(h)).max()
        water = 0.5 * (q[1:] + q[:-1]) - 0.5 * fastest * np.diff(h)
        carried = 0.5 * (push[1:] + push[:-1]) - 0.5 * fastest * np.diff(q)
        pressure = 0.25 * (h[1:] ** 2 + h[:-1] ** 2)
        factor = time / steps / width
        height = height - factor * np.diff(faces * water) / centres
        momentum = momentum - factor * (np.diff(faces * carried) / centres + np.diff(pressure))
    return centres, height


def test_agrees_with_a_fine_solution_in_the_distance_alone() -> None:
    radius, errors = 0.5, []
    distances, heights = radial(radius, 0.5, 2000)
    for cells in (32, 64, 128):
        faces = np.linspace(0.0, 2.5, cells + 1)
        start = dam(radius, faces)[None]
        found = evolve(start, faces[1], frames=2, dt=0.5, steps=cells // 2, mirrored=True)[0, 1]
        centres = cell_centres(0.0, 2.5, cells)
        true = np.interp(np.hypot(centres[:, None], centres), distances, heights)
        errors.append(float(np.abs(found - true).mean()))
    assert errors[-1] < 1.5e-3
    assert np.log2(errors[0] / errors[2]) > 2 * 0.8, errors


def test_conserves_water_until_a_wave_reaches_the_border() -> None:
    states = solver_of("shallow_water2d").solve(0, range(2), ()).targets[..., 0].astype(np.float64)
    water = states.mean(axis=(2, 3))
    assert np.allclose(water, water[:, :1], rtol=1e-6, atol=0)
    assert (states[:, :, 0] == 1.0).all()


def test_lets_waves_leave() -> None:
    x = cell_centres(-2.5, 2.5, 32)
    hump = 1.0 + 0.1 * np.exp(-(x[:, None] ** 2) - x**2)
    last = evolve(hump[None], 5.0 / 32, frames=2, dt=12.0, steps=240)[0, 1]
    assert np.abs(last - 1.0).max() < 5e-3


def test_still_water_stays_still() -> None:
    assert (evolve(np.full((1, 8, 8), 1.5), 0.1, frames=3, dt=0.1, steps=4) == 1.5).all()


def test_a_mirrored_quarter_is_a_quarter_of_the_whole() -> None:
    faces = np.linspace(0.0, 2.5, 17)
    quarter = dam(0.6, faces)
    half = np.concatenate([quarter[::-1], quarter])
    whole = np.concatenate([half[:, ::-1], half], axis=1)
    found, part = (
        evolve(start[None], faces[1], frames=3, dt=0.1, steps=2, mirrored=mirrored)
        for start, mirrored in ((whole, False), (quarter, True))
    )
    assert np.allclose(found[:, :, 16:, 16:], part, rtol=0, atol=1e-12)
    assert np.allclose(found, found.swapaxes(2, 3), rtol=0, atol=1e-12)


def test_a_dam_holds_the_water_of_its_disc() -> None:
    for radius in (0.3, 0.51, 0.7):
        faces = np.linspace(0.0, 2.5, 33)
        heights = dam(radius, faces)
        assert abs((heights - 1.0).sum() * faces[1] ** 2 - 0.25 * np.pi * radius**2) < 1e-12
        assert heights.min() >= 1.0 - 1e-12
        assert heights.max() <= 2.0 + 1e-12


def test_agrees_with_the_authentic_file() -> None:
    with h5py.File(raws.SHALLOW_WATER) as file:
        states = np.stack([file[f"{seed:04d}/data"][..., 0] for seed in range(3)]).astype(np.float64)
    found = evolve(states[:, 0], 5.0 / 64, frames=11, dt=0.1, steps=5)
    for frame in (1, 5, 10):
        assert relative_error(found[:, frame], states[:, frame]) < 0.006
        assert relative_error(found[:, frame] - 1.0, states[:, frame] - 1.0) < 0.05
