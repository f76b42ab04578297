"""Raw files for tests: the authentic fixtures, and small ones in the same layouts."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.stores.directory import DirectoryStore
from ups.tasks import TASK_SPECS

AUTHENTIC = Path(__file__).parents[2] / "data"
ADVECTION = AUTHENTIC / "1D_Advection_Sols_beta0.4.hdf5"
ADVECTION_FAST = AUTHENTIC / "1D_Advection_Sols_beta1.0.hdf5"
BURGERS = AUTHENTIC / "1D_Burgers_Sols_Nu0.01.hdf5"
DARCY = AUTHENTIC / "2D_DarcyFlow_beta1.0_Train.hdf5"
REACTION_DIFFUSION = AUTHENTIC / "2D_diff-react_NA_NA.h5"
DIFFUSION_SORPTION = AUTHENTIC / "1D_diff-sorp_NA_NA.h5"
SHALLOW_WATER = AUTHENTIC / "2D_rdb_NA_NA.h5"
CFD_1D = AUTHENTIC / "1D_CFD_Rand_Eta0.01_Zeta0.01_periodic_Train.hdf5"
CFD_2D = AUTHENTIC / "2D_CFD_Rand_M1.0_Eta1e-08_Zeta1e-08_periodic_64_Train.hdf5"
CFD_3D = AUTHENTIC / "3D_CFD_Rand_M1.0_Eta1e-08_Zeta1e-08_periodic_Train.hdf5"
NAVIER_STOKES = AUTHENTIC / "ns_incom_inhom_2d_64-1.h5"

Array = NDArray[np.float32]


def initial_conditions(count: int, cells: int = 16, seed: int = 0) -> Array:
    """[count, cells], all different."""
    return np.random.default_rng(seed).normal(size=(count, cells)).astype(np.float32)


def write_flat(
    path: Path,
    initial: Array,
    *,
    attributes: dict[str, float],
    frames: int = 4,
    dt: float = 0.05,
    extra_times: int = 1,
) -> Path:
    """A FLAT file whose samples start with `initial` [N, X] and move on as the attributes say."""
    cells = initial.shape[1]
    speed = sum(attributes.values()) + 1.0
    tensor = initial[:, None] * (1.0 + speed * dt * np.arange(frames, dtype=np.float32)[None, :, None])
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        file["tensor"] = tensor.astype(np.float32)
        file["t-coordinate"] = (np.arange(frames + extra_times) * dt).astype(np.float32)
        file["x-coordinate"] = ((np.arange(cells) + 0.5) / cells).astype(np.float32)
    return path


def write_pair(path: Path, count: int = 10, cells: int = 8, seed: int = 0) -> Path:
    """A PAIR file."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["beta"] = 1.0
        file["nu"] = np.where(random.random((count, cells, cells)) > 0.5, 1.0, 0.1).astype(np.float32)
        file["tensor"] = random.random((count, 1, cells, cells)).astype(np.float32)
        for axis in "xy":
            file[f"{axis}-coordinate"] = ((np.arange(cells) + 0.5) / cells).astype(np.float32)
    return path


def write_groups(path: Path, count: int = 4, frames: int = 3, cells: int = 8, dt: float = 0.1) -> Path:
    """A SEED_GROUPS file."""
    random = np.random.default_rng(0)
    centres = (2 * (np.arange(cells) + 0.5) / cells - 1).astype(np.float32)
    with h5py.File(path, "w") as file:
        for seed in range(count):
            group = file.create_group(f"{seed:04d}")
            group["data"] = random.normal(size=(frames, cells, cells, 2)).astype(np.float32)
            group["grid/t"] = (np.arange(frames) * dt).astype(np.float32)
            group["grid/x"], group["grid/y"] = centres, centres
    return path


def write_channels(path: Path, task: str, count: int = 4, frames: int = 3, cells: int = 8) -> Path:
    """A CHANNELS file, with one entry of `t-coordinate` too many."""
    spec = TASK_SPECS[task]
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update({parameter.raw_attribute: 0.1 for parameter in spec.parameters})
        for name in spec.raw_datasets:
            shape = (count, frames, *(cells + axis for axis in range(spec.spatial_dims)))
            file[name] = random.normal(size=shape).astype(np.float32)
        for axis, (name, (low, high)) in enumerate(zip("xyz", spec.domain, strict=False)):
            width = (high - low) / (cells + axis)
            centres = low + (np.arange(cells + axis) + 0.5) * width
            file[f"{name}-coordinate"] = centres.astype(np.float32)
        file["t-coordinate"] = (0.05 * np.arange(frames + 1)).astype(np.float32)
    return path


def write_incompressible(path: Path, **shapes: tuple[int, ...] | None) -> Path:
    """An INCOMPRESSIBLE file of 2 samples, 6 frames and 8 × 8 cells; other shapes on demand, None: none."""
    random = np.random.default_rng(0)
    wanted: dict[str, tuple[int, ...] | None] = {
        "velocity": (2, 6, 8, 8, 2), "particles": (2, 6, 8, 8, 1), "force": (2, 8, 8, 2), "t": (2, 6),
        **shapes,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, shape in wanted.items():
            if shape is not None:
                times = np.broadcast_to(0.01 * np.arange(shape[1]), shape) if name == "t" else None
                values = random.normal(size=shape) if times is None else times
                file[name] = values.astype(np.float32)
    return path


def content_of(store: DirectoryStore) -> dict[str, bytes | None]:
    """Everything below a store's root, hidden or not: path → content, None for a directory."""
    return {
        path.relative_to(store.root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in store.root.rglob("*")
    } | ({".": None} if store.root.exists() else {})
