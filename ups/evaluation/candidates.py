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
        task: the task; on points there is the plain prediction alone.
        count: recipes wanted.
        corrector: there is a corrector to draw from.
        noise: noise on the input is asked for.
    """
    identity, *maps = symmetries(task.spec, task.symmetric_shape)
    if not isinstance(task, GridTask):
        return (Recipe(identity),)
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


def _shifts(task: GridTask) -> list[tuple[int, ...]]:
    """Shifts of a periodic domain by part of a patch: by whole patches every prediction is the same."""
    if not task.spec.periodic:
        return []
    dims, edge = len(task.grid), min(task.edges) * task.pool
    # from the middle of a patch outwards: the farthest from what the operator is equivariant to
    cells = sorted(range(1, edge), key=lambda cell: (abs(2 * cell - edge), cell))
    return [(cell,) * dims for cell in cells]


@dataclass(frozen=True, slots=True)
class CandidateMaker:
    """Predicts by recipe, unguarded."""

    predictor: Predictor
    sampler: CorrectedOperator | None
    """The operator with a corrector to draw from."""
    noise: float
    """Standard deviation of the input noise in units of the normalised state."""

    @torch.no_grad()
    def make(
        self, recipe: Recipe, task: str, inputs: Tensor, parameters: Tensor, dt: float, rows: slice, of: int
    ) -> Tensor:
        """One candidate [B, *S, C] for each input.

        Args:
            recipe: how.
            task: a task of the operator.
            inputs: [B, *S, Ci] in physical units.
            parameters: [B, P].
            dt: time of the step.
            rows: where these samples are in the whole batch, so that what is random does not
                depend on how the batch is cut.
            of: samples of the whole batch.
        """
        head = self.predictor.model.head(task)
        spec = head.task.spec
        if recipe.noise is not None:
            field = _random_field(recipe.noise * _STREAMS, rows, of, inputs.shape[1:], inputs.device)
            inputs = inputs + self.noise * head.source.std * field
        shift = torch.tensor(recipe.shift, device=inputs.device).expand(len(inputs), -1)
        moved = shift_cells(inputs, shift) if recipe.shift else inputs
        moved = recipe.symmetry.apply(moved, vector_channels(spec, spec.input_fields or spec.fields))
        times = inputs.new_full((len(inputs),), dt)
        strides = inputs.new_full((len(inputs),), float(self.predictor.stride))
        if recipe.draw is None:
            made = self.predictor.model(task, moved, parameters, times, strides)
        else:
            assert self.sampler is not None
            shape = (*inputs.shape[1:-1], len(spec.fields))
            draw = _random_field(recipe.draw * _STREAMS + 1, rows, of, shape, inputs.device)
            made = self.sampler(task, moved, parameters, times, strides, draw=draw)
        back: Tensor = recipe.symmetry.inverse().apply(made, vector_channels(spec, spec.fields))
        return shift_cells(back, -shift) if recipe.shift else back


def _random_field(seed: int, rows: slice, of: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """The rows of a standard normal field [of, *shape], the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(of, *shape, generator=generator)[rows].to(device)
