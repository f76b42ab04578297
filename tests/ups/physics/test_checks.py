"""The checks: low on what solves the equation, high on what does not, and with a gradient."""

from dataclasses import replace

import pytest
import torch

from tests.ups.physics.steps import authentic, solved, transition
from ups.physics import CHECKS, Transition
from ups.tasks import TASK_SPECS, Boundary, Modality, TaskSpec, task_spec

MADE = (
    "advection1d", "burgers1d", "diffusion_sorption1d", "reaction_diffusion1d", "darcy2d",
    "navier_stokes2d", "allen_cahn2d", "cahn_hilliard2d", "reaction_diffusion2d", "shallow_water2d",
)  # fmt: skip
AUTHENTIC = (
    "1D_Advection_Sols_beta0.4.hdf5", "1D_Advection_Sols_beta1.0.hdf5", "1D_Burgers_Sols_Nu0.01.hdf5",
    "2D_DarcyFlow_beta1.0_Train.hdf5", "2D_diff-react_NA_NA.h5", "1D_diff-sorp_NA_NA.h5", "2D_rdb_NA_NA.h5",
)  # fmt: skip
LOW = {
    "conservation_gap": 1e-3, "boundary_violation": 0.05, "negativity": 1e-6, "divergence": 0.05,
    "equation_residual": 0.05,
}  # fmt: skip
"""Medians that true data stay below. White noise between walls is smooth at the border only later."""


def median(name: str, step: Transition) -> float:
    value = CHECKS[name].measure(step)
    assert value is not None
    assert value.shape == (len(step.after),)
    return float(value.median())


def applicable(spec: TaskSpec) -> set[str]:
    return {name for name, check in CHECKS.items() if check.applies(spec)}


@pytest.mark.parametrize("task", MADE)
def test_true_solutions_score_low(task: str) -> None:
    step = solved(task, first_frame=0 if task != "reaction_diffusion2d" else 30)
    for name in applicable(step.spec):
        bound = 0.25 if step.spec.boundary is Boundary.NEUMANN else LOW[name]
        assert median(name, step) < bound, name


@pytest.mark.parametrize("file", AUTHENTIC)
def test_authentic_files_score_low(file: str) -> None:
    step = authentic(file)
    names = applicable(step.spec) - {"boundary_violation" if step.spec.boundary is Boundary.NEUMANN else ""}
    assert names
    for name in names:
        bound = 0.15 if step.spec.boundary is Boundary.NEUMANN else LOW[name]
        assert median(name, step) < bound, name


@pytest.mark.parametrize("task", MADE)
def test_corrupted_solutions_score_far_higher(task: str) -> None:
    step = solved(task, first_frame=0 if task != "reaction_diffusion2d" else 30)
    noise = torch.randn(step.after.shape, generator=torch.Generator().manual_seed(0))
    wrong = replace(step, after=step.after + step.after.std() * (0.3 + 0.3 * noise))
    for name in applicable(step.spec) - {"negativity"}:
        factor = 1.5 if step.spec.boundary is Boundary.NEUMANN else 5.0
        assert median(name, wrong) > factor * median(name, step), name
    if "negativity" in applicable(step.spec):
        assert median("negativity", replace(step, after=step.after - 2 * step.after.mean())) > 0.2


@pytest.mark.parametrize(
    "task", ["advection1d", "burgers1d", "reaction_diffusion1d", "allen_cahn2d", "reaction_diffusion2d"]
)
def test_standing_still_fails_the_equation_entirely(task: str) -> None:
    step = solved(task)
    assert median("equation_residual", replace(step, after=step.before)) == pytest.approx(1.0, abs=0.05)


def test_no_answer_fails_the_static_equation_entirely() -> None:
    step = solved("darcy2d")
    assert median("equation_residual", replace(step, after=0 * step.after)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("spec", TASK_SPECS.values(), ids=lambda spec: spec.name)
def test_what_applies_has_a_finite_gradient_and_the_rest_gives_none(spec: TaskSpec) -> None:
    grid = (8,) * spec.spatial_dims if spec.modality is Modality.GRID else (8,)
    random = torch.Generator().manual_seed(1)
    before = torch.rand(2, *grid, len(spec.input_fields or spec.fields), generator=random) + 0.1
    for shift in (-0.5, 0.0):
        after = torch.rand(2, *grid, len(spec.fields), generator=random) + shift
        after.requires_grad_()
        step = transition(spec, before, after, (0.5,) * len(spec.parameters), spec.dt)
        for name, check in CHECKS.items():
            value = check.measure(step)
            assert (value is not None) == check.applies(spec), name
            if value is None or (name == "negativity" and shift == 0.0):
                continue
            (gradient,) = torch.autograd.grad(value.sum(), after)
            assert gradient.isfinite().all(), name
            assert gradient.any(), name


@pytest.mark.parametrize("spec", TASK_SPECS.values(), ids=lambda spec: spec.name)
def test_a_state_of_zeros_gives_finite_figures_and_gradients(spec: TaskSpec) -> None:
    grid = (8,) * spec.spatial_dims if spec.modality is Modality.GRID else (8,)
    before = torch.zeros(1, *grid, len(spec.input_fields or spec.fields))
    after = torch.zeros(1, *grid, len(spec.fields), requires_grad=True)
    for name, check in CHECKS.items():
        value = check.measure(transition(spec, before, after, (1.0,) * len(spec.parameters), spec.dt))
        if value is not None:
            (gradient,) = torch.autograd.grad(value.sum(), after)
            assert value.isfinite().all(), name
            assert gradient.isfinite().all(), name


def test_measures_do_not_depend_on_the_unit_of_the_field() -> None:
    step = solved("advection1d")
    scaled = replace(step, before=1e3 * step.before, after=1e3 * step.after + 1.0)
    same = replace(step, after=step.after + 1e-3)
    for name in applicable(step.spec):
        assert median(name, scaled) == pytest.approx(median(name, same), rel=1e-2)


def test_one_sample_of_a_batch_scores_as_it_does_alone() -> None:
    step = solved("burgers1d", samples=2)
    alone = Transition(step.spec, step.before[7:8], step.after[7:8], step.parameters[7:8], step.dt[7:8])
    for name in applicable(step.spec):
        together, single = CHECKS[name].measure(step), CHECKS[name].measure(alone)
        assert together is not None
        assert single is not None
        torch.testing.assert_close(together[7:8], single, rtol=1e-3, atol=1e-7)


class TestConservation:
    def test_is_the_change_of_the_mean_in_the_state_s_own_size(self) -> None:
        before = torch.full((1, 16, 1), 2.0)
        step = transition(task_spec("burgers1d"), before, before + 0.5, (0.1,), 0.05)
        assert median("conservation_gap", step) == pytest.approx(0.25)

    def test_looks_at_the_conserved_channels_only(self) -> None:
        spec = task_spec("compressible_ns2d")
        before = torch.ones(1, 4, 4, 4)
        change = torch.tensor([0.0, 1.0, 1.0, 1.0])
        assert median("conservation_gap", transition(spec, before, before + change, (1.0,) * 3, 0.1)) == 0.0


class TestBoundary:
    def test_zero_half_a_cell_outside_holds(self) -> None:
        """A field that falls linearly to its zero in the ghost cell breaks nothing."""
        depth = torch.arange(1.0, 9.0)
        field = torch.minimum(depth, depth.flip(0))
        state = (field[:, None] * field)[None, ..., None]
        spec = task_spec("darcy2d")
        step = transition(spec, torch.ones_like(state), state, (1.0,))
        assert median("boundary_violation", step) == pytest.approx(0.0, abs=1e-6)
        assert median("boundary_violation", replace(step, after=state + 1.0)) > 0.1

    def test_a_mirrored_wave_has_no_normal_derivative_and_a_slanted_one_has(self) -> None:
        x = (torch.arange(64.0) + 0.5) / 64
        spec = task_spec("reaction_diffusion2d")

        def violation(wave: torch.Tensor) -> float:
            state = (wave[:, None] + wave)[None, ..., None].expand(1, 64, 64, 2)
            return median("boundary_violation", transition(spec, state, state, (), 0.1))

        assert violation(torch.cos(2 * torch.pi * x)) < 0.01
        assert violation(torch.sin(2 * torch.pi * x)) > 0.3

    def test_a_flow_between_walls_may_slip_but_not_leave(self) -> None:
        x = (torch.arange(32.0) + 0.5) / 32 * torch.pi
        spec = task_spec("navier_stokes2d")
        inside = torch.stack(
            [x.sin()[:, None] * x.cos(), -x.cos()[:, None] * x.sin(), 0 * x[:, None] * x], dim=-1
        )[None]
        step = transition(spec, inside, inside, (), 0.1)
        assert median("boundary_violation", step) < 0.01
        assert median("boundary_violation", replace(step, after=inside + 0.5)) > 0.3


class TestDivergence:
    @pytest.mark.parametrize("boundary", [Boundary.WALL, Boundary.PERIODIC, Boundary.OUTFLOW])
    def test_tells_a_flow_of_a_stream_function_from_that_of_a_potential(self, boundary: Boundary) -> None:
        x = (torch.arange(32.0) + 0.5) / 32 * torch.pi * (2.0 if boundary is Boundary.PERIODIC else 1.0)
        spec = replace(task_spec("navier_stokes2d"), boundary=boundary)
        along, across = x.sin()[:, None] * x.cos(), x.cos()[:, None] * x.sin()

        def measured(sign: float) -> float:
            state = torch.stack([along, sign * across, along], dim=-1)[None]
            return median("divergence", transition(spec, state, state, (), 0.1))

        assert measured(-1.0) < 1e-3
        assert measured(1.0) == pytest.approx(2**0.5, abs=1e-3)
