"""Test-time compute: make several candidates of a step, score them without the truth, follow the best.

Scores are physical (`ups.evaluation.rewards`) and a learned critic's. The search looks some steps ahead
with a beam: of all candidates' candidates the best few are kept, by the sum of their scores, and the
first step of the best path is taken. The plain average of the candidates needs no score at all and
is what the search has to beat.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ups.evaluation.candidates import CandidateMaker, Recipe
from ups.evaluation.predictor import Predictor
from ups.evaluation.rewards import WeightedTerm, standardised
from ups.models.geometry import Geometry
from ups.physics import Transition


@dataclass(frozen=True, slots=True)
class Search:
    """Steps states forward like a `Predictor`, choosing among candidates, or averaging them."""

    predictor: Predictor
    """Gives the guards; plain, since its symmetries are candidates here."""
    maker: CandidateMaker
    recipes: Mapping[str, tuple[Recipe, ...]]
    """Of each task, the plain prediction first."""
    terms: Mapping[str, tuple[WeightedTerm, ...]] = field(default_factory=dict)
    """The score of each task's candidates."""
    steps: int = 1
    beam: int = 1
    chunk: int = 32
    """States that are predicted at once."""
    average: bool = False

    @property
    def device(self) -> torch.device:
        return self.predictor.device

    def averaging(self) -> "Search":
        """The same candidates, averaged."""
        return replace(self, average=True)

    @torch.no_grad()
    def step(
        self, task: str, inputs: Tensor, parameters: Tensor, dt: float, geometry: Geometry | None = None
    ) -> Tensor:
        """The states [B, *S, C] after one step, guarded; arguments as in `Predictor.step`.

        On meshes and particles there is nothing to choose from: the plain prediction, or the average over
        the symmetries.
        """
        if geometry is not None:
            alone = replace(self.predictor, symmetric_average=self.average)
            return alone.step(task, inputs, parameters, dt, geometry)
        size = max(1, self.chunk if self.average else self.chunk // self.beam)
        parts = []
        for first in range(0, len(inputs), size):
            rows = slice(first, min(first + size, len(inputs)))
            situation = _Rows(task, parameters[rows], dt, rows, len(inputs))
            decide = self._averaged if self.average or task not in self.terms else self._searched
            parts.append(decide(situation, inputs[rows]))
        return torch.cat(parts)

    def scoring(self, terms: Mapping[str, tuple[WeightedTerm, ...]]) -> "Search":
        """The same candidates, scored by these terms of each task."""
        return replace(self, terms=terms)

    def candidates(self, given: "_Rows", states: Tensor) -> Tensor:
        """Unguarded candidates [K, B, *S, C] of states [B, *S, Ci]."""
        return torch.stack([self._made(recipe, given, states) for recipe in self.recipes[given.task]])

    def probe(self, task: str, inputs: Tensor, parameters: Tensor, dt: float) -> Tensor:
        """Unguarded candidates [K, B, *S, C] of a whole batch, as `step` would make them."""
        return self.candidates(_Rows(task, parameters, dt, slice(0, len(inputs)), len(inputs)), inputs)

    def transition(
        self, task: str, before: Tensor, after: Tensor, parameters: Tensor, dt: float
    ) -> Transition:
        """One candidate's step, as the terms look at it."""
        spec = self.predictor.model.head(task).task.spec
        return Transition(spec, before, after, parameters, before.new_full((len(before),), dt))

    def _made(self, recipe: Recipe, given: "_Rows", states: Tensor) -> Tensor:
        return self.maker.make(
            recipe, given.task, states, given.parameters, given.dt, given.rows, given.batch
        )

    def _averaged(self, given: "_Rows", states: Tensor) -> Tensor:
        total = torch.zeros(())
        for recipe in self.recipes[given.task]:
            total = total.to(states.device) + self._made(recipe, given, states)
        return self.predictor.guard(given.task, total / len(self.recipes[given.task]), states)

    def _searched(self, given: "_Rows", states: Tensor) -> Tensor:
        """The guarded first steps [b, *S, C] of the best paths from states [b, *S, Ci]."""
        count, samples = len(self.recipes[given.task]), torch.arange(len(states), device=states.device)
        static = self.predictor.model.head(given.task).task.spec.static
        frontier, scores = [states], torch.zeros(len(states), 1, device=states.device)
        begun: Tensor | None = None  # [K, b, *S, C] the first steps
        origin = torch.zeros(len(states), 1, dtype=torch.long, device=states.device)
        for _ in range(1 if static else self.steps):
            made, penalties = self._expanded(given, frontier)
            totals = scores.repeat_interleave(count, dim=1) + standardised(penalties, self.terms[given.task])
            kept = totals.argsort(dim=1, stable=True)[:, : self.beam]  # [b, beam]
            scores = totals.gather(1, kept)
            if begun is None:
                begun, origin = made, kept
            else:
                origin = origin.gather(1, kept // count)
            frontier = [made[kept[:, index], samples] for index in range(kept.shape[1])]
        assert begun is not None
        return begun[origin[:, 0], samples]

    def _expanded(self, given: "_Rows", frontier: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """All guarded candidates [W·K, b, *S, C] of W states, and each term's penalties [b, W·K]."""
        made, penalties = [], []
        for state in frontier:
            for recipe in self.recipes[given.task]:
                # Scored before the guards, which would make some of them look alike.
                raw = self._made(recipe, given, state)
                transition = self.transition(given.task, state, raw, given.parameters, given.dt)
                penalties.append([entry.term.penalty(transition) for entry in self.terms[given.task]])
                made.append(self.predictor.guard(given.task, raw, state))
        by_term = [torch.stack(list(column), dim=1) for column in zip(*penalties, strict=True)]
        return torch.stack(made), by_term


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some samples of a batch."""

    task: str
    parameters: Tensor
    dt: float
    rows: slice
    batch: int
    """Samples of the whole batch."""
