"""Each equation's residual on a solution of it that is made here, and on that of other parameters."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.ups.physics.steps import transition
from ups.physics import Transition, equation_residual
from ups.tasks import TaskSpec, task_spec

Rate = Callable[[Tensor], Tensor]


def residual(step: Transition) -> float:
    value = equation_residual(step)
    assert value is not None
    return float(value)


def laplacian(u: Tensor) -> Tensor:
    """Of [1, *S, 1] on periodic unit axes, in Fourier space."""
    axes = tuple(range(1, u.dim() - 1))
    waves = (torch.fft.fftfreq(u.shape[axis], 1 / u.shape[axis], dtype=u.dtype) for axis in axes)
    squares = sum(k.square() for k in torch.meshgrid(*waves, indexing="ij"))
    factor = -((2 * torch.pi) ** 2) * torch.as_tensor(squares)[..., None]
    return torch.fft.ifftn(torch.fft.fftn(u, dim=axes) * factor, dim=axes).real


def solved(rate: Rate, start: Tensor, dt: float, steps: int = 400) -> Tensor:
    """The classical Runge–Kutta method in float64."""
    state, h = start, dt / steps
    for _ in range(steps):
        a = rate(state)
        b = rate(state + 0.5 * h * a)
        c = rate(state + 0.5 * h * b)
        state = state + h / 6 * (a + 2 * b + 2 * c + rate(state + h * c))
    return state


def wave(grid: tuple[int, ...]) -> Tensor:
    """A smooth field between 0.1 and 0.9, [1, *S, 1]."""
    total = torch.zeros(grid, dtype=torch.float64)
    for axis, cells in enumerate(grid):
        x = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
        shape = [1] * len(grid)
        shape[axis] = cells
        total = total + (torch.sin(2 * torch.pi * x) + 0.5 * torch.cos(6 * torch.pi * x)).view(shape)
    return (0.5 + 0.25 * total / len(grid))[None, ..., None]


@pytest.mark.parametrize(
    ("task", "grid", "parameters", "others", "dt", "rate"),
    [
        ("reaction_diffusion1d", (64,), (0.01, 2.0), ((0.05, 2.0), (0.01, 4.0)), 0.05,
         lambda u: 0.01 * laplacian(u) + 2.0 * u * (1.0 - u)),
        ("allen_cahn2d", (32, 32), (0.05,), ((0.1,),), 0.1,
         lambda u: 0.05**2 * laplacian(u) + u - u**3),
    ],
)  # fmt: skip
def test_tells_the_equation_from_one_with_other_parameters(
    task: str, grid: tuple[int, ...], parameters: tuple[float, ...], others: tuple[tuple[float, ...], ...],
    dt: float, rate: Rate,
) -> None:  # fmt: skip
    start = wave(grid)
    step = transition(task_spec(task), start.float(), solved(rate, start, dt).float(), parameters, dt)
    assert residual(step) < 0.01
    for other in others:
        assert residual(transition(step.spec, step.before, step.after, other, dt)) > 0.1
    assert residual(replace(step, after=step.before)) == pytest.approx(1.0, abs=0.02)


def test_carried_density_keeps_the_equation_of_continuity() -> None:
    """A density that moves with a uniform flow at uniform pressure is an exact solution."""
    spec, cells, dt, speed = task_spec("compressible_ns1d"), 128, 0.01, 0.5
    x = 2.0 * (torch.arange(cells) + 0.5) / cells - 1.0

    def state(time: float) -> Tensor:
        density = 1.0 + 0.3 * torch.sin(torch.pi * (x - speed * time))
        return torch.stack([density, torch.ones(cells), torch.full((cells,), speed)], dim=-1)[None]

    step = transition(spec, state(0.0), state(dt), (0.01, 0.01), dt)
    assert residual(step) < 1e-3
    assert residual(replace(step, after=state(-dt))) > 1.0


def test_is_not_known_where_a_spec_names_no_law() -> None:
    spec: TaskSpec = replace(task_spec("advection1d"), law=None)
    assert equation_residual(transition(spec, torch.ones(1, 8, 1), torch.ones(1, 8, 1), (1.0,), 0.1)) is None


def test_noise_on_one_cell_of_an_answer_weighs_as_much_as_it_is_wrong() -> None:
    """Δ⁻¹ keeps the finest noise from drowning everything: an error of 1 % is one of about 1 %."""
    spec = task_spec("darcy2d")
    x = torch.arange(1.0, 33.0) / 33 * torch.pi
    answer = (x.sin()[:, None] * x.sin())[None, ..., None]
    force = 2.0 * (2.0 * 32 * torch.sin(torch.tensor(torch.pi / 66))) ** 2
    ones = torch.ones_like(answer)
    exact = transition(spec, ones, answer, (float(force),))
    noise = (
        0.01
        * answer.square().mean().sqrt()
        * torch.randn(answer.shape, generator=torch.Generator().manual_seed(0))
    )
    clean, noisy = residual(exact), residual(replace(exact, after=answer + noise))
    assert abs(noisy**2 - clean**2) ** 0.5 < 0.02


def test_a_uniform_state_between_walls_only_reacts() -> None:
    """FitzHugh–Nagumo without diffusion: two ordinary equations."""
    spec = task_spec("reaction_diffusion2d")

    def rate(state: Tensor) -> Tensor:
        u, v = state.unbind(-1)
        return torch.stack([u - u**3 - 5e-3 - v, u - v], dim=-1)

    start = torch.tensor([0.4, -0.2], dtype=torch.float64).expand(1, 16, 16, 2)
    step = transition(spec, start.float(), solved(rate, start, 0.1).float(), (), 0.1)
    assert residual(step) < 0.01
    assert residual(replace(step, after=step.after + torch.tensor([0.05, 0.0]))) > 0.5
