"""From files and a config to everything that a stage trains with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ups.config import TrainConfig
from ups.data.fields import Fields
from ups.data.outline import Outline
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
from ups.tasks import Modality, TaskSpec, task_spec
from ups.training.bases import fit_bases

_CALIBRATION_PAIRS = 256


@dataclass(frozen=True, slots=True)
class TaskData:
    """One task's training pairs and validation file."""

    pairs: Pairs | PointPairs
    validation: Split


def open_data(
    config: TrainConfig, datasets: Mapping[str, Mapping[str, Path]], tasks: Iterable[str] | None = None
) -> dict[str, TaskData]:
    """Open the files of a config's tasks, in the config's order.

    Args:
        config: the experiment.
        datasets: task → split → converted file.
        tasks: those that are opened; None: all.

    Raises:
        DataError: a split is missing, empty, smaller than a batch, or too short for the stride.
        NotFoundError: a file is missing.
    """
    opened = set(config.data.task if tasks is None else tasks)
    found = {}
    for task in (task for task in config.data.task if task in opened):
        training, held_out = (split_file(datasets, task, split) for split in (config.data.split, "val"))
        pairs = pairs_of(open_split(training), stride=config.training.time_stride)
        validation = open_split(held_out)
        for fields in (pairs.fields, validation):
            require_pairs(config, Outline.of(fields))
        require_batch(config, Outline.of(pairs.fields))
        found[task] = TaskData(pairs, validation)
    return found


def split_file(datasets: Mapping[str, Mapping[str, Path]], task: str, split: str) -> Path:
    """Where a split is, whether it is there yet or not; raises DataError where nothing says so."""
    try:
        return datasets[task][split]
    except KeyError:
        raise DataError(
            f"there is no {split} split of {task}", hint=f"ups-console data make {task}"
        ) from None


def require_pairs(config: TrainConfig, outline: Outline) -> None:
    """Raises DataError where a split is too short for the config's stride."""
    if outline.pairs(config.training.time_stride) == 0:
        raise DataError(
            f"{outline.task} has no pair of states {config.training.time_stride} frames apart",
            hint="make or import more data, or lower training.time_stride",
        )


def require_batch(config: TrainConfig, outline: Outline) -> None:
    """Raises DataError where the trained split does not fill a batch."""
    size, pairs = (
        config.training.batch_size_of(outline.task),
        outline.pairs(config.training.time_stride),
    )
    if pairs < size:
        raise DataError(
            f"a batch of {size} is larger than the {config.data.split} split of {outline.task}, which has"
            f" {pairs} pairs",
            hint="lower training.batch_size, or make or import more data",
        )


def new_operator(
    config: TrainConfig,
    data: Mapping[str, TaskData],
    seed: int,
    outlines: Mapping[str, Outline] | None = None,
) -> tuple[LatentOperator, dict[str, Guards]]:
    """An untrained operator with the statistics of the train split, and the guards that these support.

    Args:
        config: the experiment.
        data: the tasks whose statistics are taken over.
        seed: of the weights; they are the same, whichever of the tasks have data.
        outlines: the trained split of the config's other tasks, whose heads know nothing of values yet.

    Raises:
        ConfigError: a patch does not fit its grid or the latent space.
        DataError: values that are not finite, or a constant field.
    """
    surveys = {task: survey(entry.pairs.fields) for task, entry in data.items()}
    tasks = tuple(
        _task(config, data[task].pairs) if task in data else planned_task(config, (outlines or {})[task])
        for task in config.data.task
    )
    spec: OperatorSpec = operator_spec(config, tasks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LatentOperator(spec)
    model.set_normalisation({task: _normalisation(surveys[task], data[task].pairs.fields) for task in data})
    fit_bases(model, {task: entry.pairs for task, entry in data.items()}, augment=config.training.augment)
    guards = {task: calibrate(surveys[task], config.training.guards) for task in data}
    return model, guards


def planned_task(config: TrainConfig, outline: Outline, spec: TaskSpec | None = None) -> AnyTask:
    """How a task's states are cut, or its points gathered: all of it that sizes decide.

    Args:
        config: the experiment.
        outline: of the trained split.
        spec: the task on the domain of the data; None: on its own.
    """
    spec = spec or task_spec(outline.task)
    dt = outline.dt * (1 if spec.static else config.training.time_stride)
    if spec.modality is not Modality.GRID:
        return point_task(config, spec, outline.extent[0], dt)
    patch = choose_patch(config, spec.name, outline.extent)
    return GridTask(spec.name, outline.extent, patch, dt, pool=config.data.patch_size)


def _task(config: TrainConfig, pairs: Pairs | PointPairs) -> AnyTask:
    task = planned_task(config, Outline.of(pairs.fields), pairs.fields.spec)
    if not isinstance(task, GridTask) or not isinstance(pairs, Pairs):
        return task
    if config.training.transport_skip == "off" or not task.spec.periodic or task.spec.static:
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
