"""The physics priors: what each costs, for which tasks, and that each can teach."""

import pytest
import torch
from torch import Tensor

from tests.ups.models.test_operator import ADVECTION, DARCY, operator
from tests.ups.physics.steps import solved
from ups.config import PhysicsPriors
from ups.physics import Transition
from ups.tasks import TASK_SPECS, task_spec
from ups.training.batch import TensorBatch
from ups.training.losses import Prediction, WeightedLoss, constant, require_reach
from ups.training.objective import predict
from ups.training.physics_losses import PRIORS

APPLIES = {
    "divergence": {"navier_stokes2d"},
    "boundary": {"darcy2d", "navier_stokes2d", "reaction_diffusion2d", "diffusion_sorption1d"},
    "conservation": {
        "advection1d", "burgers1d", "cahn_hilliard2d", "compressible_ns1d", "compressible_ns2d",
        "compressible_ns3d",
    },
    "latent_norm": set(TASK_SPECS),
    "latent_diversity": set(TASK_SPECS),
}  # fmt: skip


def batch_of(step: Transition, states: Tensor | None = None) -> TensorBatch:
    """A batch whose windows are one step long, or as long as `states` says."""
    targets = step.after[:, None] if states is None else states
    return TensorBatch(step.spec, step.before, targets, step.parameters, step.dt, torch.ones_like(step.dt))


def cost(name: str, batch: TensorBatch, states: Tensor, latents: Tensor | None = None) -> float:
    prediction = Prediction(states, torch.randn(2, 8, 4) if latents is None else latents)
    return float(PRIORS[name].compute(None, batch, prediction))  # type: ignore[arg-type]


def test_there_is_one_for_every_weight_of_the_config() -> None:
    weights = {name.removeprefix("lambda_") for name in PhysicsPriors.model_fields} - {"enabled"}
    assert set(PRIORS) == weights


@pytest.mark.parametrize("name", APPLIES)
def test_applies_where_the_task_has_what_it_measures(name: str) -> None:
    assert {task for task in TASK_SPECS if PRIORS[name].applies(None, task)} == APPLIES[name]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "task"),
    [("conservation", "burgers1d"), ("boundary", "darcy2d"), ("boundary", "reaction_diffusion2d")],
)
def test_the_truth_costs_nothing_and_what_breaks_the_guarantee_costs(name: str, task: str) -> None:
    batch = batch_of(solved(task, samples=1))
    truth = batch.targets
    assert cost(name, batch, truth) == 0.0
    size = truth.square().mean().sqrt()
    wrong = truth + 0.5 * size
    wrong[:, :, 0] += size
    assert cost(name, batch, wrong) > 0.02


def test_a_window_is_measured_step_by_step() -> None:
    """The mean moves by 1 of an rms of 2 in the first step and by 0 in the second."""
    spec = task_spec("burgers1d")
    before = torch.full((1, 8, 1), 2.0)
    still = before[:, None].expand(1, 2, 8, 1)
    batch = batch_of(Transition(spec, before, before, torch.ones(1, 1), torch.full((1,), 0.1)), still)
    assert cost("conservation", batch, still + 1.0) == pytest.approx((0.5 + 0.0) / 2)


def test_divergence_costs_between_walls() -> None:
    x = (torch.arange(16.0) + 0.5) / 16 * torch.pi
    flow = torch.stack([x.sin()[:, None] * x.cos(), -x.cos()[:, None] * x.sin(), 0 * x[:, None] * x], dim=-1)
    spec = task_spec("navier_stokes2d")
    batch = batch_of(Transition(spec, flow[None], flow[None], torch.zeros(1, 0), torch.ones(1)))
    assert cost("divergence", batch, batch.targets) == 0.0
    assert cost("divergence", batch, batch.targets * torch.tensor([1.0, -1.0, 1.0])) == pytest.approx(
        2**0.5, abs=0.01
    )


def test_negative_values_cost_more_the_more_negative_they_are() -> None:
    batch = batch_of(solved("darcy2d", samples=2))
    costs = [cost("positivity", batch, batch.targets - shift) for shift in (0.0, 0.2, 0.4, 0.8)]
    assert costs == sorted(costs)
    assert costs[0] < 0.003
    assert costs[-1] > 0.1


def test_a_collapse_of_the_latents_costs_in_diversity() -> None:
    batch = batch_of(solved("burgers1d", samples=1))
    diverse = torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0))
    half = diverse * (torch.arange(8) < 4)
    costs = [
        cost("latent_diversity", batch, batch.targets, latents)
        for latents in (diverse, half, torch.ones_like(diverse))
    ]
    assert costs == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert cost("latent_norm", batch, batch.targets, 3.0 * torch.ones(2, 4, 8)) == pytest.approx(9.0)


def test_each_has_a_gradient_for_every_task_to_which_it_applies() -> None:
    model = operator(ADVECTION, DARCY)
    random = torch.Generator().manual_seed(0)
    batches = {
        task.task: TensorBatch(
            task.spec, torch.rand(2, *task.grid, 1, generator=random),
            torch.rand(2, 1, *task.grid, 1, generator=random), torch.full((2, 1), 0.4),
            torch.full((2,), task.dt), torch.ones(2),
        )
        for task in (ADVECTION, DARCY)
    }  # fmt: skip
    losses = tuple(
        WeightedLoss(name, constant(1.0), prior.compute, prior.applies) for name, prior in PRIORS.items()
    )
    require_reach(model, losses, batches, predict)
