"""The joint operator: what it predicts untrained, what it is equivariant to, what it listens to."""

import pytest
import torch

from ups.models.operator import LatentOperator, Normalisation
from ups.models.spec import GridTask, OperatorSpec


def operator(*tasks: GridTask, seed: int = 0, codec_hidden: int = 0) -> LatentOperator:
    spec = OperatorSpec(
        tasks, latent_dim=16, hidden_dim=32, depth=2, num_heads=2, mlp_ratio=2.0, qk_norm=True,
        drop_path=0.0, dropout=0.0, refinement_channels=4, refinement_layers=2,
        codec_hidden=codec_hidden,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LatentOperator(spec).eval()


def perturbed(model: LatentOperator) -> LatentOperator:
    """Layers that start at zero hide the others."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@torch.no_grad()
def step(model: LatentOperator, task: str, inputs: torch.Tensor, parameter: float = 0.4) -> torch.Tensor:
    ones = torch.ones(len(inputs))
    parameters = (parameter * ones[:, None]).expand(-1, len(model.head(task).task.spec.parameters))
    return model(task, inputs, parameters, 0.05 * ones, ones)


ADVECTION = GridTask("advection1d", (32,), 4, 0.05)
BURGERS = GridTask("burgers1d", (32,), 4, 0.05)
COARSE = GridTask("burgers1d", (32,), 4, 0.05, pool=2)
PROJECTED = GridTask("reaction_diffusion2d", (8, 8), 4, 0.05)
CUBE = GridTask("compressible_ns3d", (8, 8, 8), (2, 1, 1), 0.05)
DARCY = GridTask("darcy2d", (8, 8), 4, 0.0)


def test_untrained_time_stepper_stands_still() -> None:
    state = torch.randn(2, 32, 1)
    torch.testing.assert_close(step(operator(ADVECTION), "advection1d", state), state)


@pytest.mark.parametrize("task", [COARSE, PROJECTED, CUBE], ids=["pooled", "projected", "3-D"])
def test_untrained_time_stepper_stands_still_whatever_its_tokens_leave_out(task: GridTask) -> None:
    state = torch.randn(2, *task.grid, len(task.spec.fields))
    torch.testing.assert_close(step(operator(task), task.task, state), state)


def test_time_stepper_stands_still_however_its_codec_has_drifted() -> None:
    model, state = operator(BURGERS, codec_hidden=8), torch.randn(2, 32, 1)
    codec = model.head("burgers1d").target
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    assert (codec.reconstruct(state) - state).abs().max() > 0.01
    torch.testing.assert_close(step(model, "burgers1d", state), state)


def test_learned_codec_changes_no_other_weight_and_no_prediction_of_an_untrained_operator() -> None:
    plain, learned = operator(BURGERS, DARCY), operator(BURGERS, DARCY, codec_hidden=8)
    others = learned.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in plain.state_dict().items())
    assert len(others) > len(plain.state_dict())
    state = torch.randn(2, 32, 1)
    torch.testing.assert_close(step(learned, "burgers1d", state), step(plain, "burgers1d", state))


def test_cube_is_equivariant_to_shifts_by_patches_along_each_axis() -> None:
    model, state = perturbed(operator(CUBE)), torch.randn(1, 8, 8, 8, 5)
    ahead = step(model, "compressible_ns3d", state)
    for axis, cells in ((1, 2), (2, 3), (3, 5)):
        shifted = step(model, "compressible_ns3d", state.roll(cells, axis))
        torch.testing.assert_close(shifted, ahead.roll(cells, axis), atol=1e-4, rtol=1e-3)


def test_untrained_time_stepper_with_transport_skip_carries() -> None:
    state = torch.randn(2, 32, 1)
    carried = step(operator(GridTask("advection1d", (32,), 4, 0.05, 1.0)), "advection1d", state, 1 / 1.6)
    torch.testing.assert_close(carried, state.roll(1, 1), atol=1e-5, rtol=0)


def test_untrained_static_task_answers_with_the_mean_field() -> None:
    model, mean = operator(DARCY), torch.randn(8, 8, 1)
    model.set_normalisation(
        {"darcy2d": Normalisation(torch.zeros(1), torch.ones(1), mean, torch.ones(1), torch.ones(3, 1))}
    )
    torch.testing.assert_close(step(model, "darcy2d", torch.randn(2, 8, 8, 1)), mean.expand(2, 8, 8, 1))


def test_periodic_task_is_equivariant_to_shifts_by_patches() -> None:
    model, state = perturbed(operator(BURGERS)), torch.randn(2, 32, 1)
    shifted = step(model, "burgers1d", state.roll(8, 1))
    torch.testing.assert_close(shifted, step(model, "burgers1d", state).roll(8, 1), atol=1e-5, rtol=1e-4)


def test_prediction_listens_to_its_parameter_and_to_the_task() -> None:
    model, state = perturbed(operator(ADVECTION, BURGERS)), torch.randn(2, 32, 1)
    slow, fast = (step(model, "advection1d", state, beta) for beta in (0.1, 1.0))
    assert (slow - fast).abs().max() > 1e-3
    assert (step(model, "burgers1d", state, 0.1) - slow).abs().max() > 1e-3


def test_weights_and_spec_are_all_that_a_prediction_needs() -> None:
    model, state = perturbed(operator(ADVECTION, DARCY)), torch.randn(2, 32, 1)
    again = LatentOperator(OperatorSpec.from_json(model.spec.to_json()))
    again.load_state_dict(model.state_dict())
    assert torch.equal(step(again, "advection1d", state), step(model, "advection1d", state))


def test_every_parameter_can_learn() -> None:
    model = perturbed(operator(ADVECTION, DARCY)).train()
    for task, shape in (("advection1d", (2, 32, 1)), ("darcy2d", (2, 8, 8, 1))):
        ones = torch.ones(2)
        model(task, torch.randn(shape), ones[:, None], ones, ones).square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert idle == []
