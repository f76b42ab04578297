"""The layouts of raw files, as explicit schemas: which datasets, which axes, which attributes.

Nothing is guessed from a shape. What does not fit is refused with what was found and what was
wanted. Free of torch.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.hdf5 import open_dataset
from ups.data.plain_arrays import PlainArray
from ups.data.source import Discretisation
from ups.errors import DataError
from ups.tasks import TASK_SPECS, RawLayout, TaskSpec

Doubles = NDArray[np.float64]

_SPACING_TOLERANCE = 1e-3
"""Relative deviation of a float32 coordinate's spacing that still counts as uniform."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a raw file that fits its schema holds."""

    discretisation: Discretisation
    samples: int
    parameters: tuple[float, ...]
    targets: tuple[str, ...]
    """The datasets whose channels, one after another, are the predicted fields."""
    inputs: tuple[str, ...] = ()
    """Those of the input, of a static task."""
    channel_axis: bool = False
    """Whether the datasets have their channels on a last axis, rather than being one channel each."""
    groups: tuple[str, ...] = ()
    """SEED_GROUPS: the groups, one a sample, each of which has the datasets."""
    plain: Mapping[str, PlainArray] = field(default_factory=dict)
    """The datasets, samples first, by their names in the file: where all of them can be read past HDF5."""


def has_reader(spec: TaskSpec) -> bool:
    """Whether raw files of a task are read here: it is on a grid, and published in one of the layouts."""
    return spec.layout in _READERS


def read_layout(spec: TaskSpec, path: Path, file: h5py.File, *, samples: int | None = None) -> Layout:
    """Check an open raw file's structure, not its values.

    Args:
        spec: the task it should be of.
        path: how messages call the file.
        file: the raw file.
        samples: look at the first so many groups only, where each sample has one of its own.

    Raises:
        DataError: it does not fit the schema of the task.
    """
    if spec.layout is RawLayout.SEED_GROUPS:
        return _read_seed_groups(spec, path, file, samples)
    return _READERS[spec.layout](spec, path, file)


def _read_channels(spec: TaskSpec, path: Path, file: h5py.File) -> Layout:
    """A dataset [N, T, X…] for each field, all of one shape, with `t-coordinate` and `x-coordinate` …

    Where there is a single field, its dataset is called `tensor`.
    """
    axes = spec.raw_axes
    first, *others = (_dataset(spec, path, file, name, ("N", "T", *axes)) for name in spec.raw_datasets)
    for other in others:
        if other.shape != first.shape:
            raise DataError(
                f"{path}: dataset {_name(other)} is {_sizes(other)}, {_name(first)} is {_sizes(first)}: "
                "they are not of the same samples, frames and cells"
            )
    parameters = _parameters(spec, path, file)
    times = _times(path, "t-coordinate", _dataset(spec, path, file, "t-coordinate", ("T",)), first.shape[1])
    coordinates = _coordinates(spec, path, file, axes, first.shape[2:], _name(first))
    discretisation = Discretisation(spec, times, axes, coordinates)
    plain = _plain((first, *others))
    return Layout(discretisation, len(first), parameters, targets=spec.raw_datasets, plain=plain)


def _read_pair(spec: TaskSpec, path: Path, file: h5py.File) -> Layout:
    """`nu` [N, X, Y] is the input, `tensor` [N, 1, X, Y] the answer: the axis of one is no time."""
    axes = spec.raw_axes
    given, wanted = spec.raw_datasets
    if given in file and wanted not in file:
        raise DataError(
            f"{path} holds the inputs ({given}) but not the answers ({wanted}), which {spec.name} needs"
        )
    inputs = _dataset(spec, path, file, given, ("N", *axes))
    answers = _dataset(spec, path, file, wanted, ("N", "1", *axes))
    if answers.shape != (len(inputs), 1, *inputs.shape[1:]):
        raise DataError(
            f"{path}: dataset {wanted} is {_sizes(answers)}, "
            f"which does not pair with {given} {_sizes(inputs)}"
        )
    parameters = _parameters(spec, path, file)
    coordinates = _coordinates(spec, path, file, axes, inputs.shape[1:], given)
    discretisation = Discretisation(spec, np.zeros(0), axes, coordinates)
    plain = _plain((inputs, answers))
    return Layout(discretisation, len(inputs), parameters, targets=(wanted,), inputs=(given,), plain=plain)


def _read_seed_groups(spec: TaskSpec, path: Path, file: h5py.File, most: int | None = None) -> Layout:
    """One group per seed: `0000/data` [T, *S, C] with `0000/grid/t`, `x` …, all of one shape.

    Which axis comes first in `data` is the task's: nothing in the file says it.
    """
    (dataset,) = spec.raw_datasets
    groups = tuple(islice((name for name in sorted(file) if isinstance(file[name], h5py.Group)), most))
    if not groups:
        raise DataError(
            f"{path} holds {_contents(file)}; {spec.name} wants one group per seed, such as 0000/data"
        )
    axes = spec.raw_axes
    shape: tuple[int, ...] | None = None
    times: Doubles | None = None
    plain: dict[str, PlainArray] = {}
    seen: dict[bytes, str] = {}
    for name in groups:
        group = file[name]
        _refuse_repeated_run(path, group, seen)
        data = _dataset(spec, path, group, dataset, ("T", *axes, str(len(spec.fields))))
        if shape is not None and data.shape != shape:
            raise DataError(
                f"{path}: {name}/{dataset} is {list(data.shape)}, the groups before it {list(shape)}"
            )
        grid_t = _dataset(spec, path, group, "grid/t", ("T",))
        own_times = _times(path, f"{name}/grid/t", grid_t, data.shape[0])
        if times is not None and not np.allclose(own_times, times, rtol=1e-4):
            raise DataError(f"{path}: the frames of {name} lie at other times than those of {groups[0]}")
        shape, times = data.shape, own_times
        array = PlainArray.of(data)
        if array is not None:
            plain[f"{name}/{dataset}"] = PlainArray(array.offset, (1, *shape))
    assert shape is not None
    assert times is not None
    coordinates = tuple(
        _coordinate(spec, path, file[groups[0]], f"grid/{axis}", axis, cells, dataset)
        for axis, cells in zip(axes, shape[1:-1], strict=True)
    )
    return Layout(
        Discretisation(spec, times, axes, coordinates),
        len(groups),
        _parameters(spec, path, file),
        targets=(dataset,),
        channel_axis=True,
        groups=groups,
        plain=plain if len(plain) == len(groups) else {},
    )


def _refuse_repeated_run(path: Path, group: h5py.Group, seen: dict[bytes, str]) -> None:
    """A run is told by its seed, which is part of its configuration, where the file states that.

    Equal values alone mean nothing: dams of nearly the same radius are the same on the grid.
    """
    config = group.attrs.get("config")
    if config is not None:
        name = str(group.name).strip("/")
        digest = hashlib.blake2b(str(config).encode(), digest_size=16).digest()
        first = seen.setdefault(digest, name)
        if first != name:
            raise DataError(
                f"{path}: {name} has the seed and configuration of {first}: the same run a second time",
                hint="leave one of the groups out",
            )


def _read_incompressible(spec: TaskSpec, path: Path, file: h5py.File) -> Layout:
    """`velocity` [N, T, X, Y, 2] and `particles` [N, T, X, Y, 1] are the state, at the times `t` [N, T].

    `force` [N, X, Y, 2] differs from sample to sample and is no part of the state: it is left out. There
    are no coordinates: the cells fill the domain.
    """
    axes = spec.raw_axes
    velocity, particles, force, time = spec.raw_datasets
    parts = [
        _dataset(spec, path, file, name, ("N", "T", *axes, str(channels)))
        for name, channels in ((velocity, len(spec.vector_fields)), (particles, 1))
    ]
    pushed = _dataset(spec, path, file, force, ("N", *axes, str(len(spec.vector_fields))))
    stored = _dataset(spec, path, file, time, ("N", "T"))
    samples, frames, *grid = parts[0].shape[:-1]
    if parts[1].shape[:-1] != (samples, frames, *grid) or pushed.shape[:-1] != (samples, *grid):
        raise DataError(
            f"{path}: {velocity} {_sizes(parts[0])}, {particles} {_sizes(parts[1])} and {force} "
            f"{_sizes(pushed)} are not of the same samples, frames and cells"
        )
    if len(stored) != samples:
        raise DataError(f"{path}: {time} is of {len(stored)} samples, {velocity} of {samples}")
    of_samples: Doubles = stored[()].astype(np.float64)
    times = _times(path, time, of_samples[0], frames)
    if np.abs(of_samples[:, :frames] - times).max() > 0.01 * (times[1] - times[0]):
        raise DataError(f"{path}: the samples' frames lie at different times ({time})")
    coordinates = tuple(
        low + (np.arange(cells) + 0.5) * ((high - low) / cells)
        for cells, (low, high) in zip(grid, spec.domain, strict=True)
    )
    return Layout(
        Discretisation(spec, times, axes, coordinates),
        samples,
        _parameters(spec, path, file),
        targets=(velocity, particles),
        channel_axis=True,
        plain=_plain(parts),
    )


_READERS: dict[RawLayout | None, Callable[[TaskSpec, Path, h5py.File], Layout]] = {
    RawLayout.FLAT: _read_channels,  # of a single field
    RawLayout.PAIR: _read_pair,
    RawLayout.CHANNELS: _read_channels,
    RawLayout.SEED_GROUPS: _read_seed_groups,
    RawLayout.INCOMPRESSIBLE: _read_incompressible,
}


def _dataset(spec: TaskSpec, path: Path, group: h5py.Group, name: str, axes: tuple[str, ...]) -> h5py.Dataset:
    """A dataset with one axis for each name; a name that is a number is the length it must have."""
    try:
        found = open_dataset(group, name)
        misfit = _misfit(found, axes)
    except KeyError:
        misfit = f"is missing, it holds {_contents(group)}"
    if misfit:
        where = f"{group.name.strip('/')}/{name}".strip("/")
        raise DataError(
            f"{path}: dataset {where} {misfit}; {spec.name} wants {where} [{','.join(axes).upper()}]"
        )
    return found


def _misfit(found: h5py.Dataset, axes: tuple[str, ...]) -> str:
    """What keeps a dataset from being the one that is wanted; empty where nothing does."""
    shape = found.shape
    fixed = [(axis, length) for axis, length in zip(axes, shape, strict=False) if axis.isdigit()]
    if len(shape) != len(axes) or any(int(axis) != length for axis, length in fixed):
        return f"is {_sizes(found)}"
    if found.dtype.kind != "f":
        return f"holds {found.dtype} values, not floating-point numbers"
    return "" if math.prod(shape) else f"is empty, {_sizes(found)}"


def _plain(datasets: Iterable[h5py.Dataset]) -> dict[str, PlainArray]:
    """Name → array; empty where one of them has to be read through HDF5."""
    arrays = {}
    for dataset in datasets:
        array = PlainArray.of(dataset)
        if array is None:
            return {}
        arrays[_name(dataset)] = array
    return arrays


def _parameters(spec: TaskSpec, path: Path, file: h5py.File) -> tuple[float, ...]:
    """The task's parameters, from the file's attributes.

    Files of some tasks differ in nothing else, so one that states a parameter of another is that task's.
    """
    values = []
    for parameter in spec.parameters:
        value = file.attrs.get(parameter.raw_attribute, parameter.default)
        if value is None:
            found = ", ".join(sorted(file.attrs)) or "none"
            raise DataError(
                f"{path}: the attribute {parameter.raw_attribute}, which {spec.name} needs, is missing; "
                f"its attributes are: {found}"
            )
        number = float(np.asarray(value).reshape(-1)[0])
        if not np.isfinite(number) or (parameter.logarithmic and number <= 0):
            raise DataError(f"{path}: the attribute {parameter.raw_attribute} is {number}")
        values.append(number)
    foreign = _attributes_of_others(spec) & set(file.attrs)
    if foreign:
        raise DataError(
            f"{path} has the attribute {', '.join(sorted(foreign))}, which is no parameter of {spec.name}"
        )
    return tuple(values)


def _attributes_of_others(spec: TaskSpec) -> set[str]:
    alike = [
        other
        for other in TASK_SPECS.values()
        if (other.layout, other.spatial_dims) == (spec.layout, spec.spatial_dims)
    ]
    named = {parameter.raw_attribute for other in alike for parameter in other.parameters}
    return named - {parameter.raw_attribute for parameter in spec.parameters}


def _times(path: Path, name: str, dataset: h5py.Dataset | Doubles, frames: int) -> Doubles:
    """The frames' times; PDEBench stores one more than there are frames, past the end."""
    if len(dataset) not in (frames, frames + 1):
        raise DataError(f"{path}: {name} has {len(dataset)} entries for {frames} frames")
    if frames < 2:
        raise DataError(f"{path} has a single frame: there is nothing to step")
    stored: Doubles = dataset[:frames].astype(np.float64)
    dt = _spacing(path, name, stored)
    times: Doubles = stored[0] + dt * np.arange(frames)
    return times


def _coordinates(
    spec: TaskSpec, path: Path, file: h5py.File, axes: tuple[str, ...], cells: tuple[int, ...], array: str
) -> tuple[Doubles, ...]:
    return tuple(
        _coordinate(spec, path, file, f"{axis}-coordinate", axis, length, array)
        for axis, length in zip(axes, cells, strict=True)
    )


def _coordinate(
    spec: TaskSpec, path: Path, group: h5py.Group, name: str, axis: str, cells: int, array: str
) -> Doubles:
    """Cell centres along an axis, which must be uniform and span the task's domain."""
    values: Doubles = _dataset(spec, path, group, name, (axis.upper(),))[()].astype(np.float64)
    if len(values) != cells:
        raise DataError(f"{path}: {name} has {len(values)} entries for {cells} cells of {array}")
    spacing = _spacing(path, name, values)
    low, high = spec.domain["xyz".index(axis)]
    slack = 1.5 * spacing
    if abs(spacing * cells - (high - low)) > slack or values[0] < low - slack or values[-1] > high + slack:
        raise DataError(
            f"{path}: {name} runs from {values[0]:.4g} to {values[-1]:.4g}, "
            f"the domain of {spec.name} from {low:g} to {high:g}"
        )
    return values


def _spacing(path: Path, name: str, values: Doubles) -> float:
    steps = np.diff(values)
    spacing = (values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 0.0
    scale = np.abs(values).max() * 1e-6  # what float32 leaves of a coordinate
    if not spacing > 0 or not (np.abs(steps - spacing) <= _SPACING_TOLERANCE * spacing + scale).all():
        raise DataError(f"{path}: {name} does not increase in equal steps")
    return float(f"{spacing:.6g}")  # 0.05, not the float32 next to it


def _contents(group: h5py.Group) -> str:
    names = [
        f"{name} {_sizes(item)}" if isinstance(item, h5py.Dataset) else f"{name}/"
        for name, item in group.items()
    ]
    shown = ", ".join(names[:6]) or "nothing"
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _name(dataset: h5py.Dataset) -> str:
    return str(dataset.name).strip("/")


def _sizes(dataset: h5py.Dataset) -> str:
    return f"[{','.join(str(length) for length in dataset.shape)}]"
