"""The head of meshes and particles: what an untrained one does, and what padding and order may not change."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ups.models.clouds import DARCY, PARTICLES, cloud, field, operator, predict
from ups.models.geometry import Geometry, carried, interpolate
from ups.models.message_passing import stencils
from ups.models.spec import OperatorSpec, PointTask
from ups.tasks import task_spec

TASKS = (DARCY, PARTICLES)


@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(10, 64), min_size=1, max_size=3), seed=st.integers(0, 20))
def test_decoding_an_encoding_gives_the_field_back(sizes: list[int], seed: int) -> None:
    model = operator(PARTICLES, disturbed=False)
    geometry = cloud("particles_advect", tuple(sizes), seed)
    values = field(geometry, 2, seed)
    assert torch.allclose(model.reconstruct("particles_advect", values, geometry), values, atol=1e-5)


def test_an_error_in_latent_space_is_the_same_error_in_field_space() -> None:
    head = operator(PARTICLES, disturbed=False).head("particles_advect").on(cloud("particles_advect", (64,)))
    one, other = (torch.randn(1, 64, 2) for _ in range(2))
    latent = (head.source.encode(one) - head.source.encode(other)).norm()
    assert latent == pytest.approx(float((one - other).norm()), rel=1e-5)


def test_more_points_than_supernodes_are_pooled_and_their_detail_is_left_as_it_is() -> None:
    model = operator(PARTICLES, disturbed=False)
    geometry = cloud("particles_advect", (200,))
    values = field(geometry, 2)
    left = model.reconstruct("particles_advect", values, geometry)
    assert 0.1 < float((left - values).norm() / values.norm()) < 1.0
    assert torch.allclose(predict(model, "particles_advect", geometry, values), values, atol=1e-5)


def test_untrained_particles_go_on_and_an_untrained_mesh_answers_with_the_mean() -> None:
    model = operator(*TASKS, disturbed=False)
    geometry = cloud("particles_advect", (30, 50))
    values = field(geometry, 2)
    assert torch.allclose(predict(model, "particles_advect", geometry, values), values, atol=1e-5)
    mesh = cloud("darcy2d_mesh", (30, 50))
    model.head("darcy2d_mesh").target.mean.fill_(0.7)
    expected = 0.7 * mesh.mask[..., None].float()
    assert torch.allclose(predict(model, "darcy2d_mesh", mesh, field(mesh, 1)), expected, atol=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.task)
class TestPrediction:
    def test_does_not_depend_on_what_else_is_in_the_batch(self, task: PointTask) -> None:
        model = operator(*TASKS, disturbed=True)
        channels = len(task.spec.input_fields or task.spec.fields)
        together = cloud(task.task, (23, 57, 41))
        values = field(together, channels)
        whole = predict(model, task.task, together, values)
        alone = Geometry(
            together.positions[:1, :23], together.mask[:1, :23], together.neighbours[:1, :23],
            together.boundary[:1, :23],
        )  # fmt: skip
        assert torch.allclose(predict(model, task.task, alone, values[:1, :23]), whole[:1, :23], atol=2e-5)
        assert (whole[0, 23:] == 0).all()

    def test_does_not_depend_on_the_order_of_the_points(self, task: PointTask) -> None:
        model = operator(*TASKS, disturbed=True)
        geometry = cloud(task.task, (40,))
        values = field(geometry, len(task.spec.input_fields or task.spec.fields))
        order = torch.randperm(40)
        place = torch.argsort(order)
        shuffled = Geometry(
            geometry.positions[:, order], geometry.mask, place[geometry.neighbours[:, order]],
            geometry.boundary[:, order],
        )  # fmt: skip
        expected = predict(model, task.task, geometry, values)[:, order]
        assert torch.allclose(predict(model, task.task, shuffled, values[:, order]), expected, atol=2e-5)

    def test_fewer_points_than_tokens_leave_tokens_out(self, task: PointTask) -> None:
        model = operator(*TASKS, disturbed=True)
        geometry = cloud(task.task, (3, 40))
        predicted = predict(
            model, task.task, geometry, field(geometry, len(task.spec.input_fields or task.spec.fields))
        )
        assert predicted.isfinite().all()

    def test_survives_its_way_into_a_checkpoint(self, task: PointTask) -> None:
        spec = operator(*TASKS, disturbed=False).spec
        assert OperatorSpec.from_json(spec.to_json()) == spec


class TestStencils:
    def test_know_the_gradient_of_a_linear_field(self) -> None:
        spec = task_spec("darcy2d_mesh")
        geometry = cloud("darcy2d_mesh", (60, 80))
        values = geometry.positions @ torch.tensor([[2.0], [-3.0]])
        weights = stencils(geometry, spec)
        rows = torch.arange(2)[:, None, None]
        difference = (values[rows, geometry.neighbours] - values[:, :, None])[..., 0]
        gradient = torch.einsum("bpqk,bpk->bpq", weights, difference)[..., 1:]
        for row in range(2):
            own = gradient[row][geometry.mask[row]]
            direction = own / own.norm(dim=1, keepdim=True)
            wanted = torch.tensor([2.0, -3.0]) / 13**0.5
            assert torch.allclose(direction.median(dim=0).values, wanted, atol=0.02)

    def test_look_round_a_periodic_box(self) -> None:
        spec = task_spec("particles_advect")
        geometry = cloud("particles_advect", (80,))
        moved = geometry.at(torch.remainder(geometry.positions + 0.37, 1.0))
        assert torch.allclose(stencils(geometry, spec), stencils(moved, spec), atol=1e-3)


class TestMotion:
    def test_trapezoidal_rule_keeps_particles_on_their_circle(self) -> None:
        spec, step = task_spec("particles_advect"), 0.1
        geometry = cloud("particles_advect", (1,)).at(torch.tensor([[[0.7, 0.5]]]))

        def velocity(angle: float) -> torch.Tensor:
            return 0.2 * torch.tensor([[[-1.0, 0.0]]]) * torch.sin(torch.tensor(angle)) + 0.2 * torch.tensor(
                [[[0.0, 1.0]]]
            ) * torch.cos(torch.tensor(angle))

        for turn in range(63):
            before, after = velocity(turn * step), velocity((turn + 1) * step)
            geometry = carried(geometry, before, after, torch.tensor([step]), spec)
        radius = (geometry.positions[0, 0] - 0.5).norm()
        assert radius == pytest.approx(0.2, rel=2e-3)

    def test_what_leaves_a_periodic_box_comes_in_at_the_other_side(self) -> None:
        spec = task_spec("particles_advect")
        geometry = cloud("particles_advect", (1,)).at(torch.tensor([[[0.95, 0.5]]]))
        fast = torch.tensor([[[1.0, 0.0]]])
        there = carried(geometry, fast, fast, torch.tensor([0.1]), spec)
        assert torch.allclose(there.positions, torch.tensor([[[0.05, 0.5]]]), atol=1e-6)

    def test_a_particle_without_a_finite_velocity_stays(self) -> None:
        spec = task_spec("particles_advect")
        geometry = cloud("particles_advect", (3,))
        broken = torch.tensor([[[torch.nan, 0.0], [torch.inf, 0.0], [0.0, 0.0]]])
        there = carried(geometry, broken, broken, torch.tensor([0.1]), spec)
        assert torch.allclose(there.positions, geometry.positions, atol=1e-6)

    def test_nodes_of_a_mesh_stay(self) -> None:
        geometry = cloud("darcy2d_mesh", (5,))
        values = field(geometry, 1)
        assert carried(geometry, values, values, torch.ones(1), task_spec("darcy2d_mesh")) is geometry


class TestInterpolation:
    def test_decoded_field_can_be_asked_anywhere(self) -> None:
        geometry = cloud("particles_advect", (60, 50))
        head = operator(PARTICLES, disturbed=False).head("particles_advect").on(geometry)
        values = field(geometry, 2)
        tokens = head.source.encode(head.source.normalise(values))
        there = torch.remainder(geometry.positions[:, :20] + 1.0, 1.0)
        assert torch.allclose(head.source.decode_at(tokens, there), values[:, :20], atol=1e-3)

    def test_gives_a_points_own_value_and_something_between_elsewhere(self) -> None:
        spec = task_spec("darcy2d_mesh")
        geometry = cloud("darcy2d_mesh", (300, 200))
        values = torch.sin(3 * geometry.positions.sum(dim=-1, keepdim=True)) * geometry.mask[..., None]
        own = interpolate(values, geometry, geometry.positions[:, :50], spec)
        assert torch.allclose(own, values[:, :50], atol=1e-4)
        queries = 0.1 + 0.8 * torch.rand(2, 70, 2)
        found = interpolate(values, geometry, queries, spec, chunk=32)
        true = torch.sin(3 * queries.sum(dim=-1, keepdim=True))
        assert float((found - true).norm() / true.norm()) < 0.1
