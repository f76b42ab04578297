"""Incompressible Navier–Stokes in a box: exact solutions, what is conserved, and the authentic file."""

import h5py
import numpy as np
from numpy.typing import NDArray

from tests.ups.data import raws
from ups.data.solvers import navier_stokes2d
from ups.data.solvers.navier_stokes2d import Box, Flow, divergence, evolve, project
from ups.data.solvers.solver import cell_centres

Doubles = NDArray[np.float64]

VISCOSITY = 0.02


def relative_error(found: Doubles, true: Doubles) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def empty_box(cells: int, *, slip: bool = False, viscosity: float = VISCOSITY) -> Box:
    return Box(viscosity, np.zeros((2, cells, cells)), slip)


def noise(cells: int, seed: int = 0) -> Flow:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(1, cells + 1, cells)), random.normal(size=(1, cells, cells + 1))
    x[:, [0, -1]] = y[:, :, [0, -1]] = 0.0
    return Flow(x, y, random.normal(size=(1, cells, cells)))


def smooth(cells: int) -> Flow:
    """A flow that is still at the walls, from a stream function, with smoke in one half."""
    corners, centres = np.linspace(0.0, 1.0, cells + 1), cell_centres(0.0, 1.0, cells)
    hump = np.sin(np.pi * corners) ** 2
    stream = 0.3 * hump[:, None] * hump * (1.0 + 0.5 * corners[:, None])
    smoke = np.cos(np.pi * centres)[:, None] * (1.0 + np.cos(np.pi * centres))
    return Flow(np.diff(stream, axis=1)[None] * cells, -np.diff(stream, axis=0)[None] * cells, smoke[None])


def taylor_green(cells: int, time: float) -> Flow:
    """The vortex sin πx sin πy, that only decays, between walls along which it slips."""
    corners, centres = np.pi * np.linspace(0.0, 1.0, cells + 1), np.pi * cell_centres(0.0, 1.0, cells)
    decay = np.exp(-2 * np.pi**2 * VISCOSITY * time)
    x = decay * np.sin(corners)[:, None] * np.cos(centres)
    return Flow(x[None], -x.T[None], np.zeros((1, cells, cells)))


def test_follows_a_decaying_vortex_to_second_order() -> None:
    errors = []
    for cells in (16, 32, 64):
        found = evolve(
            taylor_green(cells, 0.0), empty_box(cells, slip=True), frames=2, dt=0.5, steps=4 * cells
        )
        errors.append(relative_error(found[:, 1], taylor_green(cells, 0.5).cells()))
    assert errors[-1] < 1e-4
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.9).all(), errors


def test_converges_to_second_order_beside_walls_that_hold_the_flow() -> None:
    coarse, middle, fine = (
        evolve(smooth(cells), empty_box(cells), frames=2, dt=0.5, steps=4 * cells)[0, 1, ..., :2]
        for cells in (16, 32, 64)
    )
    first = coarse - middle.reshape(16, 2, 16, 2, 2).mean(axis=(1, 3))
    second = middle - fine.reshape(32, 2, 32, 2, 2).mean(axis=(1, 3))
    order = np.log2(np.sqrt((first**2).mean() / (second**2).mean()))
    assert order > 1.7


def test_has_no_divergence_whatever_it_starts_from() -> None:
    start = noise(32)
    assert np.abs(divergence(start)).max() > 10.0
    assert np.abs(divergence(project(start))).max() < 1e-11
    flow, box = project(start), empty_box(32)
    for _ in range(5):
        flow = navier_stokes2d._step(flow, box, 1e-3)
    assert np.abs(divergence(flow)).max() < 1e-11
    assert np.abs(flow.x[:, [0, -1]]).max() == np.abs(flow.y[:, :, [0, -1]]).max() == 0.0


def test_projecting_twice_is_projecting_once() -> None:
    once = project(noise(16))
    twice = project(once)
    assert np.allclose(twice.x, once.x, rtol=0, atol=1e-12)


def test_keeps_all_smoke_within_its_first_bounds() -> None:
    states = navier_stokes2d.solve(3, range(2), ()).targets.astype(np.float64)
    smoke = states[..., 2]
    assert np.allclose(smoke.mean(axis=(2, 3)), smoke[:, :1].mean(axis=(2, 3)), rtol=0, atol=1e-6)
    for extreme, sign in ((smoke.max(axis=(2, 3)), 1.0), (smoke.min(axis=(2, 3)), -1.0)):
        assert (sign * extreme <= sign * extreme[:, :1] + 0.02).all()


def test_loses_energy_where_nothing_pushes() -> None:
    states = evolve(smooth(32), empty_box(32), frames=11, dt=0.1, steps=20)[0]
    energy = (states[..., :2] ** 2).sum(axis=(1, 2, 3))
    assert (np.diff(energy) < 0.0).all()


def test_smoke_starts_a_flow_where_it_is_not_in_layers() -> None:
    cells = 16
    x = cell_centres(0.0, 1.0, cells)
    up = np.stack([np.zeros((cells, cells)), np.ones((cells, cells))])
    still = Flow(
        np.zeros((1, cells + 1, cells)), np.zeros((1, cells, cells + 1)), np.zeros((1, cells, cells))
    )
    layers = np.broadcast_to(np.sin(np.pi * x), (1, cells, cells))
    for smoke, moves in ((layers, False), (layers.swapaxes(1, 2), True)):
        states = evolve(Flow(still.x, still.y, smoke), Box(0.01, up), frames=2, dt=0.1, steps=10)
        assert (np.abs(states[..., :2]).max() > 0.01) == moves


def test_mirrored_starts_have_mirrored_solutions() -> None:
    start = noise(16)
    mirrored = Flow(-start.x[:, ::-1], start.y[:, ::-1], start.smoke[:, ::-1])
    x = cell_centres(0.0, 1.0, 16) - 0.5
    box = Box(0.01, np.stack(np.meshgrid(x, x, indexing="ij")))
    found, image = (evolve(flow, box, frames=2, dt=0.05, steps=20)[0, 1] for flow in (start, mirrored))
    assert np.allclose(image, found[::-1] * [-1.0, 1.0, 1.0], rtol=0, atol=1e-10)


def test_enough_steps_are_taken_in_a_frame() -> None:
    start = [np.stack([part]) for part in navier_stokes2d._initial(np.random.default_rng(1))]
    x = cell_centres(0.0, 1.0, 64) - 0.5
    box = Box(0.01, 4.0 * np.stack(np.meshgrid(x, x, indexing="ij")))
    coarse, fine = (evolve(Flow(*start), box, frames=3, dt=0.05, steps=steps)[:, -1] for steps in (10, 20))
    assert relative_error(coarse, fine) < 1e-3


def test_agrees_with_the_authentic_file() -> None:
    """Its generator is of first order in time and smears what it carries: that is what is left.

    Its first frame is noise, the second the first one without divergence.
    """
    with h5py.File(raws.NAVIER_STOKES) as file:
        velocity, smoke = (file[name][:, 2:].astype(np.float64) for name in ("velocity", "particles"))
        force = np.moveaxis(file["force"][()].astype(np.float64), -1, 0)
    start = Flow(
        on_faces(velocity[:, 0, ..., 0], 1), on_faces(velocity[:, 0, ..., 1], 2), smoke[:, 0, ..., 0]
    )
    found = evolve(start, Box(0.01, force), frames=6, dt=0.01, steps=5)
    assert relative_error(found[:, 5, ..., :2], velocity[:, 5]) < 0.06
    assert relative_error(found[:, 5, ..., 2:], smoke[:, 5]) < 0.04
    assert relative_error(velocity[:, 0], velocity[:, 5]) > 0.2


def on_faces(values: Doubles, axis: int) -> Doubles:
    """Means of neighbouring cells along an axis of [n, X, Y], 0 at the walls."""
    values = np.moveaxis(values, axis, 0)
    wall = np.zeros_like(values[:1])
    faces = np.concatenate([wall, 0.5 * (values[1:] + values[:-1]), wall])
    return np.moveaxis(faces, 0, axis)
