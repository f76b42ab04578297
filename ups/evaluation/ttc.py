"""Test-time compute: make several candidates of a step, score them without the truth, follow the best.

Scores are physical (`ups.evaluation.rewards`) and a learned critic's. The search looks some steps ahead
with a beam: of all candidates' candidates the best few are kept, by the sum of their scores, and the
first step of the best path is taken. The plain average of the candidates needs no score at all and
is what the search has to beat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ups.evaluation.candidates import CandidateMaker, Recipe, Rows
from ups.evaluation.points import moved
from ups.evaluation.predictor import Predictor
from ups.evaluation.rewards import WeightedTerm, standardised
from ups.models.geometry import Geometry
from ups.physics import Transition

Place = tuple[Tensor, Geometry | None]
"""A state of each sample, and the points where it lives, if on any."""


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
        """The states [B, *S, C] after one step, guarded; arguments as in `Predictor.step`."""
        averages = self.average or task not in self.terms
        size = max(1, self.chunk if averages else self.chunk // self.beam)
        decide = self._averaged if averages else self._searched
        parts = []
        for first in range(0, len(inputs), size):
            rows = slice(first, min(first + size, len(inputs)))
            given = Rows(task, parameters[rows], dt, rows, len(inputs))
            parts.append(decide(given, inputs[rows], None if geometry is None else geometry.rows(rows)))
        return torch.cat(parts)

    def scoring(self, terms: Mapping[str, tuple[WeightedTerm, ...]]) -> "Search":
        """The same candidates, scored by these terms of each task."""
        return replace(self, terms=terms)

    def probe(
        self, task: str, inputs: Tensor, parameters: Tensor, dt: float, geometry: Geometry | None = None
    ) -> Tensor:
        """Unguarded candidates [K, B, *S, C] of a whole batch, as `step` would make them."""
        given = Rows(task, parameters, dt, slice(0, len(inputs)), len(inputs))
        return torch.stack(
            [self.maker.make(recipe, given, inputs, geometry) for recipe in self.recipes[task]]
        )

    def transition(
        self, task: str, before: Tensor, after: Tensor, parameters: Tensor, dt: float
    ) -> Transition:
        """One candidate's step, as the terms look at it."""
        spec = self.predictor.model.head(task).task.spec
        return Transition(spec, before, after, parameters, before.new_full((len(before),), dt))

    def _guarded(self, given: Rows, made: Tensor, before: Tensor, points: Geometry | None) -> Tensor:
        guarded = self.predictor.guard(given.task, made, before)
        return guarded if points is None else guarded * points.mask[..., None]

    def _averaged(self, given: Rows, states: Tensor, points: Geometry | None) -> Tensor:
        total: Tensor | None = None
        for recipe in self.recipes[given.task]:
            made = self.maker.make(recipe, given, states, points)
            total = made if total is None else total + made
        assert total is not None
        return self._guarded(given, total / len(self.recipes[given.task]), states, points)

    def _searched(self, given: Rows, states: Tensor, points: Geometry | None) -> Tensor:
        """The guarded first steps [b, *S, C] of the best paths from states [b, *S, Ci]."""
        count, samples = len(self.recipes[given.task]), torch.arange(len(states), device=states.device)
        static = self.predictor.model.head(given.task).task.spec.static
        frontier, scores = [(states, points)], torch.zeros(len(states), 1, device=states.device)
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
            frontier = [self._reached(given, frontier, made, chosen) for chosen in kept.T]
        assert begun is not None
        return begun[origin[:, 0], samples]

    def _expanded(self, given: Rows, frontier: Sequence[Place]) -> tuple[Tensor, list[Tensor]]:
        """All guarded candidates [W·K, b, *S, C] of W states, and each term's penalties [b, W·K]."""
        made, penalties = [], []
        for state, points in frontier:
            for recipe in self.recipes[given.task]:
                # Scored before the guards, which would make some of them look alike.
                raw = self.maker.make(recipe, given, state, points)
                transition = self.transition(given.task, state, raw, given.parameters, given.dt)
                penalties.append([entry.term.penalty(transition, points) for entry in self.terms[given.task]])
                made.append(self._guarded(given, raw, state, points))
        by_term = [torch.stack(list(column), dim=1) for column in zip(*penalties, strict=True)]
        return torch.stack(made), by_term

    def _reached(self, given: Rows, frontier: Sequence[Place], made: Tensor, chosen: Tensor) -> Place:
        """Each sample's chosen candidate [b] among [W·K, b, *S, C], and where its points then are."""
        samples, count = torch.arange(len(chosen), device=chosen.device), len(self.recipes[given.task])
        after = made[chosen, samples]
        if frontier[0][1] is None:
            return after, None
        known = [points for _, points in frontier if points is not None]
        before = torch.stack([state for state, _ in frontier])[chosen // count, samples]
        positions = torch.stack([points.positions for points in known])[chosen // count, samples]
        spec = self.predictor.model.head(given.task).task.spec
        return after, moved(known[0].at(positions), before, after, given.dt, spec)
