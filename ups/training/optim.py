"""`muon_hybrid`: Muon for the matrices of the transformer blocks, AdamW for all the rest.

Both are written out here rather than taken from `torch.optim`: matrices of equal shape are stacked
into one batched Newton–Schulz iteration, and `torch.optim` imports the compiler (seconds on a small
machine) before its first step. Of sharded parameters each process updates its own shards; only what
Muon orthogonalises is gathered.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ups.config import Optimizer as OptimizerConfig
from ups.config import TrainConfig
from ups.training.tensors import own, share_of, whole

Named = Sequence[tuple[str, nn.Parameter]]
Compute = Callable[[Tensor], Tensor]
Spread = Callable[[Compute, Sequence[Tensor]], Sequence[Tensor]]
"""Calls a function of matrices [k, m, n] with each stack of them; several processes share that."""

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration: steepest at zero among those that stay near 1."""
_MATCH_ADAMW_RMS = 0.2


def alone(compute: Compute, stacks: Sequence[Tensor]) -> Sequence[Tensor]:
    """What one process makes of all of them."""
    return [compute(matrices) for matrices in stacks]


class _Part(Protocol):
    def step(self, rate: float, spread: Spread) -> None: ...
    def state(self) -> dict[str, Tensor]: ...
    def load(self, state: Mapping[str, Tensor]) -> None: ...


class Muon:
    """Orthogonalised momentum for matrices, with the update size of AdamW."""

    def __init__(
        self, parameters: Named, *, momentum: float, weight_decay: float, iterations: int, dtype: torch.dtype
    ) -> None:
        """Args:
        parameters: matrices [m, n], or stacks of matrices [k, m, n].
        momentum: of the Nesterov average of gradients.
        weight_decay: decoupled.
        iterations: Newton–Schulz iterations.
        dtype: their precision.
        """
        self._momentum, self._decay, self._iterations, self._dtype = momentum, weight_decay, iterations, dtype
        self._groups: dict[tuple[int, int], list[nn.Parameter]] = {}
        for _, parameter in parameters:
            rows, columns = parameter.shape[-2:]
            self._groups.setdefault((min(rows, columns), max(rows, columns)), []).append(parameter)
        self._averages = {
            shape: [torch.zeros_like(parameter) for parameter in group]
            for shape, group in self._groups.items()
        }

    @torch.no_grad()
    def step(self, rate: float, spread: Spread = alone) -> None:
        """One update, which uses the gradients up; a matrix without one counts as having a zero one."""
        averaged = [self._averaged(shape, group) for shape, group in self._groups.items()]
        updates = spread(self._orthogonal, averaged)
        for (shape, group), update in zip(self._groups.items(), updates, strict=True):
            scale = rate * _MATCH_ADAMW_RMS * math.sqrt(shape[1])
            for parameter, part in zip(group, torch.split(update, list(map(_count, group))), strict=True):
                target = own(parameter.data)
                if self._decay:
                    target.mul_(1 - rate * self._decay)
                target.add_(share_of(_oriented(part, parameter), parameter), alpha=-scale)

    def _averaged(self, shape: tuple[int, int], group: Sequence[nn.Parameter]) -> Tensor:
        """[k, m, n] the matrices of a group as Nesterov's momentum has them."""
        gradients = [_gradient(parameter) for parameter in group]
        held, averages = list(map(own, gradients)), list(map(own, self._averages[shape]))
        torch._foreach_lerp_(averages, held, 1 - self._momentum)
        torch._foreach_lerp_(held, averages, self._momentum)
        return torch.cat([_wide(whole(gradient)) for gradient in gradients])

    def _orthogonal(self, matrices: Tensor) -> Tensor:
        """The nearest semi-orthogonal matrices, approximately, of [k, m, n] with m ≤ n."""
        x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(self._dtype)
        # Rounding errors of a Gram matrix grow with each iteration; float32 has digits to spare.
        small = self._dtype == torch.float32 and x.shape[2] >= 2 * x.shape[1]
        orthogonal = self._orthogonal_by_gram(x) if small else self._orthogonal_directly(x)
        return orthogonal.float()

    def _orthogonal_directly(self, x: Tensor) -> Tensor:
        for _ in range(self._iterations):
            x = _newton_schulz(x @ x.mT) @ x
        return x

    def _orthogonal_by_gram(self, x: Tensor) -> Tensor:
        """The same, iterated on XXᵀ [k, m, m]: every iterate is a polynomial of it times X."""
        gram, product = x @ x.mT, None
        for index in range(self._iterations):
            factor = _newton_schulz(gram)
            product = factor if product is None else factor @ product
            if index < self._iterations - 1:
                gram = factor @ gram @ factor
        return x if product is None else product @ x

    def state(self) -> dict[str, Tensor]:
        return {
            f"{rows}x{columns}": torch.cat([_wide(whole(average)) for average in averages])
            for (rows, columns), averages in self._averages.items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        for (rows, columns), averages in self._averages.items():
            parts = torch.split(state[f"{rows}x{columns}"], list(map(_count, averages)))
            for average, part in zip(averages, parts, strict=True):
                own(average).copy_(share_of(_oriented(part, average), average))


class AdamW:
    """AdamW over many small tensors at once; a parameter without a gradient is left alone."""

    def __init__(self, parameters: Named, *, betas: tuple[float, float], weight_decay: float) -> None:
        self._parameters = [(name, parameter) for name, parameter in parameters]
        self._betas, self._decay = betas, weight_decay
        self._first = {name: torch.zeros_like(parameter) for name, parameter in self._parameters}
        self._second = {name: torch.zeros_like(parameter) for name, parameter in self._parameters}
        self._steps = dict.fromkeys(self._first, 0)

    @torch.no_grad()
    def step(self, rate: float, spread: Spread = alone) -> None:
        """One update, of so few operations that every process makes it."""
        chosen = [(name, p) for name, p in self._parameters if p.grad is not None]
        if not chosen:
            return
        parameters = [own(parameter.data) for _, parameter in chosen]
        gradients = [own(_gradient(parameter)) for _, parameter in chosen]
        first = [own(self._first[name]) for name, _ in chosen]
        second = [own(self._second[name]) for name, _ in chosen]
        for name, _ in chosen:
            self._steps[name] += 1
        beta1, beta2 = self._betas
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        if self._decay:
            decayed = [parameter for parameter in parameters if parameter.dim() > 1]
            torch._foreach_mul_(decayed, 1 - rate * self._decay)
        steps = [self._steps[name] for name, _ in chosen]
        scales = torch._foreach_sqrt(second)
        torch._foreach_div_(scales, [math.sqrt(1 - beta2**count) for count in steps])
        torch._foreach_add_(scales, 1e-8)
        sizes = [-rate / (1 - beta1**count) for count in steps]
        torch._foreach_addcdiv_(parameters, first, scales, sizes)

    def state(self) -> dict[str, Tensor]:
        counts = torch.tensor(list(self._steps.values()), dtype=torch.int64)
        first = {f"first/{name}": whole(value) for name, value in self._first.items()}
        second = {f"second/{name}": whole(value) for name, value in self._second.items()}
        return {"steps": counts, **first, **second}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        self._steps = dict(zip(self._first, state["steps"].tolist(), strict=True))
        for name in self._first:
            for averages, kind in ((self._first, "first"), (self._second, "second")):
                own(averages[name]).copy_(share_of(state[f"{kind}/{name}"], averages[name]))


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that AdamW trains at a rate of their own."""

    name: str
    rate: float
    """Full learning rate."""
    holds: Callable[[str], bool]
    """Whether a parameter of this name belongs to it."""


class Hybrid:
    """The optimizer of a stage: its parts, their learning rates, and the state that a checkpoint keeps."""

    def __init__(
        self,
        model: nn.Module,
        config: OptimizerConfig,
        *,
        muon_dtype: torch.dtype,
        groups: Sequence[Group] = (),
    ) -> None:
        """Args:
        model: parameters of its blocks with two or more dimensions go to Muon, modulations excepted.
        config: the stage's optimizer section.
        muon_dtype: precision of the Newton–Schulz iteration.
        groups: take their parameters first, and leave the rest to Muon and AdamW.
        """
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        grouped = {group: [item for item in named if group.holds(item[0])] for group in groups}
        named = [item for item in named if not any(group.holds(item[0]) for group in groups)]
        matrices = [item for item in named if config.name == "muon_hybrid" and _is_block_matrix(*item)]
        rest = [item for item in named if not any(item[1] is matrix for _, matrix in matrices)]
        self._parts: dict[str, tuple[_Part, float]] = {}
        if matrices:
            muon = Muon(
                matrices, momentum=config.muon_momentum, weight_decay=config.weight_decay,
                iterations=config.muon_ns_steps, dtype=muon_dtype,
            )  # fmt: skip
            self._parts["muon"] = (muon, config.lr)
        adamw_rate = (config.adamw_lr or config.lr * 2 / 3) if matrices else config.lr
        adamw = AdamW(rest, betas=config.betas, weight_decay=config.weight_decay)
        self._parts["adamw"] = (adamw, adamw_rate)
        for group, members in grouped.items():
            if members:
                part = AdamW(members, betas=config.betas, weight_decay=config.weight_decay)
                self._parts[group.name] = (part, group.rate)
        self.rate = config.lr
        """The first part's learning rate, the one that is shown."""
        self.spread: Spread = alone
        """How processes share what Muon computes of each matrix."""

    def step(self, factor: float) -> None:
        """One update of all parameters at `factor` times the full learning rates."""
        for part, rate in self._parts.values():
            part.step(rate * factor, self.spread)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        return {f"{part}/{key}": value for part in self._parts for key, value in self._part_state(part)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, (part, _) in self._parts.items():
            prefix = f"{name}/"
            part.load(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )

    def _part_state(self, name: str) -> Iterable[tuple[str, Tensor]]:
        return self._parts[name][0].state().items()


def groups_of(config: TrainConfig) -> tuple[Group, ...]:
    """The parameter groups that a config gives a learning rate of their own."""
    rate = config.encoder.learning_rate
    if rate is None:
        return ()
    owners = ("encoder_refinement", "decoder_refinement")
    return (Group("codec", rate, lambda name: any(owner in name.split(".") for owner in owners)),)


def rate_factor(done: float, warmup: float) -> float:
    """Share of the full learning rate after a share `done` of a stage: up to 1, then linearly to 0."""
    if done < warmup:
        return min(1.0, done / warmup + 1e-3)
    return max(0.0, (1 - done) / max(1 - warmup, 1e-9))


def _newton_schulz(gram: Tensor) -> Tensor:
    """The factor a + b·G + c·G² of one iteration, of Gram matrices G = XXᵀ [k, m, m]."""
    a, b, c = _NEWTON_SCHULZ
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def _is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    return (
        ".blocks." in name
        and name.rsplit(".", 2)[-2] != "modulation"
        and not name.endswith("gain")
        and parameter.dim() >= 2
    )


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _count(parameter: Tensor) -> int:
    """Matrices in a parameter."""
    return parameter.numel() // (parameter.shape[-1] * parameter.shape[-2])


def _wide(matrices: Tensor) -> Tensor:
    """[k, m, n] with m ≤ n, of [m, n] or [k, m, n]."""
    stacked = matrices.reshape(-1, *matrices.shape[-2:])
    return stacked.mT if stacked.shape[1] > stacked.shape[2] else stacked


def _oriented(matrices: Tensor, like: Tensor) -> Tensor:
    """Wide matrices [k, m, n] in the shape of a parameter: the inverse of `_wide`."""
    tall = like.shape[-2] > like.shape[-1]
    return (matrices.mT if tall else matrices).reshape(like.shape)
