"""The solvers on meshes and particles, against manufactured and conserved quantities."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ups.data.points import PointBlock, PointDiscretisation
from ups.data.solvers import darcy2d_mesh, particles_advect
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import Solver
from ups.tasks import TASK_SPECS, Modality

Doubles = NDArray[np.float64]

SOLVERS = [
    name for name, spec in TASK_SPECS.items() if spec.has_solver and spec.modality is not Modality.GRID
]


@pytest.fixture(params=SOLVERS)
def solver(request: pytest.FixtureRequest) -> Solver:
    return solver_of(request.param)


def solved(solver: Solver, samples: range, seed: int = 7) -> PointBlock:
    block = solver.solve(seed, samples, solver.parameter_sets[0])
    assert isinstance(block, PointBlock)
    return block


class TestEverySolver:
    def test_makes_samples_that_differ_in_size_within_what_it_announces(self, solver: Solver) -> None:
        discretisation = solver.discretisation()
        assert isinstance(discretisation, PointDiscretisation)
        spec, frames = discretisation.spec, len(discretisation.times)
        block = solved(solver, range(4))
        for sample in block.samples:
            steps = () if spec.static else (frames,)
            assert sample.positions.shape == (sample.points, *steps, spec.spatial_dims)
            assert sample.targets.shape == (sample.points, *steps, len(spec.fields))
            assert np.isfinite(sample.targets).all()
            assert (sample.inputs is None) == (not spec.static)
            assert sample.points <= discretisation.most_points
        assert len({sample.points for sample in block.samples}) > 1

    def test_stays_within_the_domain(self, solver: Solver) -> None:
        for sample in solved(solver, range(3)).samples:
            low, high = np.array(TASK_SPECS[solver.task].domain).T
            assert ((sample.positions >= low) & (sample.positions <= high)).all()

    def test_makes_a_sample_alike_whatever_else_is_made(self, solver: Solver) -> None:
        alone, among = solved(solver, range(2, 3)).samples[0], solved(solver, range(3)).samples[2]
        assert np.array_equal(alone.positions, among.positions)
        assert np.array_equal(alone.targets, among.targets)

    def test_makes_other_samples_under_another_seed(self, solver: Solver) -> None:
        one, other = (solved(solver, range(1), seed).samples[0] for seed in (0, 1))
        assert one.points != other.points or not np.array_equal(one.targets, other.targets)


class TestDarcyOnTriangles:
    def test_is_of_second_order_in_the_mesh_width(self) -> None:
        """Against u = sin πx sin 2πy and a = 1 + x/2 + y²."""
        widths, errors = [], []
        for count in (200, 800, 3200):
            nodes, boundary = darcy2d_mesh.mesh_nodes(np.random.default_rng(1), count)
            cells = darcy2d_mesh.triangles(nodes)
            x, y = nodes.T
            a = 1 + 0.5 * x + y**2
            u = np.sin(np.pi * x) * np.sin(2 * np.pi * y)
            u_x = np.pi * np.cos(np.pi * x) * np.sin(2 * np.pi * y)
            u_y = 2 * np.pi * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
            source = 5 * np.pi**2 * a * u - 0.5 * u_x - 2 * y * u_y
            found = darcy2d_mesh.pressure(nodes, cells, boundary, a, source)
            widths.append(len(nodes) ** -0.5)
            errors.append(np.linalg.norm(found - u) / np.linalg.norm(u))
        order = np.polyfit(np.log(widths), np.log(errors), 1)[0]
        assert 1.8 < order < 2.3
        assert errors[-1] < 0.005

    def test_triangles_fill_the_square_once(self) -> None:
        nodes, boundary = darcy2d_mesh.mesh_nodes(np.random.default_rng(0), 700)
        cells = darcy2d_mesh.triangles(nodes)
        first, second, third = np.moveaxis(nodes[cells], 1, 0)
        area = 0.5 * np.cross(
            np.pad(second - first, ((0, 0), (0, 1))), np.pad(third - first, ((0, 0), (0, 1)))
        )
        assert (area[:, 2] > 0).all()
        assert area[:, 2].sum() == pytest.approx(1.0, abs=1e-9)
        assert (np.isclose(nodes[boundary], 0) | np.isclose(nodes[boundary], 1)).any(axis=1).all()
        assert len(np.unique(cells)) == len(nodes)

    def test_answers_are_zero_on_the_boundary_and_positive_within(self) -> None:
        for sample in solved(solver_of("darcy2d_mesh"), range(3)).samples:
            assert (sample.targets[sample.boundary] == 0).all()
            assert (sample.targets[~sample.boundary] > 0).all()


class TestParticles:
    def test_keep_to_their_streamline_in_a_steady_flow(self) -> None:
        random = np.random.default_rng(3)
        flow = particles_advect.random_flow(random, viscosity=0.0)
        paths = particles_advect.carry(flow, random.random((50, 2)), frames=41, dt=0.02, steps=4)
        stream = np.stack([flow.stream(paths[:, frame], 0.0) for frame in (0, 20, 40)])
        assert np.abs(stream - stream[0]).max() < 1e-5 * np.abs(stream).max()

    def test_are_followed_to_fourth_order_in_time(self) -> None:
        random = np.random.default_rng(3)
        flow = particles_advect.random_flow(random, viscosity=2e-3)
        start = random.random((50, 2))
        exact, *found = (
            particles_advect.carry(flow, start, frames=2, dt=0.2, steps=steps)[:, 1] for steps in (256, 8, 16)
        )
        coarse, fine = (np.linalg.norm(paths - exact) for paths in found)
        assert 12 < coarse / fine < 20

    def test_flow_has_no_divergence_and_is_periodic(self) -> None:
        flow = particles_advect.random_flow(np.random.default_rng(0), viscosity=2e-3)
        x = np.random.default_rng(1).random((20, 2))
        step = 1e-5
        right, up = np.array([step, 0.0]), np.array([0.0, step])
        divergence = (flow.velocity(x + right, 0.1) - flow.velocity(x - right, 0.1))[:, 0] + (
            flow.velocity(x + up, 0.1) - flow.velocity(x - up, 0.1)
        )[:, 1]
        assert np.abs(divergence / (2 * step)).max() < 1e-6
        assert np.allclose(flow.velocity(x + np.array([1.0, -2.0]), 0.1), flow.velocity(x, 0.1), atol=1e-9)

    def test_states_are_the_velocities_of_the_positions(self) -> None:
        sample = solved(solver_of("particles_advect"), range(1)).samples[0]
        moved = sample.positions[:, 2].astype(np.float64) - sample.positions[:, 0]
        moved -= np.round(moved)  # round the box
        assert np.allclose(moved / 0.04, sample.targets[:, 1], atol=0.02 * np.abs(sample.targets).max())
