"""A trained operator as a function of physical states: guards and symmetric averaging included."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ups.config import TrainConfig, parse_train_config
from ups.data.fields import Fields
from ups.data.split import Split
from ups.errors import DataError
from ups.evaluation.guards import Guards
from ups.models import checkpoint as checkpoints
from ups.models.companions import model_of
from ups.models.corrector import CorrectedOperator
from ups.models.geometry import Geometry
from ups.models.operator import LatentOperator
from ups.models.spec import GridTask
from ups.physics import Symmetry, symmetries, vector_channels


@dataclass(frozen=True, slots=True)
class Predictor:
    """Steps physical states forward. Immutable: a variant is made with `unguarded` or `plain`."""

    model: LatentOperator | CorrectedOperator
    guards: Mapping[str, Guards]
    device: torch.device
    stride: int
    """Stored frames of one step."""
    symmetric_average: bool = False
    """Average over the mirror and axis-exchange symmetries of problems in two or more dimensions."""
    config: TrainConfig | None = field(default=None, repr=False)

    def unguarded(self) -> "Predictor":
        return replace(self, guards={})

    def plain(self) -> "Predictor":
        """Without symmetric averaging."""
        return replace(self, symmetric_average=False)

    def averages(self, task: str) -> bool:
        """Whether this task's predictions are averages over symmetries."""
        return self.symmetric_average and len(self._maps(task)) > 1

    @torch.no_grad()
    def step(
        self, task: str, inputs: Tensor, parameters: Tensor, dt: float, geometry: Geometry | None = None
    ) -> Tensor:
        """The states after one step (or the answers of a static problem).

        Args:
            task: a task of the operator.
            inputs: [B, *S, Ci] in physical units, on the predictor's device.
            parameters: [B, P].
            dt: time of the step.
            geometry: the points, of a task on a mesh or on particles.

        Returns:
            [B, *S, C]; zero where a sample has no point.
        """
        spec = self.model.head(task).task.spec
        batch = len(inputs)
        times, strides = inputs.new_full((batch,), dt), inputs.new_full((batch,), float(self.stride))
        source = vector_channels(spec, spec.input_fields or spec.fields)
        target = vector_channels(spec, spec.fields)
        maps = self._maps(task)
        total = None
        for symmetry in maps:
            if geometry is None:
                image = self.model(task, symmetry.apply(inputs, source), parameters, times, strides)
                predicted = symmetry.inverse().apply(image, target)
            else:
                moved = geometry.at(symmetry.move(geometry.positions, spec.domain))
                turned = symmetry.turn(inputs, source)
                image = self.model(task, turned, parameters, times, strides, geometry=moved)
                predicted = symmetry.inverse().turn(image, target)
            total = predicted if total is None else total + predicted
        assert total is not None
        guarded = self.guard(task, total / len(maps), inputs)
        return guarded if geometry is None else guarded * geometry.mask[..., None]

    @torch.no_grad()
    def reconstruct(self, task: str, fields: Tensor, geometry: Geometry | None = None) -> Tensor:
        """What the encoder and decoder of a task leave of its states or answers [B, *S, C]."""
        return self.model.head(task).on(geometry).reconstruct(fields)

    def guard(self, task: str, predicted: Tensor, previous: Tensor) -> Tensor:
        """The guarded prediction [B, *S, C] of a step from `previous`."""
        guards = self.guards.get(task)
        return predicted if guards is None else guards.apply(predicted, previous)

    def mean_field(self, task: str) -> Tensor:
        """[*S, C], on points [C]: mean answer of a static task over the train split, its baseline."""
        return self.model.head(task).target.mean

    def check(self, fields: Split) -> None:
        """Refuse data that the operator was not made for.

        Raises:
            DataError: another task, another grid or another domain.
        """
        task = fields.spec.name
        if task not in self.model.heads:
            tasks = ", ".join(self.model.heads)
            raise DataError(f"{fields.path} holds {task}, but the checkpoint knows only {tasks}")
        known = self.model.head(task).task
        if not isinstance(known, GridTask) or not isinstance(fields, Fields):
            if isinstance(known, GridTask) or isinstance(fields, Fields):
                raise DataError(f"{fields.path} is not on the kind of points the checkpoint was trained on")
            if known.spec.domain != fields.spec.domain:
                raise DataError(
                    f"{fields.path} lies in the domain {fields.spec.domain},"
                    f" but the checkpoint was trained on {known.spec.domain}"
                )
            return  # meshes and particles may have any number of points
        grid = known.grid
        if tuple(fields.grid) != grid:
            raise DataError(
                f"{fields.path} has a grid of {'×'.join(map(str, fields.grid))} cells,"
                f" but the checkpoint was trained on {'×'.join(map(str, grid))}",
                hint="convert the file at the checkpoint's resolution",
            )

    def _maps(self, task: str) -> tuple[Symmetry, ...]:
        known = self.model.head(task).task
        found = symmetries(known.spec, known.symmetric_shape)
        return found if self.symmetric_average and known.spec.spatial_dims > 1 else found[:1]


def load(path: Path, device: str, *, symmetric_average: bool = False) -> Predictor:
    """The predictor of a checkpoint (or of the best checkpoint of a run directory).

    Raises:
        NotFoundError: no checkpoint there.
        TrainingError: a damaged checkpoint.
    """
    found = checkpoints.read(path)
    config = parse_train_config(found.state["config"], str(found.path / "state.json"))
    guards = {task: Guards.from_json(values) for task, values in found.state["guards"].items()}
    return Predictor(
        model_of(found).to(device).eval(), guards, torch.device(device), config.training.time_stride,
        symmetric_average, config,
    )  # fmt: skip
