"""Measures the conversion of raw files: its time beside a copy, its memory beside the file."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import psutil

from benchmarks.support.comparison import Row
from benchmarks.support.originals import Original, originals
from ups.data.convert import convert_file
from ups.data.solvers.registry import solver_sources
from ups.errors import UpsError
from ups.tasks import task_spec

_ROUNDS = 5
_LARGE_BYTES = 256 * 2**20
_QUICK_BYTES = 16 * 2**20


def speed(data: Path | None, scratch: Path, *, bar: float, quick: bool) -> list[Row]:
    """Seconds that converting takes beside a copy, of files as they are and of a large one.

    Args:
        data: folder of raw files; None: one is made.
        scratch: where files go.
        bar: the most that the time may be of the copy's.
        quick: small sizes, which are not judged.
    """
    grids = [original for original in originals(data) if original.is_one_file] if data else []
    if not grids:
        grids = [_made(scratch)]
    timed = [(original, *_compared(original, scratch)) for original in grids]
    worst, ours, copy = max(timed, key=lambda entry: entry[1] / entry[2])
    large = _repeated(grids, scratch / "large.hdf5", _QUICK_BYTES if quick else _LARGE_BYTES)
    large_ours, large_copy = _compared(large, scratch)
    megabytes = large.path.stat().st_size / 1e6
    large.path.unlink()
    return [
        Row(f"converting {worst.path.name}", ours, copy, "plain copy", "s", "lower", bar, judged=not quick),
        Row(
            f"converting {megabytes:.0f} MB", large_ours, large_copy, "plain copy", "s", "lower", bar,
            judged=not quick,
        ),
    ]  # fmt: skip


def large_raw(scratch: Path, size: int) -> Original:
    """A raw file of about so many bytes, of one plain tensor."""
    return _repeated([_made(scratch)], scratch / "large.hdf5", size)


def memory(scratch: Path, *, bar: float, quick: bool) -> list[Row]:
    """Most memory of an import beside the size of its raw file."""
    raw, store = scratch / "3D_CFD_Rand_Train.hdf5", scratch / "store-3d"
    cells, samples = (32, 3) if quick else (128, 5)
    _write_flow(raw, samples, cells)
    size = raw.stat().st_size
    print(f"importing {size / 1e9:.2f} GB", flush=True)
    command = [
        sys.executable,
        "-m",
        "remote",
        "import",
        "compressible_ns3d",
        str(raw),
        "--store",
        f"dir:{store}",
    ]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process))
        time.sleep(0.02)
    if process.returncode:
        raise UpsError(f"the import of {raw.name} failed with exit code {process.returncode}")
    shutil.rmtree(store)
    raw.unlink()
    return [Row("peak memory", most / 2**20, size / 2**20, "raw file", "MiB", "lower", bar, judged=not quick)]


def _resident(process: psutil.Popen) -> int:
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _compared(original: Original, scratch: Path) -> tuple[float, float]:
    """Median seconds of a conversion and of a copy, in alternation, the raw file in the page cache."""
    target = scratch / "target.h5"

    def convert() -> None:
        convert_file(original.task, original.path, target)

    def copy() -> None:
        shutil.copyfile(original.path, target)
        with target.open("r+b") as file:
            os.fsync(file.fileno())

    original.path.read_bytes()
    both: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for into, work in zip(both, (convert, copy), strict=True):
            into.append(_seconds(work))
            target.unlink()
    return statistics.median(both[0]), statistics.median(both[1])


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _made(scratch: Path) -> Original:
    """A raw file of advection in the published layout, made by the solver."""
    (source, *_) = solver_sources("advection1d", samples=64, seed=0)
    (block,) = source.blocks(64)
    discretisation = source.discretisation
    path = scratch / "1D_Advection_Sols_beta0.1.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["beta"] = source.parameters[0]
        file["tensor"] = block.targets[..., 0]
        file["t-coordinate"] = discretisation.times.astype(np.float32)
        file["x-coordinate"] = discretisation.coordinates[0].astype(np.float32)
    return Original("advection1d", path)


def _repeated(candidates: list[Original], path: Path, size: int) -> Original:
    """The first file of one plain tensor with its samples repeated, each time scaled to be another."""
    first = next(original for original in candidates if task_spec(original.task).raw_datasets == ("tensor",))
    with h5py.File(first.path) as given, h5py.File(path, "w") as file:
        file.attrs.update(given.attrs)
        tensor = given["tensor"][()]
        times = max(1, size // tensor.nbytes)
        shape = (times * len(tensor), *tensor.shape[1:])
        target = file.create_dataset("tensor", shape, np.float32)
        for copy in range(times):
            target[copy * len(tensor) : (copy + 1) * len(tensor)] = tensor * (1.0 + copy / times)
        for name in given:
            if name != "tensor":
                file[name] = given[name][()]
    return Original(first.task, path)


def _write_flow(path: Path, samples: int, cells: int) -> None:
    """A raw file of three-dimensional flow: smooth waves, written frame by frame."""
    spec = task_spec("compressible_ns3d")
    frames = 21
    centres = (np.arange(cells) + 0.5) / cells
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update({"eta": 1e-8, "zeta": 1e-8, "M": 1.0})
        file["t-coordinate"] = (np.arange(frames + 1) * spec.dt).astype(np.float32)
        for axis in "xyz":
            file[f"{axis}-coordinate"] = centres.astype(np.float32)
        for name in spec.raw_datasets:
            target = file.create_dataset(name, (samples, frames, cells, cells, cells), np.float32)
            for sample in range(samples):
                x, y, z = (np.sin(2 * np.pi * (centres + generator.random())) for _ in range(3))
                wave = (x[:, None, None] * y[None, :, None] * z).astype(np.float32)
                for frame in range(frames):
                    target[sample, frame] = 2.0 + np.float32(1.0 - frame / 100) * wave
