"""Raw files in the layouts in which PDEBench publishes, read in blocks of samples.

The structure is checked when a file is opened (`ups.data.layouts`), the values while they are read,
so that memory stays bounded whatever the file's size. Free of torch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.layouts import Layout, has_reader, read_layout
from ups.data.raw_readers import Hdf5Reader, PlainReader, Reader
from ups.data.selection import Selection, Thinning
from ups.data.source import Block, Discretisation, file_identity, segment_of
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256
from ups.tasks import TASK_SPECS, TaskSpec, task_spec

Floats = NDArray[np.float32]

IMPORTABLE = tuple(name for name, spec in TASK_SPECS.items() if has_reader(spec))
"""Tasks whose raw files are imported by this module."""


class Origin(Protocol):
    """Where the bytes of a raw file come from, if not from a path. Can be pickled."""

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """A file to read and seek in; what goes wrong in it is told by its own errors."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """How a raw file is read."""

    selection: Selection = field(default_factory=Selection)
    origin: Origin | None = None
    md5: str = ""
    """Of the whole file, where that is known: identifies its content without reading all of it."""


_AS_IT_IS = Reading()


@dataclass(frozen=True)
class RawFile:
    """A raw file that fits its task's schema. `blocks` checks the values while it reads them."""

    path: Path
    """Where it is, or what it is called where `reading` has an origin."""
    layout: Layout
    """Of what is read of it."""
    thinning: Thinning
    reading: Reading = _AS_IT_IS

    @property
    def name(self) -> str:
        return self.path.name

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
        """Identifies the content: that of the file where all of it is read, else of what decides it."""
        if not self.reading.md5 and self.reading.selection.everything:
            return file_sha256(self.path)
        content = {"md5": self.reading.md5} if self.reading.md5 else {"sha256": file_sha256(self.path)}
        decisive = content | {"selection": self.reading.selection.to_json()}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> Mapping[str, Any]:
        if self.reading.origin is not None:
            return {"sha256": self.sha256}
        return {"file": file_identity(self.path), **self.about}

    @property
    def about(self) -> Mapping[str, Any]:
        names = [parameter.name for parameter in self.spec.parameters]
        said: dict[str, Any] = {
            "kind": "raw",
            "samples": self.samples,
            "parameters": dict(zip(names, self.parameters, strict=True)),
        }
        if self.reading.md5:
            said["md5"] = self.reading.md5
        if not self.reading.selection.everything:
            said["selection"] = self.reading.selection.to_json()
        return said

    @property
    def segment(self) -> int:
        return segment_of(self.discretisation)

    def blocks(self, rows: int, span: range | None = None) -> Iterator[Block]:
        """Raises DataError, naming dataset and sample, at a value that is not finite."""
        asked = range(self.samples) if span is None else span
        parts = self.discretisation.parts
        step = rows if len(parts) == 1 else 1
        with self._reader() as reader:
            for first in range(asked.start, asked.stop, step):
                for part in parts:
                    samples = slice(first, min(first + step, asked.stop))
                    yield self._block(reader, samples, part, more=part != parts[-1])

    def initial_conditions(self, rows: int) -> Iterator[Floats]:
        names, frame = (self.layout.inputs, None) if self.spec.static else (self.layout.targets, 0)
        with self._reader() as reader:
            for first in range(0, self.samples, rows):
                block = slice(first, min(first + rows, self.samples))
                yield self._stacked([reader.samples(name, block, frame) for name in names])

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        layout = self.layout
        if layout.plain and self.thinning.keeps_all and self.reading.origin is None:
            with reading(self.path), self.path.open("rb", buffering=0) as file:
                yield PlainReader(file, layout.plain, layout.groups)
        else:
            with opened(self.path, self.reading.origin) as hdf5:
                yield Hdf5Reader(hdf5, self.thinning, layout.groups)

    def _block(self, reader: Reader, rows: slice, frames: slice, *, more: bool) -> Block:
        layout = self.layout
        if self.spec.static:
            answers = self._fields(reader, layout.targets, rows)
            return Block(self._fields(reader, layout.inputs, rows), answers[:, 0])
        return Block(None, self._fields(reader, layout.targets, rows, frames), more)

    def _fields(
        self, reader: Reader, names: Sequence[str], rows: slice, frames: slice | None = None
    ) -> Floats:
        """[n, …, C]: the channels of all named datasets, one after another, checked."""
        channels = [reader.samples(name, rows, frames) for name in names]
        for name, values in zip(names, channels, strict=True):
            self._finite(name, values, rows.start)
        return self._stacked(channels)

    def _stacked(self, channels: list[Floats]) -> Floats:
        if not self.layout.channel_axis:
            channels = [values[..., None] for values in channels]
        return channels[0] if len(channels) == 1 else np.concatenate(channels, axis=-1)

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
            where = f"{self.layout.groups[sample]}/{name}" if self.layout.groups else name
            raise DataError(
                f"{self.path}: dataset {where}, sample {sample}: {count} values are NaN or infinite",
                hint="the file is damaged or its simulation diverged: leave that sample out",
            )


def open_raw(task: str, path: Path, reading: Reading = _AS_IT_IS) -> RawFile:
    """Check a raw file's structure against the schema of a task; values are checked by `blocks`.

    Args:
        task: the task it should be of.
        path: where it is, or what it is called where `reading` has an origin.
        reading: what of it is read, and from where.

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
    if reading.origin is None and not path.exists():
        raise NotFoundError(f"there is no file {path}")
    selection = reading.selection
    with opened(path, reading.origin) as file:
        try:
            layout = read_layout(spec, path, file, samples=selection.samples)
            thinning = selection.thinning(layout, path)
            return RawFile(path, selection.applied(layout, path), thinning, reading)
        except DataError as error:
            fitting = _fitting_task(path, file, besides=task)
            if fitting:
                raise DataError(
                    error.message, hint=f"the file fits {fitting}: `ups-console data import {fitting} …`"
                ) from None
            raise


@contextmanager
def opened(path: Path, origin: Origin | None = None) -> Iterator[h5py.File]:
    """An HDF5 file to read; raises as `reading`."""
    with (
        reading(path),
        nullcontext(path) if origin is None else origin.opened() as source,
        h5py.File(source, "r") as file,
    ):
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises DataError where what is read inside turns out to be no HDF5 file, or cut short."""
    try:
        yield
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
