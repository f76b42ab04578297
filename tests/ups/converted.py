"""Small converted files for tests, with data whose answers are known."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ups.data.source import Block, Discretisation
from ups.data.writer import Columns, ConvertedFile
from ups.tasks import task_spec

Array = NDArray[np.floating]


def write_converted(
    path: Path, task: str, split: str, arrays: dict[str, Array], parameters: Array, *, dt: float
) -> Path:
    """Write `states`, or `inputs` and `targets`, as a converted file."""
    spec = task_spec(task)
    data = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    targets = data["targets"] if spec.static else data["states"]
    grid = targets.shape[-1 - spec.spatial_dims : -1]
    coordinates = tuple(
        low + (np.arange(cells) + 0.5) * (high - low) / cells
        for cells, (low, high) in zip(grid, spec.domain, strict=True)
    )
    times = np.zeros(0) if spec.static else np.arange(targets.shape[1]) * dt
    count = len(targets)
    columns = Columns(
        np.asarray(parameters, np.float32).reshape(count, len(spec.parameters)),
        np.arange(count), np.zeros(count, np.int32), np.arange(count),
    )  # fmt: skip
    discretisation = Discretisation(spec, times, ("x", "y", "z")[: len(grid)], coordinates)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = ConvertedFile(path, split, discretisation, columns)
    file.lay_out([{"name": "test", "kind": "solver"}])
    writer = file.writer(0, 0)
    writer.write(Block(data.get("inputs"), targets))
    writer.close()
    return path


def advection(
    samples: int, *, seed: int, cells: int = 32, frames: int = 9, betas: tuple[float, ...] = (0.4,)
) -> tuple[Array, Array]:
    """Exact solutions [N, T, X, 1] of dt 0.05, and β [N, 1]."""
    random = np.random.default_rng(seed)
    beta = np.array([betas[index % len(betas)] for index in range(samples)])
    x = (np.arange(cells) + 0.5) / cells
    moved = x[None, None] - beta[:, None, None] * 0.05 * np.arange(frames)[None, :, None]
    states = np.zeros((samples, frames, cells))
    for mode in (1, 2, 3):
        amplitude, phase = random.normal(size=(samples, 1, 1)) / mode, random.random((samples, 1, 1))
        states += amplitude * np.sin(2 * np.pi * (mode * moved + phase))
    return states[..., None], beta[:, None]


def pairs_2d(samples: int, *, seed: int, cells: int = 16) -> tuple[Array, Array]:
    """Inputs and answers [N, X, Y, 1] of a made-up static problem with the symmetries of the square."""
    random = np.random.default_rng(seed)
    inputs = np.where(random.random((samples, cells, cells, 1)) > 0.5, 1.0, 0.1)
    targets = inputs.copy()
    for _ in range(4):
        for axis in (1, 2):
            targets = (targets + np.roll(targets, 1, axis) + np.roll(targets, -1, axis)) / 3
    return inputs, 0.2 + targets


def write_advection(folder: Path, *, train: int = 8, other: int = 4, **options: int) -> dict[str, Path]:
    """The three splits of a tiny advection1d."""
    files = {}
    for seed, (split, samples) in enumerate({"train": train, "val": other, "test": other}.items()):
        states, beta = advection(samples, seed=seed, **options)
        path = folder / f"advection1d_{split}.h5"
        files[split] = write_converted(path, "advection1d", split, {"states": states}, beta, dt=0.05)
    return files


def write_darcy(folder: Path, *, train: int = 12, other: int = 4, cells: int = 16) -> dict[str, Path]:
    """The three splits of a tiny darcy2d."""
    files = {}
    for seed, (split, samples) in enumerate({"train": train, "val": other, "test": other}.items()):
        inputs, targets = pairs_2d(samples, seed=seed, cells=cells)
        path = folder / f"darcy2d_{split}.h5"
        arrays = {"inputs": inputs, "targets": targets}
        files[split] = write_converted(path, "darcy2d", split, arrays, np.ones((samples, 1)), dt=0.0)
    return files
