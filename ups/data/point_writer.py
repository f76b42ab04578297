"""Writes one converted file of meshes or particles, whose samples differ in size.

How many points a file holds is known only after the last sample, and a contiguous dataset must be
laid out whole. So each dataset is collected in an unnamed file beside the target, and the target is
put together from those when it is closed. Free of torch.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from ups.data.fields import AXIS_NAMES
from ups.data.points import PointBlock, PointDiscretisation, PointSample
from ups.data.source import AnyBlock, AnyDiscretisation
from ups.data.writer import Columns, describe, reserve
from ups.store import file_sha256, store_error
from ups.tasks import Modality

_TYPES = {
    "<f4": h5py.h5t.IEEE_F32LE,
    "<i4": h5py.h5t.STD_I32LE,
    "|u1": h5py.h5t.STD_U8LE,
}

_ALIGNMENT = 8
"""Bytes at whose multiples datasets begin: memory maps want their numbers aligned."""


class PointFileWriter:
    """A converted file that takes samples in order; closing it puts it together and syncs it to disk."""

    def __init__(
        self,
        path: Path,
        split: str,
        discretisation: AnyDiscretisation,
        columns: Columns,
        provenance: Sequence[Mapping[str, Any]],
    ) -> None:
        """Raises StoreError where the space is not there."""
        assert isinstance(discretisation, PointDiscretisation)
        self.path = path
        self.samples = len(columns.initial_condition)
        self._split, self._discretisation = split, discretisation
        self._columns, self._provenance = columns, provenance
        self._sizes: list[tuple[int, int]] = []
        """Points and triangles of each sample so far."""
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
        self._spools: dict[str, IO[bytes]] = {}
        try:
            for name in self._rows:
                self._spools[name] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 (closed in `close`)
        except OSError as error:
            raise store_error(error, path) from error

    def write(self, row: int, block: AnyBlock) -> None:
        """Append samples; raises StoreError where the space is not there."""
        assert isinstance(block, PointBlock)
        assert row == len(self._sizes), "samples come in order"
        try:
            for sample in block.samples:
                self._append(sample)
        except OSError as error:
            raise store_error(error, self.path) from error

    def close(self) -> None:
        """Put the file together, where every sample came, and sync it; raises StoreError where that fails."""
        try:
            if len(self._sizes) == self.samples:
                self._assemble()
        except OSError as error:
            raise store_error(error, self.path) from error
        finally:
            for spool in self._spools.values():
                spool.close()

    def entry(self, dt: float) -> dict[str, Any]:
        """What the manifest says about the closed file, its name aside; P is that of the largest sample."""
        spec = self._discretisation.spec
        steps = () if spec.static else (len(self._discretisation.times),)
        most = max((points for points, _ in self._sizes), default=0)
        return {
            "bytes": self.path.stat().st_size,
            "sha256": file_sha256(self.path),
            "samples": self.samples,
            "shape": [self.samples, *steps, most, len(spec.fields)],
            "dt": dt,
        }

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

    def _assemble(self) -> None:
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        offsets = np.concatenate([np.zeros((1, 2), np.int64), sizes.cumsum(axis=0)])
        places = {}
        with h5py.File(
            self.path, "w", libver=("earliest", "v110"), alignment_threshold=1, alignment_interval=_ALIGNMENT
        ) as file:
            axes = AXIS_NAMES[: self._discretisation.spec.spatial_dims]
            describe(file, self._split, self._discretisation, axes, self._columns, self._provenance)
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
                self._spools[name].seek(0)
                shutil.copyfileobj(self._spools[name], target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
