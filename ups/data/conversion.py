"""Turns an assembly into converted files: a segment of a source at a time, wherever and whenever.

What a segment becomes depends on nothing else, so several processes can share the segments, and an
interrupted conversion goes on with those that are missing. A conversion lives in a folder:

    plan.json        which assembly this is; written when the files are laid out
    {task}_{split}.h5
    done/000042.npy  segment 42 is on disk, and this is what was measured of its samples

Free of torch.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ups.data.assembly import Assembly, refuse_constants, rows_of
from ups.data.fields import FORMAT
from ups.data.point_writer import PointFile
from ups.data.points import PointDiscretisation
from ups.data.source import AnyBlock, AnyDiscretisation
from ups.data.statistics import Accumulator, Moments
from ups.data.writer import ConvertedFile, SegmentWriter, SplitFile
from ups.errors import DataError
from ups.store import store_error
from ups.tasks import TaskSpec

_PLAN = "plan.json"
_DONE = "done"

Counted = Callable[[int], None]
"""Called with a number of samples that are done."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive samples of one source: a unit of work."""

    number: int
    """Among the segments of the conversion, in the order of the files."""
    source: int
    """Index of its source in the assembly."""
    span: range
    """Its samples, by their index within the source."""


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
        self.segments = tuple(_segments(assembly))
        self.paths = {split: folder / f"{assembly.spec.name}_{split}.h5" for split in assembly.masks}
        """Split → the file, which is complete after `finish`."""
        kind = PointFile if isinstance(assembly.discretisation, PointDiscretisation) else ConvertedFile
        self._files: dict[str, SplitFile] = {
            split: kind(path, split, assembly.discretisation, assembly.columns(split), assembly.provenance)
            for split, path in self.paths.items()
        }

    def is_prepared(self) -> bool:
        """Whether the files of this very conversion are laid out."""
        try:
            plan = json.loads((self.folder / _PLAN).read_bytes())
        except (OSError, ValueError):
            return False
        laid_out = all(file.is_laid_out() for file in self._files.values())
        return laid_out and plan == {"fingerprint": fingerprint(self.assembly)}

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
            for file in self._files.values():
                file.lay_out()
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
        """Read, check, measure and write a segment.

        Args:
            segment: one of `segments`.
            counted: called with the number of samples of each block, once it is read and being written.

        Raises:
            DataError: a value is not finite.
            StoreError: there is no room.
        """
        source = self.assembly.sources[segment.source]
        span = slice(segment.span.start, segment.span.stop)
        masks = {split: self.assembly.mask(split, segment.source)[span] for split in self.paths}
        measured: tuple[Accumulator, Accumulator] = (Accumulator(), Accumulator())
        with ExitStack() as stack:
            writers = {}
            for split, mask in masks.items():
                if mask.any():
                    writer = self._files[split].writer(segment.number, self._row(split, segment))
                    writers[split] = writer
                    stack.callback(writer.close)
            behind = stack.enter_context(_WriteBehind())
            done, continues = 0, False
            for block in source.blocks(rows_of(source.discretisation), segment.span):
                within = slice(done, done + len(block))
                behind.write(
                    [
                        (writer, block.take(masks[split][within]))
                        for split, writer in writers.items()
                        if masks[split][within].any()
                    ]
                )
                for moments, into in zip(block.moments(), measured, strict=True):
                    if moments is not None:
                        into.add(moments, continues=continues)
                continues = block.more
                if not block.more:
                    done += len(block)
                    counted(len(block))
        self._set_mark(segment, measured)

    def finish(self) -> dict[str, Any]:
        """Complete the files, once no segment is missing.

        Returns:
            The dataset's manifest, but for its format, state and time.

        Raises:
            DataError: a field is constant.
            StoreError: there is no room.
        """
        assembly = self.assembly
        training = self._measured_of_training()
        discretisation = assembly.discretisation
        return {
            "task": assembly.spec.name,
            "splits": {
                split: {"file": self.paths[split].name, **file.finish()}
                for split, file in self._files.items()
            },
            "statistics": _statistics(discretisation.spec, *training),
            "parameters": assembly.distinct_parameters(),
            "provenance": assembly.provenance,
        }

    def _row(self, split: str, segment: Segment) -> int:
        """Row in the split's file of the first sample of a segment."""
        before = sum(int(self.assembly.mask(split, source).sum()) for source in range(segment.source))
        return before + int(self.assembly.mask(split, segment.source)[: segment.span.start].sum())

    def _mark(self, segment: Segment) -> Path:
        return self.folder / _DONE / f"{segment.number:06d}.npy"

    def _set_mark(self, segment: Segment, measured: Sequence[Accumulator]) -> None:
        packed = [Moments.joined(own.parts).packed() for own in measured if own.parts]
        content = np.concatenate(packed, axis=1)  # the targets' channels, then the inputs'
        try:
            _write_whole(self._mark(segment), lambda path: np.save(path, content))
        except OSError as error:
            raise store_error(error, self._mark(segment)) from error

    def _measured(self, segment: Segment) -> Iterator[Moments]:
        """Of the targets and, where the task is static, of the inputs."""
        spec, content = self.assembly.spec, np.load(self._mark(segment))
        yield Moments.unpacked(content[:, : len(spec.fields)])
        if spec.static:
            yield Moments.unpacked(content[:, len(spec.fields) :])

    def _measured_of_training(self) -> tuple[Accumulator, Accumulator]:
        """Of the samples that are for training; refuses a source of which a field is constant."""
        training = (Accumulator(), Accumulator())
        for index, source in enumerate(self.assembly.sources):
            in_training = self.assembly.mask("train", index) if "train" in self.assembly.masks else None
            whole = (Accumulator(), Accumulator())
            for segment in self.segments:
                if segment.source != index:
                    continue
                for moments, of_all, of_training in zip(
                    self._measured(segment), whole, training, strict=False
                ):
                    of_all.add(moments)
                    if in_training is not None:
                        of_training.add(moments.take(in_training[segment.span.start : segment.span.stop]))
            refuse_constants(source, *whole)
        return training


class _WriteBehind:
    """Writes blocks in a thread of its own, one at a time and in order, while the next one is read."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> "_WriteBehind":
        return self

    def __exit__(self, *raised: object) -> None:
        """Wait for the last block; raises what its writing has raised."""
        try:
            self._settle()
        finally:
            self._thread.shutdown()

    def write(self, blocks: Sequence[tuple[SegmentWriter, AnyBlock]]) -> None:
        """Begin to write, once what was begun before is written; raises what that has raised."""
        self._settle()
        self._pending = self._thread.submit(_write_all, blocks)

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _write_all(blocks: Sequence[tuple[SegmentWriter, AnyBlock]]) -> None:
    for writer, block in blocks:
        writer.write(block)


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


def _segments(assembly: Assembly) -> Iterator[Segment]:
    number = 0
    for index, source in enumerate(assembly.sources):
        for first in range(0, source.samples, source.segment):
            yield Segment(number, index, range(first, min(first + source.segment, source.samples)))
            number += 1


def _statistics(spec: TaskSpec, targets: Accumulator, inputs: Accumulator) -> dict[str, list[float]]:
    if not any(len(part.count) for part in targets.parts):
        return {}
    statistics = {
        "mean": targets.mean(),
        "std": targets.std(),
        "min": targets.low(),
        "max": targets.high(),
    }
    if spec.static:
        statistics |= {"input_mean": inputs.mean(), "input_std": inputs.std()}
    if any(not (statistics[name] > 0).all() for name in statistics if name.endswith("std")):
        raise DataError(f"a field of {spec.name} is constant in the train split: nothing can be learned")
    return {name: values.tolist() for name, values in statistics.items()}


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a small file such that it is whole once it has its name."""
    temporary = path.with_name(f".{path.name}.part{path.suffix}")  # numpy wants the suffix
    write(temporary)
    temporary.replace(path)
