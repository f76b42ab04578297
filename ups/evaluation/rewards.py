"""What speaks against a candidate without knowing the truth.

Each term is a penalty per sample, relative to the size of the state, so that rounding is the same for
all. Within the candidates of one sample penalties are standardised: a term counts by how well it tells
candidates apart, not by its unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from ups.errors import ConfigError
from ups.models.corrector import situation
from ups.models.critic import Critic
from ups.models.geometry import Geometry
from ups.models.operator import LatentOperator
from ups.physics import CHECKS, Transition
from ups.tasks import task_spec

ROUNDING = 1e-5
"""Penalties and differences between them below this are float32's, not the candidates'."""


PHYSICS = MappingProxyType(
    {
        "conservation": "conservation_gap", "boundary": "boundary_violation", "positivity": "negativity",
        "divergence": "divergence", "residual": "equation_residual",
    }
)  # fmt: skip
"""Name among `ttc.weights` → check of `ups.physics`."""
CRITIC = "critic"
NAMES = (*PHYSICS, CRITIC)
"""All terms that `ttc.weights` may name."""


class Term(Protocol):
    """One reason to prefer a candidate."""

    @property
    def name(self) -> str: ...

    def applies(self, task: str) -> bool:
        """Whether it has a meaning for a task."""
        ...

    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        """[B], lower is better; `points` are those of a mesh or of particles before the step."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """A term of a task's score."""

    term: Term
    weight: float


class Verdict(StrEnum):
    """What a term can say about some candidates."""

    TELLS_APART = "tells apart"
    SATISFIED = "satisfied"
    """No candidate violates it."""
    DEGENERATE = "degenerate"
    """It says the same of all candidates."""


@dataclass(frozen=True, slots=True)
class PhysicsTerm:
    """What a candidate breaks of what its equation guarantees; named as in `PHYSICS`."""

    name: str

    def applies(self, task: str) -> bool:
        return CHECKS[PHYSICS[self.name]].applies(task_spec(task))

    @torch.no_grad()
    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        measured = CHECKS[PHYSICS[self.name]].measure(transition)
        assert measured is not None
        return measured


@dataclass(frozen=True, slots=True)
class CriticTerm:
    """The learned critic's expected log relative error."""

    critic: Critic
    operator: LatentOperator
    stride: int
    name: str = CRITIC

    def applies(self, task: str) -> bool:
        return task in self.critic.tasks

    @torch.no_grad()
    def penalty(self, transition: Transition, points: Geometry | None) -> Tensor:
        task, before = transition.spec.name, transition.before
        strides = before.new_full((len(before),), float(self.stride))
        seen = situation(
            self.operator, task, before, transition.parameters, transition.dt, strides, transition.after,
            points,
        )  # fmt: skip
        judged: Tensor = self.critic(seen)
        return judged


def verdict(penalties: Tensor) -> Verdict:
    """What a term with penalties [K, B] says about K candidates of B samples."""
    known = penalties[:, torch.isfinite(penalties).all(dim=0)]
    if not known.numel():
        return Verdict.TELLS_APART  # some are not finite, and that is worth knowing
    if bool((known.abs() <= ROUNDING).all()):
        return Verdict.SATISFIED
    spread = known.amax(dim=0) - known.amin(dim=0)
    apart = spread > ROUNDING * known.abs().amax(dim=0).clamp_min(1.0)
    return Verdict.TELLS_APART if bool(apart.any()) else Verdict.DEGENERATE


def choose_terms(
    task: str,
    available: Sequence[Term],
    weights: Mapping[str, float],
    transitions: Sequence[Transition],
    points: Geometry | None = None,
) -> tuple[WeightedTerm, ...]:
    """The terms of a task's score, checked on some candidates.

    Terms that have no meaning for the task are left out. Without weights all others count equally, and
    those that every candidate satisfies are left out too: there is nothing to choose by them.

    Args:
        task: the task.
        available: all terms that there are.
        weights: weight by name; empty: all equally.
        transitions: the candidates of the same samples.
        points: where these samples live, on a mesh or as particles.

    Raises:
        ConfigError: a weight names no term; a term says the same of all candidates; no term is left.
    """
    _check_names(weights, available)
    chosen = []
    for term in available:
        weight = weights.get(term.name, 0.0) if weights else 1.0
        if not weight or not term.applies(task):
            continue
        found = verdict(torch.stack([term.penalty(transition, points) for transition in transitions]))
        if found is Verdict.SATISFIED and not weights:
            continue
        if found is not Verdict.TELLS_APART:
            raise ConfigError(
                f"the reward {term.name} is degenerate on {task}: it says the same of all"
                f" {len(transitions)} candidates",
                hint=f"leave {term.name} out of ttc.weights, or raise ttc.candidates or ttc.noise",
            )
        chosen.append(WeightedTerm(term, weight))
    if not chosen:
        raise ConfigError(
            f"no reward can tell the candidates of {task} apart",
            hint="train stages.diff_residual, which brings a critic, or evaluate without --ttc",
        )
    return tuple(chosen)


def _check_names(weights: Mapping[str, float], available: Sequence[Term]) -> None:
    known = {term.name for term in available}
    for name in weights.keys() - known:
        if name == CRITIC:
            raise ConfigError(
                "ttc.weights.critic: this run has no critic",
                hint="stages.diff_residual trains one; leave the weight out to do without",
            )
        raise ConfigError(
            f"ttc.weights.{name} is no term of the score", hint=f"terms are {', '.join(sorted(known))}"
        )


def standardised(penalties: Sequence[Tensor], terms: Sequence[WeightedTerm]) -> Tensor:
    """The score [B, K], lower is better, of each term's penalties [B, K].

    A candidate whose penalty is not finite is worse than all others; where candidates differ by no more
    than rounding, the term says nothing.
    """
    total = torch.zeros_like(penalties[0])
    for values, entry in zip(penalties, terms, strict=True):
        finite = torch.isfinite(values)
        worst = torch.where(finite, values, -torch.inf).amax(dim=1, keepdim=True).clamp_min(0.0)
        known = torch.where(finite, values, 2 * worst + 1)
        deviation = known.std(dim=1, keepdim=True, unbiased=False)
        telling = deviation > ROUNDING * known.abs().amax(dim=1, keepdim=True)
        scaled = (known - known.mean(dim=1, keepdim=True)) / deviation.clamp_min(1e-12)
        total = total + entry.weight * torch.where(telling, scaled, torch.zeros_like(scaled))
    return total
