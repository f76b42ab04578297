"""From files and a config to everything that a stage trains with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ups.config import TrainConfig
from ups.data.fields import Fields
from ups.data.point_sampling import PointPairs
from ups.data.sampling import Pairs
from ups.data.split import Split, open_split, pairs_of
from ups.data.survey import Doubles, Survey, survey
from ups.errors import DataError
from ups.evaluation.guards import Guards, calibrate
from ups.models.conditioning import displacement
from ups.models.operator import LatentOperator, Normalisation
from ups.models.spec import AnyTask, GridTask, OperatorSpec, choose_patch, operator_spec, point_task
from ups.models.transport import calibrate as calibrate_transport
from ups.physics import symmetries
from ups.training.bases import fit_bases

_CALIBRATION_PAIRS = 256


@dataclass(frozen=True, slots=True)
class TaskData:
    """One task's training pairs and validation file."""

    pairs: Pairs | PointPairs
    validation: Split


def open_data(config: TrainConfig, datasets: Mapping[str, Mapping[str, Path]]) -> dict[str, TaskData]:
    """Open the files of every task of a config, in the config's order.

    Raises:
        DataError: a split is missing, empty, smaller than a batch, or too short for the stride.
        NotFoundError: a file is missing.
    """
    found = {}
    for task in config.data.task:
        files = datasets.get(task, {})
        for split in (config.data.split, "val"):
            if split not in files:
                raise DataError(f"there is no {split} split of {task}", hint=f"ups-console data make {task}")
        stride = config.training.time_stride
        pairs = pairs_of(open_split(files[config.data.split]), stride=stride)
        validation = open_split(files["val"])
        if len(pairs) == 0 or len(pairs_of(validation, stride=stride)) == 0:
            raise DataError(
                f"{task} has no pair of states {config.training.time_stride} frames apart",
                hint="make or import more data, or lower training.time_stride",
            )
        if len(pairs) < (size := config.training.batch_size_of(task)):
            raise DataError(
                f"a batch of {size} is larger than the {config.data.split} split of {task}, which has"
                f" {len(pairs)} pairs",
                hint="lower training.batch_size, or make or import more data",
            )
        found[task] = TaskData(pairs, validation)
    return found


def new_operator(
    config: TrainConfig, data: Mapping[str, TaskData], seed: int
) -> tuple[LatentOperator, dict[str, Guards]]:
    """An untrained operator with the statistics of the train split, and the guards that these support.

    Raises:
        ConfigError: a patch does not fit its grid or the latent space.
        DataError: values that are not finite, or a constant field.
    """
    surveys = {task: survey(entry.pairs.fields) for task, entry in data.items()}
    tasks = tuple(_task(config, entry.pairs) for entry in data.values())
    spec: OperatorSpec = operator_spec(config, tasks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LatentOperator(spec)
    model.set_normalisation({task: _normalisation(surveys[task], data[task].pairs.fields) for task in data})
    fit_bases(model, {task: entry.pairs for task, entry in data.items()}, augment=config.training.augment)
    guards = {task: calibrate(surveys[task], config.training.guards) for task in data}
    return model, guards


def _task(config: TrainConfig, pairs: Pairs | PointPairs) -> AnyTask:
    if isinstance(pairs, Pairs):
        return _grid_task(config, pairs)
    fields = pairs.fields
    return point_task(config, fields.spec, fields.most_points, fields.dt * pairs.stride)


def _grid_task(config: TrainConfig, pairs: Pairs) -> GridTask:
    fields = pairs.fields
    grid = tuple(fields.grid)
    task = GridTask(
        fields.spec.name, grid, choose_patch(config, fields.spec.name, grid), fields.dt * pairs.stride,
        pool=config.data.patch_size,
    )  # fmt: skip
    if config.training.transport_skip == "off" or not fields.spec.periodic or fields.spec.static:
        return task
    return replace(task, transport=_transport(task, pairs))


def _transport(task: GridTask, pairs: Pairs) -> float:
    """The calibrated multiple of velocity × dt; 0 where the task has no velocity or nothing is gained."""
    random = np.random.default_rng(0)
    chosen = random.integers(len(pairs), size=_CALIBRATION_PAIRS)
    batch = pairs.take(chosen // pairs.starts, chosen % pairs.starts)
    parameters = torch.from_numpy(batch.parameters)
    fraction = displacement(task, parameters, torch.full((len(batch),), batch.dt))
    if fraction is None:
        return 0.0
    return calibrate_transport(
        torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets[:, 0]), fraction
    )


def _normalisation(found: Survey, fields: Split) -> Normalisation:
    static = found.mean_field is not None
    return Normalisation(
        _tensor(found.input_mean), _tensor(found.input_std),
        _target_mean(found, fields),
        _tensor(found.residual_std if static else found.std),
        torch.from_numpy(np.array(fields.parameters, np.float32)),
    )  # fmt: skip


def _target_mean(found: Survey, fields: Split) -> Tensor:
    if found.mean_field is None:
        return _tensor(found.mean)
    return _symmetric(found.mean_field, fields) if isinstance(fields, Fields) else _tensor(found.mean_field)


def _symmetric(mean_field: Doubles, fields: Fields) -> Tensor:
    """The mean field averaged over the task's symmetries: the mean of the augmented data."""
    field = _tensor(mean_field)[None]
    if fields.spec.vector_fields:
        return field[0]
    maps = symmetries(fields.spec, fields.grid)
    return torch.stack([symmetry.apply(field) for symmetry in maps]).mean(dim=0)[0]


def _tensor(values: Doubles) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
