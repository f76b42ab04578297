"""Raw files in the layouts in which PDEBench publishes, read in blocks of samples.

The structure is checked when a file is opened (`ups.data.layouts`), the values while they are read,
so that memory stays bounded whatever the file's size. Free of torch.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.layouts import Layout, has_reader, read_layout
from ups.data.source import Block, Discretisation, segment_of
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256
from ups.tasks import TASK_SPECS, TaskSpec, task_spec

Floats = NDArray[np.float32]

IMPORTABLE = tuple(name for name, spec in TASK_SPECS.items() if has_reader(spec))
"""Tasks whose raw files are imported by this module."""


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

    @property
    def segment(self) -> int:
        return segment_of(self.discretisation)

    def blocks(self, rows: int, span: range | None = None) -> Iterator[Block]:
        """Raises DataError, naming dataset and sample, at a value that is not finite."""
        asked = range(self.samples) if span is None else span
        parts = self.discretisation.parts
        step = rows if len(parts) == 1 else 1
        with opened(self.path) as file:
            for first in range(asked.start, asked.stop, step):
                for part in parts:
                    samples = slice(first, min(first + step, asked.stop))
                    yield self._block(file, samples, part, more=part != parts[-1])

    def initial_conditions(self, rows: int) -> Iterator[Floats]:
        """Raises DataError where two groups hold the same run."""
        name = self.spec.raw_datasets[0]
        seen: dict[bytes, str] = {}
        with opened(self.path) as file:
            for first in range(0, self.samples, rows):
                block = slice(first, min(first + rows, self.samples))
                groups = self.layout.groups[block]
                if groups:
                    self._refuse_repeated_runs(file, groups, seen)
                    values = np.stack([file[group][name][0] for group in groups])
                else:
                    values = file[name][block] if self.spec.static else file[name][block, 0]
                yield values.astype(np.float32, copy=False)

    def _refuse_repeated_runs(self, file: h5py.File, groups: Sequence[str], seen: dict[bytes, str]) -> None:
        """A run is told by its seed, which is part of its configuration, where the file states that.

        Equal values alone mean nothing: dams of nearly the same radius are the same on the grid.
        """
        for group in groups:
            config = file[group].attrs.get("config")
            if config is not None:
                digest = hashlib.blake2b(str(config).encode(), digest_size=16).digest()
                first = seen.setdefault(digest, group)
                if first != group:
                    raise DataError(
                        f"{self.path}: {group} has the seed and configuration of {first}: "
                        "the same run a second time",
                        hint="leave one of the groups out",
                    )

    def _block(self, file: h5py.File, rows: slice, frames: slice, *, more: bool) -> Block:
        layout = self.layout
        if self.spec.static:
            answers = self._fields(file, layout.targets, (rows,))
            return Block(self._fields(file, layout.inputs, (rows,)), answers[:, 0])
        return Block(None, self._fields(file, layout.targets, (rows, frames)), more)

    def _fields(self, file: h5py.File, names: Sequence[str], part: tuple[slice, ...]) -> Floats:
        """[n, …, C]: the channels of all named datasets, one after another."""
        channels = [self._read(file, name, *part) for name in names]
        if not self.layout.channel_axis:
            channels = [values[..., None] for values in channels]
        return channels[0] if len(channels) == 1 else np.concatenate(channels, axis=-1)

    def _read(self, file: h5py.File, name: str, rows: slice, frames: slice = slice(None)) -> Floats:
        """One dataset's samples, or the samples' datasets, checked."""
        if not self.layout.groups:
            values: Floats = file[name][rows, frames].astype(np.float32, copy=False)
            self._finite(name, values, rows.start)
            return values
        parts = []
        for index, group in enumerate(self.layout.groups[rows], start=rows.start):
            part = file[group][name][frames].astype(np.float32, copy=False)[None]
            self._finite(f"{group}/{name}", part, index)
            parts.append(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _finite(self, name: str, values: Floats, first: int) -> None:
        flat = values.reshape(len(values), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(flat.sum(axis=1)).all():  # only where all values are; twice as fast as in float64
                return
        # The sum of float32 values in float64 is finite exactly where all of them are.
        sums = flat.sum(axis=1, dtype=np.float64)
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
            f"there are no raw files of {task} in a layout that can be imported",
            hint=f"there are of {', '.join(IMPORTABLE)}",
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
