"""The hybrid optimizer against what it is written after."""

import copy

import pytest
import torch
from torch import nn

from tests.ups.training.jobs import tiny_config
from ups.config import Encoder, Optimizer
from ups.training.optim import AdamW, Group, Hybrid, Muon, groups_of, rate_factor


class Net(nn.Module):
    """The names by which matrices are told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 8)])})
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.trunk["blocks"]:  # type: ignore[attr-defined]
            x = torch.tanh(layer(x))
        out: torch.Tensor = self.head(x)
        return out


def test_adamw_is_adamw() -> None:
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    own = AdamW(list(ours.named_parameters()), betas=(0.9, 0.98), weight_decay=0.0)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    for seed in range(5):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
        for net in (ours, theirs):
            net.zero_grad()
            net(x).square().sum().backward()
        own.step(1e-2)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_muon_is_torchs_muon() -> None:
    """Tall, wide and stacked matrices, against one at a time."""
    shapes = [(8, 16), (16, 8), (8, 16), (8, 8)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    own = Muon(
        [(str(i), p) for i, p in enumerate(ours)],
        momentum=0.95,
        weight_decay=0.1,
        iterations=5,
        dtype=torch.float32,
    )
    reference = torch.optim.Muon(
        theirs, lr=1e-2, momentum=0.95, weight_decay=0.1, ns_steps=5, adjust_lr_fn="match_rms_adamw"
    )
    for seed in range(3):
        for one, other in zip(ours, theirs, strict=True):
            gradient = torch.randn(one.shape, generator=torch.Generator().manual_seed(seed))
            one.grad, other.grad = gradient.clone(), gradient.clone()
        own.step(1e-2)
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # torch iterates in bfloat16


def test_stack_of_matrices_is_its_matrices() -> None:
    gradient = torch.randn(3, 8, 8)
    stacked = nn.Parameter(torch.zeros(3, 8, 8))
    single = [nn.Parameter(torch.zeros(8, 8)) for _ in range(3)]
    stacked.grad = gradient.clone()
    for parameter, part in zip(single, gradient, strict=True):
        parameter.grad = part.clone()
    for named in ([("s", stacked)], [(str(i), p) for i, p in enumerate(single)]):
        Muon(named, momentum=0.9, weight_decay=0.0, iterations=5, dtype=torch.float32).step(0.1)
    torch.testing.assert_close(stacked, torch.stack(list(single)))


@pytest.mark.parametrize("name", ["muon_hybrid", "adamw"])
def test_state_goes_on_where_it_was(name: str) -> None:
    net, x = Net(), torch.randn(8, 8)
    config = Optimizer.model_validate({"name": name, "lr": 1e-2})
    optimizer = Hybrid(net, config, muon_dtype=torch.float32)

    def advance(model: nn.Module, with_optimizer: Hybrid) -> None:
        model.zero_grad()
        model(x).square().mean().backward()
        with_optimizer.step(1.0)

    for _ in range(3):
        advance(net, optimizer)
    twin = copy.deepcopy(net)
    other = Hybrid(twin, config, muon_dtype=torch.float32)
    other.load({key: value.clone() for key, value in optimizer.state().items()})
    for _ in range(2):
        advance(net, optimizer)
        advance(twin, other)
    for one, copied in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, copied)


def test_only_block_matrices_go_to_muon() -> None:
    state = Hybrid(Net(), Optimizer(), muon_dtype=torch.float32).state()
    assert state["muon/8x16"].shape == (2, 8, 16)
    assert "adamw/first/head.weight" in state
    assert "adamw/first/trunk.blocks.0.bias" in state
    assert "adamw/first/trunk.blocks.0.weight" not in state


def test_group_has_a_rate_and_a_state_of_its_own() -> None:
    net, x = Net(), torch.randn(8, 8)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    group = Group("last", 1e-5, lambda name: name.startswith("head."))
    optimizer = Hybrid(net, Optimizer(lr=1e-2), muon_dtype=torch.float32, groups=[group])
    net(x).square().mean().backward()
    optimizer.step(1.0)
    moved = {name: float((p - before[name]).abs().max().detach()) for name, p in net.named_parameters()}
    assert all((size < 2e-5) == name.startswith("head.") for name, size in moved.items())
    state = optimizer.state()
    assert "last/first/head.weight" in state
    assert "adamw/first/head.weight" not in state


def test_only_refinements_of_the_codec_get_the_rate_of_the_encoder() -> None:
    assert groups_of(tiny_config()) == ()
    (group,) = groups_of(tiny_config().model_copy(update={"encoder": Encoder(learning_rate=1e-4)}))
    assert group.rate == 1e-4
    assert group.holds("heads.darcy2d.target.decoder_refinement.up.weight")
    assert not group.holds("heads.darcy2d.refinement.layers.0.weight")


def test_rate_rises_and_then_falls_to_zero() -> None:
    factors = [rate_factor(done / 100, 0.1) for done in range(101)]
    assert factors[0] < 0.02
    assert factors[10] == 1.0
    assert factors[100] == 0.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert rate_factor(0.0, 0.0) == 1.0


@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_muon_by_gram_matrices_is_muon(iterations: int) -> None:
    torch.manual_seed(0)
    spread = torch.logspace(0, -4, 12)[:, None]  # far from orthogonal
    matrices = torch.randn(2, 12, 48) * spread
    named = [("m", nn.Parameter(matrices))]
    muon = Muon(named, momentum=0.9, weight_decay=0.0, iterations=iterations, dtype=torch.float32)
    normed = matrices / matrices.norm(dim=(1, 2), keepdim=True)

    torch.testing.assert_close(
        muon._orthogonal_by_gram(normed), muon._orthogonal_directly(normed), rtol=1e-3, atol=1e-4
    )
