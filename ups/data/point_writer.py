"""Writes one converted file of meshes or particles, whose samples differ in size.

How many points a file holds is known only after the last sample, and a contiguous dataset must be
laid out whole. So the datasets of each segment are collected in files of their own beside the target,
and the target is put together from those when it is finished. Free of torch.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ups.data.fields import AXIS_NAMES
from ups.data.hdf5 import reserve
from ups.data.points import PointBlock, PointDiscretisation, PointSample
from ups.data.source import AnyBlock, AnyDiscretisation
from ups.data.writer import Columns, describe, put_provenance
from ups.store import store_error
from ups.tasks import Modality

_TYPES = {
    "<f4": h5py.h5t.IEEE_F32LE,
    "<i4": h5py.h5t.STD_I32LE,
    "|u1": h5py.h5t.STD_U8LE,
}

_SIZES = "sizes.npy"
_PROVENANCE = "provenance.json"

_ALIGNMENT = 8
"""Bytes at whose multiples datasets begin: memory maps want their numbers aligned."""


class PointFile:
    """A converted file of meshes or particles in the making; see `ups.data.writer.SplitFile`."""

    def __init__(
        self,
        path: Path,
        split: str,
        discretisation: AnyDiscretisation,
        columns: Columns,
    ) -> None:
        assert isinstance(discretisation, PointDiscretisation)
        self.path = path
        self.samples = len(columns.initial_condition)
        self._split, self._discretisation = split, discretisation
        self._columns = columns
        self._spools = path.with_name(f"{path.name}.spools")
        spec = discretisation.spec
        steps = () if spec.static else (len(discretisation.times),)
        self._rows: dict[str, tuple[str, tuple[int, ...]]] = {
            "positions": ("<f4", (*steps, spec.spatial_dims)),
            "boundary": ("|u1", ()),
        }
        """Dataset → type and shape of a row."""
        if spec.static:
            self._rows["inputs"] = ("<f4", (len(spec.input_fields),))
        self._rows["targets" if spec.static else "states"] = ("<f4", (*steps, len(spec.fields)))
        if spec.modality is Modality.MESH:
            self._rows["cells"] = ("<i4", (3,))

    def lay_out(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Make room for the segments, in the place of what is there; raises StoreError where that fails."""
        try:
            shutil.rmtree(self._spools, ignore_errors=True)
            self._spools.mkdir()
        except OSError as error:
            raise store_error(error, self._spools) from error

    def is_laid_out(self) -> bool:
        """Whether there is room for the segments, maybe made by an earlier process."""
        return self._spools.is_dir()

    def sign(self, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Note where its samples come from; raises StoreError where there is no room."""
        partial, whole = (self._spools / f"{_PROVENANCE}{ending}" for ending in (".part", ""))
        try:
            partial.write_text(json.dumps(list(provenance)))
            partial.replace(whole)
        except OSError as error:
            raise store_error(error, whole) from error

    def settled(self, rows: int) -> int:
        """None: it is put together when all samples are there."""
        return 0

    def writer(self, segment: int, row: int) -> "SpoolWriter":
        """Takes the samples of a segment; where they go is known when all of them are there."""
        return SpoolWriter(self._spools / f"{segment:06d}", self._rows)

    def finish(self) -> dict[str, Any]:
        """Put the file together: what the manifest says of it, its name aside. P is of the largest sample.

        Raises:
            StoreError: there is no room.
        """
        segments = sorted(self._spools.glob("[0-9]*"))
        sizes = np.concatenate([np.zeros((0, 2), np.int64), *map(_sizes_in, segments)])
        assert len(sizes) == self.samples, "every segment is there once"
        try:
            self._assemble(segments, np.concatenate([np.zeros((1, 2), np.int64), sizes.cumsum(axis=0)]))
            shutil.rmtree(self._spools)
        except OSError as error:
            raise store_error(error, self.path) from error
        spec = self._discretisation.spec
        steps = () if spec.static else (len(self._discretisation.times),)
        most = int(sizes[:, 0].max(initial=0))
        return {
            "bytes": self.path.stat().st_size,
            "samples": self.samples,
            "shape": [self.samples, *steps, most, len(spec.fields)],
            "dt": self._discretisation.dt,
        }

    def discard(self) -> None:
        """Remove what there is of it."""
        shutil.rmtree(self._spools, ignore_errors=True)
        self.path.unlink(missing_ok=True)

    def _assemble(self, segments: Sequence[Path], offsets: NDArray[np.int64]) -> None:
        places = {}
        with h5py.File(
            self.path, "w", libver=("earliest", "v110"), alignment_threshold=1, alignment_interval=_ALIGNMENT
        ) as file:
            axes = AXIS_NAMES[: self._discretisation.spec.spatial_dims]
            describe(file, self._split, self._discretisation, axes, self._columns)
            put_provenance(file, json.loads((self._spools / _PROVENANCE).read_text()))
            file["point_offsets"] = offsets[:, 0]
            if "cells" in self._rows:
                file["cell_offsets"] = offsets[:, 1]
            for name, (kind, shape) in self._rows.items():
                rows = int(offsets[-1, 1 if name == "cells" else 0])
                if rows:
                    places[name] = reserve(file, name, (rows, *shape), _TYPES[kind])
                else:
                    file.create_dataset(name, (0, *shape), kind)
        with self.path.open("r+b") as target:
            for name, place in places.items():
                target.seek(place)
                for segment in segments:
                    with (segment / name).open("rb") as spool:
                        shutil.copyfileobj(spool, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())


class SpoolWriter:
    """Collects the samples of a segment in a folder: a file for each dataset, and one of their sizes."""

    def __init__(self, folder: Path, rows: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
        """Begin, in the place of what an interrupted process has left; raises StoreError where that fails."""
        self.folder = folder
        self._rows = rows
        self._sizes: list[tuple[int, int]] = []
        """Points and triangles of each sample so far."""
        self._spools: dict[str, IO[bytes]] = {}
        try:
            folder.mkdir(exist_ok=True)
            for name in rows:
                self._spools[name] = (folder / name).open("wb")
        except OSError as error:
            self._release()
            raise store_error(error, folder) from error

    def write(self, block: AnyBlock) -> None:
        """Append samples; raises StoreError where the space is not there."""
        assert isinstance(block, PointBlock)
        try:
            for sample in block.samples:
                self._append(sample)
        except OSError as error:
            raise store_error(error, self.folder) from error

    def close(self) -> None:
        """Sync to disk; raises StoreError where that fails."""
        try:
            for spool in self._spools.values():
                spool.flush()
                os.fsync(spool.fileno())
            np.save(self.folder / _SIZES, np.array(self._sizes, np.int64).reshape(-1, 2))
        except OSError as error:
            raise store_error(error, self.folder) from error
        finally:
            self._release()

    def _release(self) -> None:
        for spool in self._spools.values():
            with suppress(OSError):  # what could not be written was told before
                spool.close()

    def _append(self, sample: PointSample) -> None:
        values = {
            "positions": sample.positions, "boundary": sample.boundary, "inputs": sample.inputs,
            "targets": sample.targets, "states": sample.targets, "cells": sample.cells,
        }  # fmt: skip
        for name, (kind, shape) in self._rows.items():
            array = np.ascontiguousarray(values[name], dtype=kind)
            rows = len(sample.cells) if name == "cells" else sample.points
            assert array.shape == (rows, *shape), f"{name} has the shape {array.shape}"
            self._spools[name].write(array.data.cast("B") if array.size else b"")
        self._sizes.append((sample.points, len(sample.cells)))


def _sizes_in(segment: Path) -> NDArray[np.int64]:
    sizes: NDArray[np.int64] = np.load(segment / _SIZES)
    return sizes
