"""The corrector: nothing until it has learned, one draw per seed, exact when it knows the residual."""

import math

import pytest
import torch
from torch import Tensor

from tests.ups.models.test_operator import ADVECTION, DARCY, operator, perturbed
from ups.errors import ConfigError
from ups.models.corrector import (
    CorrectedOperator,
    Corrector,
    CorrectorSpec,
    Situation,
    angles,
    residual_squares,
    residual_tokens,
    situation,
)
from ups.models.critic import Critic
from ups.models.operator import LatentOperator

SPEC = CorrectorSpec(latent_dim=16, hidden_dim=32, depth=1)


def corrected(*, learned: bool = False, steps: int = 4) -> CorrectedOperator:
    base = perturbed(operator(ADVECTION, DARCY))
    torch.manual_seed(2)
    corrector = Corrector(CorrectorSpec(16, 32, 1, steps), base.spec)
    if learned:
        with torch.no_grad():
            for parameter in corrector.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return CorrectedOperator(base, corrector).eval()


@torch.no_grad()
def step(model: CorrectedOperator | LatentOperator, inputs: Tensor, draw: Tensor | None = None) -> Tensor:
    task = "advection1d" if inputs.dim() == 3 else "darcy2d"
    ones = torch.ones(len(inputs))
    options = {} if draw is None else {"draw": draw}
    found: Tensor = model(task, inputs, 0.4 * ones[:, None], 0.05 * ones, ones, **options)
    return found


@pytest.mark.parametrize("shape", [(2, 32, 1), (2, 8, 8, 1)])
@pytest.mark.parametrize("drawn", [False, True])
def test_untrained_corrector_leaves_the_prediction_as_it_is(shape: tuple[int, ...], drawn: bool) -> None:
    model, inputs = corrected(), torch.randn(shape)
    draw = torch.randn(shape) if drawn else None
    torch.testing.assert_close(step(model, inputs, draw), step(model.operator, inputs), rtol=0, atol=0)


def test_a_draw_is_its_seeds_and_draws_differ() -> None:
    model, inputs = corrected(learned=True), torch.randn(2, 32, 1)
    one, other = torch.randn(2, 32, 1), torch.randn(2, 32, 1)
    assert torch.equal(step(model, inputs, one), step(model, inputs, one))
    assert (step(model, inputs, one) - step(model, inputs, other)).abs().max() > 1e-4
    assert torch.equal(step(model, inputs), step(model, inputs))


class Knowing(Corrector):
    """Knows the residual."""

    def __init__(self, truth: Tensor, spec: CorrectorSpec, base: LatentOperator) -> None:
        super().__init__(spec, base.spec)
        self.truth = truth

    def forward(self, given: Situation, noisy: Tensor, angle: Tensor) -> Tensor:
        return self.truth


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("drawn", [False, True])
def test_residual_that_is_known_is_corrected_exactly(steps: int, drawn: bool) -> None:
    base, inputs, target = perturbed(operator(ADVECTION)), torch.randn(3, 32, 1), torch.randn(3, 32, 1)
    predicted = step(base, inputs)
    ones = torch.ones(3)
    given = situation(base, "advection1d", inputs, 0.4 * ones[:, None], 0.05 * ones, ones, predicted)
    scale = residual_squares(given, predicted, target).mean().sqrt()
    truth = residual_tokens(given, predicted, target) / scale
    corrector = Knowing(truth, CorrectorSpec(16, 32, 1, steps), base)
    corrector.scales.fill_(scale)
    found = step(CorrectedOperator(base, corrector), inputs, torch.randn(3, 32, 1) if drawn else None)
    torch.testing.assert_close(found, target, atol=1e-5, rtol=1e-5)


def test_ddim_keeps_to_the_path_between_residual_and_noise() -> None:
    """With the true residual known, each step lands on cos φ · r + sin φ · ε of the same r and ε."""
    base = operator(ADVECTION)
    truth, noise = torch.randn(2, 8, 16), torch.randn(2, 8, 16)
    corrector = Knowing(truth, SPEC, base)
    given = Situation("advection1d", base.grid_head("advection1d"), truth, truth, torch.zeros(2, 1))
    here, there = angles(4)[1:3]
    noisy = math.cos(here) * truth + math.sin(here) * noise
    moved = corrector.descend(given, noisy, here, there)
    torch.testing.assert_close(moved, math.cos(there) * truth + math.sin(there) * noise)


def test_path_starts_at_pure_noise() -> None:
    assert angles(4) == pytest.approx([math.pi / 2, 3 * math.pi / 8, math.pi / 4, math.pi / 8])
    assert angles(1) == pytest.approx([math.pi / 2])


def test_every_parameter_of_corrector_and_critic_can_learn() -> None:
    base = operator(ADVECTION, DARCY)
    model = corrected(learned=True).corrector
    critic = Critic(base.spec)
    torch.nn.init.normal_(critic.network.trunk.head.weight)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    for task, shape in (("advection1d", (2, 32, 1)), ("darcy2d", (2, 8, 8, 1))):
        ones, field = torch.ones(2), torch.randn(shape)
        given = situation(base, task, field, ones[:, None], ones, ones, torch.randn(shape))
        noisy = torch.randn_like(given.predicted)
        found = model(given, noisy, ones).square().sum() + critic(given).sum()
        found.backward()
    for module in (model, critic):
        idle = [name for name, p in module.named_parameters() if p.grad is None or not bool(p.grad.any())]
        assert idle == []


def test_width_that_cannot_be_divided_into_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"diffusion\.hidden_dim 24"):
        Corrector(CorrectorSpec(16, 24, 1), operator(ADVECTION).spec)
