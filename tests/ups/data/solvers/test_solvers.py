"""The reference solvers against exact solutions, conservation, and the authentic files."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.ups.data import raws
from ups.data.solvers import burgers1d, darcy2d, reaction_diffusion2d
from ups.data.solvers.registry import solver_of
from ups.data.solvers.solver import Solver, SolverSource, cell_centres
from ups.data.solvers.waves import random_waves
from ups.data.source import AnyBlock, Block
from ups.tasks import TASK_SPECS, Modality

Doubles = NDArray[np.float64]

SOLVERS = [name for name, spec in TASK_SPECS.items() if spec.has_solver and spec.modality is Modality.GRID]


def relative_error(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


@pytest.fixture(params=SOLVERS, scope="module")
def solver(request: pytest.FixtureRequest) -> Solver:
    return solver_of(request.param)


@pytest.fixture(scope="module")
def made(solver: Solver) -> Block:
    """Samples 0 and 1 under seed 7."""
    block = solver.solve(7, range(2), solver.parameter_sets[-1])
    assert isinstance(block, Block)
    return block


def starts(block: AnyBlock) -> NDArray[np.float32]:
    assert isinstance(block, Block)
    return block.targets[:, 0] if block.inputs is None else block.inputs


class TestEverySolver:
    def test_fills_the_shape_that_it_announces(self, solver: Solver, made: Block) -> None:
        discretisation = solver.discretisation()
        assert made.targets.shape == (2, *discretisation.state_shape)
        assert made.targets.dtype == np.float32
        assert np.isfinite(made.targets).all()
        assert (made.inputs is None) == (not discretisation.spec.static)

    def test_gives_the_same_for_the_same_request(self, solver: Solver, made: Block) -> None:
        again = solver.solve(7, range(2), solver.parameter_sets[-1])
        assert np.array_equal(made.targets, again.targets)

    def test_starts_a_sample_alike_whatever_else_is_made(self, solver: Solver, made: Block) -> None:
        alone = solver.solve(7, range(1, 2), solver.parameter_sets[-1])
        assert np.array_equal(starts(made)[1], starts(alone)[0])
        assert not np.array_equal(starts(made)[0], starts(made)[1])

    def test_makes_other_samples_under_another_seed(self, solver: Solver, made: Block) -> None:
        other = solver.solve(8, range(1), solver.parameter_sets[-1])
        assert not np.array_equal(made.targets[:1], other.targets)

    def test_is_read_in_blocks_of_at_most_the_rows_asked_for(self, solver: Solver, made: Block) -> None:
        def given(seed: int, samples: Sequence[int], parameters: tuple[float, ...]) -> Block:
            return made.take(np.arange(2) < len(samples))

        for batch, lengths in ((1, [1, 1, 1]), (8, [2, 1])):
            source = SolverSource(replace(solver, batch=batch, solve=given), 3, 0, solver.parameter_sets[-1])
            assert [len(block) for block in source.blocks(2)] == lengths

    def test_has_a_parameter_for_each_of_the_task(self, solver: Solver) -> None:
        names = [parameter.name for parameter in TASK_SPECS[solver.task].parameters]
        about = SolverSource(solver, 3, 0, solver.parameter_sets[0]).about
        assert list(about["parameters"]) == names


def test_the_solvers_are_found_without_importing_scipy() -> None:
    code = (
        "import sys\n"
        "from ups.data import convert\n"
        "from ups.data.solvers.registry import solver_of\n"
        "solver_of('burgers1d')\n"
        "assert 'scipy' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestWaves:
    def test_are_periodic(self) -> None:
        waves = random_waves(0, range(50))
        x = cell_centres(0.0, 1.0, 64)
        assert np.allclose(waves(x), waves(x - 3.0), rtol=0, atol=1e-12)

    def test_are_sometimes_folded_and_sometimes_cut(self) -> None:
        waves = random_waves(0, range(400))
        assert 0.05 < np.mean(waves.sign != 0.0) < 0.15
        assert 0.05 < np.mean(waves.window[:, 1] - waves.window[:, 0] < 1.0) < 0.15
        folded = waves.sign[:, 0] != 0.0
        values = waves(cell_centres(0.0, 1.0, 64))[folded]
        assert (values * waves.sign[folded] >= 0.0).all()


class TestAdvection:
    @pytest.mark.parametrize("beta", [0.1, 0.4, 1.0])
    def test_carries_the_initial_condition_along(self, beta: float) -> None:
        states = solver_of("advection1d").solve(0, range(64), (beta,)).targets[..., 0].astype(np.float64)
        waves = random_waves(0, range(64))
        smooth = (waves.sign == 0.0)[:, 0] & (waves.window == [0.0, 1.0]).all(axis=1)
        assert smooth.sum() > 40
        for frame in (1, 17, 40):
            moved = shifted(states[smooth, 0], beta * 0.05 * frame)
            assert relative_error(states[smooth, frame], moved) < 1e-6

    @pytest.mark.parametrize(("path", "beta"), [(raws.ADVECTION, 0.4), (raws.ADVECTION_FAST, 1.0)])
    def test_agrees_with_the_authentic_files(self, path: object, beta: float) -> None:
        with h5py.File(path) as file:
            states = file["tensor"][()].astype(np.float64)
        errors = [
            relative_error(shifted(states[sample, 0], beta * 0.05 * 40), states[sample, 40])
            for sample in range(len(states))
        ]
        assert np.median(errors) < 0.004  # what the authentic scheme's own diffusion leaves


def shifted(values: Doubles, distance: float) -> Doubles:
    """Periodic values [..., X] on the unit interval, moved exactly."""
    cells = values.shape[-1]
    phases = np.exp(-2j * np.pi * np.arange(cells // 2 + 1) * distance)
    moved: Doubles = np.fft.irfft(np.fft.rfft(values) * phases, n=cells)
    return moved


class TestBurgers:
    def test_agrees_with_the_exact_solution_to_second_order(self) -> None:
        errors = []
        for cells in (64, 128, 256):
            found = burgers1d.evolve(self._means(0.0, cells), self.VISCOSITY, frames=2, dt=0.2)[0, 1]
            errors.append(relative_error(found, self._means(0.2, cells)[0]))
        assert errors[-1] < 3e-4
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert (orders > 1.8).all(), errors

    VISCOSITY = 0.02

    def _means(self, time: float, cells: int) -> Doubles:
        """[1, X] means of −2ν φₓ/φ, where φ = 2 + exp(−4π²νt) cos 2πx solves the heat equation."""
        faces = np.linspace(0.0, 1.0, cells + 1)
        decay = np.exp(-4 * np.pi**2 * self.VISCOSITY * time)
        potential = -2 * self.VISCOSITY * np.log(2.0 + 1.9 * decay * np.cos(2 * np.pi * faces))
        return np.diff(potential)[None] * cells

    @pytest.mark.parametrize("nu", [0.001, 0.1])
    def test_conserves_the_mean_and_never_exceeds_the_start(self, nu: float) -> None:
        states = solver_of("burgers1d").solve(3, range(4), (nu,)).targets[..., 0].astype(np.float64)
        means = states.mean(axis=2)
        assert np.allclose(means, means[:, :1], rtol=0, atol=1e-6)
        highest, lowest = states.max(axis=2), states.min(axis=2)
        assert (highest <= highest[:, :1] + 2e-3).all()
        assert (lowest >= lowest[:, :1] - 2e-3).all()
        energy = (states**2).sum(axis=2)
        assert (np.diff(energy, axis=1) <= 1e-6 * energy[:, :1]).all()

    def test_agrees_with_the_authentic_file(self) -> None:
        with h5py.File(raws.BURGERS) as file:
            states = file["tensor"][:6].astype(np.float64)
        spectrum = np.pad(np.fft.rfft(states[:, 0]), ((0, 0), (0, 128)))
        fine = 2 * np.fft.irfft(spectrum, n=512)  # the authentic file keeps points of a finer grid
        found = burgers1d.evolve(fine, 0.01 / np.pi, frames=41, dt=0.05)[:, :, ::2]
        errors = [relative_error(found[sample, 1:], states[sample, 1:]) for sample in range(6)]
        assert np.median(errors) < 0.003


class TestDarcy:
    def test_agrees_with_an_exact_solution_to_second_order(self) -> None:
        errors = []
        for cells in (16, 32, 64):
            width = 1.0 + 1.0 / cells  # the zero lies in the centre of the ghost cells
            s = (cell_centres(0.0, 1.0, cells) + 0.5 / cells) / width
            x, y = np.meshgrid(s, s, indexing="ij")
            k = np.pi
            u = np.sin(k * x) * np.sin(2 * k * y)
            a = 1.0 + 0.5 * np.cos(k * x) * y
            divergence = (
                -0.5 * k * np.sin(k * x) * y * k * np.cos(k * x) * np.sin(2 * k * y)
                + 0.5 * np.cos(k * x) * 2 * k * np.sin(k * x) * np.cos(2 * k * y)
                - 5 * k**2 * a * u
            )
            errors.append(relative_error(darcy2d.pressure(a, -divergence / width**2), u))
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert errors[-1] < 2e-3
        assert (orders > 1.7).all(), errors

    def test_agrees_with_the_authentic_file_where_that_is_steady(self) -> None:
        with h5py.File(raws.DARCY) as file:
            coefficients, answers = file["nu"][()].astype(np.float64), file["tensor"][:, 0]
        errors = [
            relative_error(darcy2d.pressure(a, np.ones_like(a)), answer)
            for a, answer in zip(coefficients, answers, strict=True)
        ]
        assert np.median(errors) < 0.01
        assert min(errors) < 3e-4

    def test_has_coefficients_of_two_values_in_patches(self) -> None:
        block = solver_of("darcy2d").solve(0, range(16), (1.0,))
        assert block.inputs is not None
        assert np.unique(block.inputs).tolist() == [np.float32(0.1), np.float32(1.0)]
        assert 0.3 < (block.inputs > 0.5).mean() < 0.7
        edges = (np.diff(block.inputs[..., 0], axis=1) != 0.0).mean()
        assert 0.008 < edges < 0.03  # the authentic files have 0.017

    def test_has_answers_in_proportion_to_the_source(self) -> None:
        single, double = (solver_of("darcy2d").solve(0, range(1), (beta,)).targets for beta in (1.0, 2.0))
        assert np.allclose(2 * single, double, rtol=1e-5)


class TestReactionDiffusion:
    def test_agrees_with_the_authentic_file(self) -> None:
        with h5py.File(raws.REACTION_DIFFUSION) as file:
            states = np.stack([file[f"{seed:04d}/data"][()] for seed in range(2)]).astype(np.float64)
        found = reaction_diffusion2d.evolve(np.moveaxis(states[:, 0], -1, 0), frames=11, dt=0.1, steps=8)
        for frame in (1, 5, 10):
            assert relative_error(np.moveaxis(found[:, :, frame], 0, -1), states[:, frame]) < 1e-4

    def test_is_of_fourth_order_in_time(self) -> None:
        x, y = np.meshgrid(*[cell_centres(-1.0, 1.0, 16)] * 2, indexing="ij")
        initial = np.stack([np.cos(np.pi * x), np.cos(np.pi * y)])[:, None]
        exact = reaction_diffusion2d.evolve(initial, frames=2, dt=1.0, steps=256)[:, :, 1]
        errors = [
            relative_error(
                reaction_diffusion2d.evolve(initial, frames=2, dt=1.0, steps=steps)[:, :, 1], exact
            )
            for steps in (4, 8, 16)
        ]
        assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 3.5).all(), errors

    def test_lets_nothing_through_the_walls(self) -> None:
        state = np.random.default_rng(0).normal(size=(2, 1, 8, 8))
        assert np.abs(reaction_diffusion2d._laplacian(state).sum(axis=(-2, -1))).max() < 1e-10

    def test_diffuses_a_wave_between_walls_at_its_rate(self) -> None:
        for cells in (32, 64):
            wave = np.cos(np.pi * (cell_centres(-1.0, 1.0, cells) + 1.0))
            state = np.broadcast_to(wave, (2, 1, cells, cells))
            found = reaction_diffusion2d._laplacian(state)
            assert relative_error(found, -(np.pi**2) * state) < 4.0 / cells**2
