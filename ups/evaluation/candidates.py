"""Several predictions of the same step, each as good as the next by all that is known beforehand.

They come from the symmetries of the equation (mirrors, exchanged axes, shifts of periodic domains by
less than a patch, to all of which the truth is equivariant and the operator only nearly), from the
corrector's samples, and from noise on the input. The first is the plain prediction.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ups.evaluation.predictor import Predictor
from ups.models.corrector import CorrectedOperator
from ups.models.geometry import Geometry
from ups.models.spec import AnyTask, GridTask
from ups.physics import Symmetry, shift_cells, symmetries, vector_channels

_STREAMS = 2
"""Random fields of a recipe have seeds of their own: the corrector's draws and the input noise."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one candidate is made."""

    symmetry: Symmetry
    shift: tuple[int, ...] = ()
    """Cells along each axis; empty: not shifted."""
    draw: int | None = None
    """Seed of the corrector's sample; None: its use, or not, is the predictor's."""
    noise: int | None = None
    """Seed of the input noise; None: none."""


def recipes(task: AnyTask, count: int, *, corrector: bool, noise: bool) -> tuple[Recipe, ...]:
    """At most `count` different recipes, taking turns among the sources that the task has.

    Args:
        task: the task.
        count: recipes wanted.
        corrector: there is a corrector to draw from.
        noise: noise on the input is asked for.
    """
    identity, *maps = symmetries(task.spec, task.symmetric_shape)
    sources: list[Iterator[Recipe]] = [
        iter([Recipe(symmetry) for symmetry in maps]),
        iter([Recipe(identity, shift) for shift in _shifts(task)]),
    ]
    if corrector:
        sources.append(Recipe(identity, draw=seed) for seed in itertools.count())
    if noise:
        sources.append(Recipe(identity, noise=seed) for seed in itertools.count())
    found = [Recipe(identity)]
    while sources and len(found) < count:
        source = sources.pop(0)
        recipe = next(source, None)
        if recipe is not None:
            found.append(recipe)
            sources.append(source)
    return tuple(found)


def _shifts(task: AnyTask) -> list[tuple[int, ...]]:
    """Shifts of a periodic domain by part of a patch: by whole patches every prediction is the same."""
    if not isinstance(task, GridTask) or not task.spec.periodic:
        return []
    dims, edge = len(task.grid), min(task.edges) * task.pool
    # from the middle of a patch outwards: the farthest from what the operator is equivariant to
    cells = sorted(range(1, edge), key=lambda cell: (abs(2 * cell - edge), cell))
    return [(cell,) * dims for cell in cells]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some samples of a batch; what is random does not depend on how the batch is cut."""

    task: str
    parameters: Tensor
    """[B, P] of these samples."""
    dt: float
    """Time of the step."""
    rows: slice
    """Where these samples are in the whole batch."""
    batch: int
    """Samples of the whole batch."""


@dataclass(frozen=True, slots=True)
class CandidateMaker:
    """Predicts by recipe, unguarded."""

    predictor: Predictor
    sampler: CorrectedOperator | None
    """The operator with a corrector to draw from."""
    noise: float
    """Standard deviation of the input noise in units of the normalised state."""

    @torch.no_grad()
    def make(self, recipe: Recipe, given: Rows, states: Tensor, points: Geometry | None) -> Tensor:
        """One candidate [B, *S, C] for each state [B, *S, Ci], on the points where it lives, if on any."""
        head = self.predictor.model.head(given.task)
        spec = head.task.spec
        fields = len(spec.fields)
        sources = vector_channels(spec, spec.input_fields or spec.fields)
        targets = vector_channels(spec, spec.fields)
        if recipe.noise is not None:
            drawn = _random_field(recipe.noise * _STREAMS, given, states, states.shape[-1], points)
            states = states + self.noise * head.source.std * drawn
        shift = torch.tensor(recipe.shift, device=states.device).expand(len(states), -1)
        moved, symmetry = shift_cells(states, shift) if recipe.shift else states, recipe.symmetry
        if points is None:
            moved = symmetry.apply(moved, sources)
        else:
            points = points.at(symmetry.move(points.positions, spec.domain))
            moved = symmetry.turn(moved, sources)
        times = states.new_full((len(states),), given.dt)
        strides = states.new_full((len(states),), float(self.predictor.stride))
        if recipe.draw is None:
            made = self.predictor.model(given.task, moved, given.parameters, times, strides, geometry=points)
        else:
            assert self.sampler is not None
            draw = _random_field(recipe.draw * _STREAMS + 1, given, states, fields, points)
            made = self.sampler(
                given.task, moved, given.parameters, times, strides, geometry=points, draw=draw
            )
        undo = symmetry.inverse()
        back: Tensor = undo.apply(made, targets) if points is None else undo.turn(made, targets)
        return shift_cells(back, -shift) if recipe.shift else back


def _random_field(seed: int, given: Rows, like: Tensor, channels: int, points: Geometry | None) -> Tensor:
    """The rows of a standard normal field on the whole batch, on every device the same; 0 at padding."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(given.batch, *like.shape[1:-1], channels, generator=generator)[given.rows]
    field = field.to(like.device)
    return field if points is None else field * points.mask[..., None]
