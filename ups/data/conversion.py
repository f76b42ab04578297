"""A conversion that can be shared and resumed: which segments of its files are done is kept beside them.

It lives in a folder:

    plan.json        which assembly this is; written when the files are laid out
    {task}_{split}.h5
    done/000042.npy  segment 42 is on disk, and this is what was measured of its samples

Free of torch.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ups.data.assembly import Assembly
from ups.data.fields import FORMAT
from ups.data.source import AnyDiscretisation
from ups.data.split_files import Counted, Segment, SplitFiles
from ups.store import file_sha256, store_error

_PLAN = "plan.json"
_DONE = "done"


class Conversion:
    """An assembly on its way into converted files. Picklable: a process that has it can do segments of it."""

    def __init__(self, assembly: Assembly, folder: Path) -> None:
        """Nothing is written yet.

        Args:
            assembly: what is to be written.
            folder: where; it outlives this process where the conversion is to be resumed.
        """
        self.assembly = assembly
        self.folder = folder
        self.paths = {split: folder / f"{assembly.spec.name}_{split}.h5" for split in assembly.masks}
        """Split → the file, which is complete after `finish`."""
        self._files = SplitFiles(assembly, self.paths)
        self.segments = self._files.segments

    def is_prepared(self) -> bool:
        """Whether the files of this very conversion are laid out."""
        try:
            plan = json.loads((self.folder / _PLAN).read_bytes())
        except (OSError, ValueError):
            return False
        return self._files.are_laid_out() and plan == {"fingerprint": fingerprint(self.assembly)}

    def prepare(self) -> None:
        """Lay the files out, unless that was done before; only one process may.

        Raises:
            StoreError: there is no room.
        """
        if self.is_prepared():
            return
        try:
            (self.folder / _PLAN).unlink(missing_ok=True)
            shutil.rmtree(self.folder / _DONE, ignore_errors=True)
            (self.folder / _DONE).mkdir()
            self._files.lay_out()
            self._files.sign(self.assembly.provenance)
            content = json.dumps({"fingerprint": fingerprint(self.assembly)}).encode()
            _write_whole(self.folder / _PLAN, lambda path: path.write_bytes(content))
        except OSError as error:
            raise store_error(error, self.folder) from error

    def missing(self) -> list[Segment]:
        """The segments that are not done yet, in order."""
        return [segment for segment in self.segments if not self._is_marked(segment)]

    def _is_marked(self, segment: Segment) -> bool:
        try:
            return self._mark(segment).stat().st_size > 0  # empty: the machine lost its power
        except FileNotFoundError:
            return False

    def convert(self, segment: Segment, counted: Counted) -> None:
        """Read, check, measure and write a segment; arguments and errors as of `SplitFiles.fill`."""
        measured, mark = self._files.fill(segment, counted), self._mark(segment)
        try:
            _write_whole(mark, lambda path: np.save(path, measured))
        except OSError as error:
            raise store_error(error, mark) from error

    def finish(self) -> dict[str, Any]:
        """Complete the files, once no segment is missing.

        Returns:
            The dataset's manifest, but for its format, state and time.

        Raises:
            DataError: a field is constant.
            StoreError: there is no room.
        """
        manifest = self._files.finish([np.load(self._mark(segment)) for segment in self.segments])
        with ThreadPoolExecutor(len(self.paths)) as threads:
            hashes = dict(zip(self.paths, threads.map(file_sha256, self.paths.values()), strict=True))
        entries = manifest["splits"].items()
        return {**manifest, "splits": {split: {**said, "sha256": hashes[split]} for split, said in entries}}

    def _mark(self, segment: Segment) -> Path:
        return self.folder / _DONE / f"{segment.number:06d}.npy"


def fingerprint(assembly: Assembly) -> str:
    """Identifies what the files of an assembly will hold."""
    digest = hashlib.sha256()
    described = {
        "format": FORMAT,
        "task": assembly.spec.name,
        "sources": [[dict(source.provenance), source.segment] for source in assembly.sources],
        "grid": _described(assembly.discretisation),
    }
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    for split in sorted(assembly.masks):
        digest.update(split.encode() + assembly.masks[split].tobytes())
    digest.update(assembly.blocks.tobytes())
    return digest.hexdigest()


def _described(discretisation: AnyDiscretisation) -> Mapping[str, Any]:
    return {"sample_bytes": discretisation.sample_bytes, "times": discretisation.times.tolist()}


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a small file such that it is whole once it has its name."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")  # numpy wants the suffix
    write(temporary)
    temporary.replace(path)
