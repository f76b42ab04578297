"""Raw files in the layouts in which PDEBench publishes, read in blocks of samples.

The structure is checked when a file is opened (`ups.data.layouts`), the values while they are read,
so that memory stays bounded whatever the file's size. Free of torch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.layouts import Layout, read_layout
from ups.data.source import Block, Discretisation
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256
from ups.tasks import TASK_SPECS, TaskSpec, task_spec

Floats = NDArray[np.float32]

IMPORTABLE = ("advection1d", "burgers1d", "darcy2d", "navier_stokes2d", "reaction_diffusion2d")
"""Tasks whose raw files this version imports."""


@dataclass(frozen=True)
class RawFile:
    """A raw file that fits its task's schema. `blocks` checks the values while it reads them."""

    path: Path
    layout: Layout

    @property
    def discretisation(self) -> Discretisation:
        return self.layout.discretisation

    @property
    def samples(self) -> int:
        return self.layout.samples

    @property
    def parameters(self) -> tuple[float, ...]:
        return self.layout.parameters

    @property
    def spec(self) -> TaskSpec:
        return self.discretisation.spec

    @cached_property
    def sha256(self) -> str:
        return file_sha256(self.path)

    @property
    def provenance(self) -> Mapping[str, Any]:
        names = [parameter.name for parameter in self.spec.parameters]
        return {
            "name": self.path.name,
            "sha256": self.sha256,
            "kind": "raw",
            "samples": self.samples,
            "parameters": dict(zip(names, self.parameters, strict=True)),
        }

    def blocks(self, rows: int) -> Iterator[Block]:
        """Raises DataError, naming dataset and sample, at a value that is not finite."""
        with opened(self.path) as file:
            for first in range(0, self.samples, rows):
                yield self._block(file, slice(first, min(first + rows, self.samples)))

    def initial_conditions(self, rows: int) -> Iterator[Floats]:
        groups, name = self.layout.groups, self.spec.raw_datasets[0]
        with opened(self.path) as file:
            for first in range(0, self.samples, rows):
                block = slice(first, min(first + rows, self.samples))
                if groups:
                    values = np.stack([file[group][name][0] for group in groups[block]])
                else:
                    values = file[name][block] if self.spec.static else file[name][block, 0]
                yield values.astype(np.float32, copy=False)

    def _block(self, file: h5py.File, rows: slice) -> Block:
        if self.layout.groups:
            names = self.layout.groups[rows]
            states = np.empty((len(names), *self.discretisation.state_shape), np.float32)
            for row, name in enumerate(names):
                file[name]["data"].read_direct(states[row])
                self._finite(f"{name}/data", states[row : row + 1], rows.start + row)
            return Block(None, states)
        if self.layout.stacked:
            parts = [self._read(file, name, rows) for name in self.layout.stacked]
            return Block(None, np.concatenate(parts, axis=-1))
        if self.spec.static:
            inputs, answers = (self._read(file, name, rows) for name in self.spec.raw_datasets)
            return Block(inputs[..., None], answers[:, 0, ..., None])
        return Block(None, self._read(file, self.spec.raw_datasets[0], rows)[..., None])

    def _read(self, file: h5py.File, name: str, rows: slice) -> Floats:
        values: Floats = file[name][rows].astype(np.float32, copy=False)
        self._finite(name, values, rows.start)
        return values

    def _finite(self, name: str, values: Floats, first: int) -> None:
        # The sum of float32 values in float64 is finite exactly where all of them are.
        sums = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
        if not np.isfinite(sums).all():
            sample = first + int(np.flatnonzero(~np.isfinite(sums))[0])
            bad = values[sample - first]
            count = int(np.size(bad) - np.isfinite(bad).sum())
            raise DataError(
                f"{self.path}: dataset {name}, sample {sample}: {count} values are NaN or infinite",
                hint="the file is damaged or its simulation diverged: leave that sample out",
            )


def open_raw(task: str, path: Path) -> RawFile:
    """Check a raw file's structure against the schema of a task; values are checked by `blocks`.

    Raises:
        NotFoundError: no such task or file.
        DataError: damaged, of another task or layout, or this version does not import the task.
    """
    spec = task_spec(task)
    if task not in IMPORTABLE:
        raise DataError(
            f"importing {task} is not available in this version",
            hint=f"it imports {', '.join(IMPORTABLE)}",
        )
    if not path.exists():
        raise NotFoundError(f"there is no file {path}")
    with opened(path) as file:
        try:
            return RawFile(path, read_layout(spec, path, file))
        except DataError as error:
            fitting = _fitting_task(path, file, besides=task)
            if fitting:
                raise DataError(
                    error.message, hint=f"the file fits {fitting}: `ups-console data import {fitting} …`"
                ) from None
            raise


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read; raises DataError where it is none, or cut short."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        reason = str(error)
        if "signature not found" in reason or "s a directory" in reason:
            raise DataError(f"{path} is no HDF5 file", hint="raw files end in .hdf5 or .h5") from None
        if "truncated" in reason:
            raise DataError(f"{path} is cut short: {reason}", hint="download it again") from None
        raise DataError(f"{path} cannot be read: {reason}", hint="download it again") from None


def _fitting_task(path: Path, file: h5py.File, *, besides: str) -> str:
    for name in IMPORTABLE:
        spec = TASK_SPECS[name]
        if name != besides:
            try:
                read_layout(spec, path, file)
            except DataError:
                continue
            return name
    return ""
