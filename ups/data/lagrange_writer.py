"""Writes a particle dataset as a folder in LagrangeBench's layout, which `ups.data.lagrange` reads.

The splits become `train.h5`, `valid.h5` and `test.h5`, every frame one position, float32 as it is stored.
`metadata.json` has all that a model of LagrangeBench needs, with the statistics of its normalisation as
`data_gen/lagrangebench_data/gen_dataset.py` defines them, but of the train split alone. Free of torch.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.catalog import Progress
from ups.data.lagrange import FLUID, displacements
from ups.data.lagrange_metadata import METADATA
from ups.data.point_fields import PointFields
from ups.errors import DataError
from ups.store import store_error
from ups.tasks import Modality

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FILES = {"train": "train.h5", "val": "valid.h5", "test": "test.h5"}
"""split → its file."""
_RADIUS = 1.45
"""Of the neighbourhood, in mean distances of particles."""


@dataclass(frozen=True, slots=True, eq=False)
class DisplacementStatistics:
    """Of particles between two positions (vel) and of the change of that (acc), [D] each."""

    vel_mean: Doubles
    vel_std: Doubles
    acc_mean: Doubles
    acc_std: Doubles

    @classmethod
    def of(
        cls, trajectories: Sequence[Floats], domain: Sequence[tuple[float, float]]
    ) -> "DisplacementStatistics":
        """Of positions [T, P, D]; every trajectory weighs the same. A deviation of nothing counts as 1."""
        first = [displacements(positions, domain) for positions in trajectories]
        second = [np.diff(steps, axis=0) for steps in first]
        return cls(*_moments(first), *_moments(second))


def write_lagrange(splits: Mapping[str, PointFields], folder: Path, progress: Progress) -> None:
    """Write a dataset of particles.

    Args:
        splits: the opened files of `train`, `val` and `test`.
        folder: made by this; may be there already if it is empty.
        progress: called with (what, samples done, samples in all).

    Raises:
        DataError: no particles in a periodic box, too few frames, or the folder has something in it.
        StoreError: the folder cannot be written; nothing is left of it.
    """
    spec = splits["train"].spec
    if spec.modality is not Modality.PARTICLES or not spec.periodic:
        raise DataError(
            f"{spec.name} cannot be written in LagrangeBench's layout",
            hint="that is a layout of particles in a periodic box",
        )
    if splits["train"].frames < 3:
        raise DataError(f"{spec.name} has too few frames for an acceleration")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty", hint="name a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for split, file in FILES.items():
                _write_file(partial / file, splits[split], progress)
            content = json.dumps(_metadata(splits), indent=1, allow_nan=False)
            (partial / METADATA).write_text(content + "\n", encoding="utf-8")
            partial.chmod(0o755)
            partial.replace(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise store_error(error, folder) from error


def _write_file(path: Path, fields: PointFields, progress: Progress) -> None:
    with h5py.File(path, "w") as file:
        for row, positions in enumerate(_trajectories(fields)):
            group = file.create_group(f"{row:05d}")
            group["position"] = positions
            group["particle_type"] = np.full(positions.shape[1], FLUID, np.int32)
            progress(f"{fields.spec.name} {path.name}", row + 1, fields.samples)


def _trajectories(fields: PointFields) -> Iterator[Floats]:
    """[T, P, D] positions of each sample."""
    for row in range(fields.samples):
        yield np.ascontiguousarray(np.moveaxis(fields.positions[fields.points(row)], 1, 0))


def _metadata(splits: Mapping[str, PointFields]) -> dict[str, Any]:
    train, test = splits["train"], splits["test"]
    spec = train.spec
    volume = math.prod(high - low for low, high in spec.domain)
    spacing = (volume / (len(train.positions) / train.samples)) ** (1 / spec.spatial_dims)
    statistics = DisplacementStatistics.of(list(_trajectories(train)), spec.domain)
    return {
        "case": spec.name,
        "solver": str(train.provenance[0]["kind"]),
        "dim": spec.spatial_dims,
        "dx": float(f"{spacing:.4g}"),
        "dt": train.dt,
        "t_end": float(train.times[-1] - train.times[0]),
        "write_every": 1,
        "sequence_length_train": train.frames - 1,
        "num_trajs_train": train.samples,
        "sequence_length_test": test.frames - 1,
        "num_trajs_test": test.samples,
        "num_particles_max": max(fields.most_points for fields in splits.values()),
        "periodic_boundary_conditions": [True] * 3,
        "bounds": [list(ends) for ends in spec.domain],
        "default_connectivity_radius": float(f"{_RADIUS * spacing:.2g}"),
        "vel_mean": statistics.vel_mean.tolist(),
        "vel_std": statistics.vel_std.tolist(),
        "acc_mean": statistics.acc_mean.tolist(),
        "acc_std": statistics.acc_std.tolist(),
    }


def _moments(parts: Sequence[Doubles]) -> tuple[Doubles, Doubles]:
    """Mean and deviation [D] of [T, P, D], each part weighing the same."""
    mean: Doubles = np.mean([part.mean(axis=(0, 1)) for part in parts], axis=0)
    square = np.mean([np.square(part - mean).mean(axis=(0, 1)) for part in parts], axis=0)
    deviation = np.sqrt(square)
    return mean, np.where(deviation < 1e-7, 1.0, deviation)
