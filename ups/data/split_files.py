"""The files of an assembly, one for each split, filled a segment of a source at a time.

What a segment becomes depends on nothing else, so they may be filled in any order and by several
processes; what was measured of each is collected to finish the files. Free of torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ups.data.assembly import Assembly, refuse_constants, rows_of
from ups.data.point_writer import PointFile
from ups.data.points import PointDiscretisation
from ups.data.source import provenance_of
from ups.data.statistics import Accumulator, Doubles, Moments
from ups.data.writer import ConvertedFile, SplitFile
from ups.errors import DataError
from ups.tasks import TaskSpec

Counted = Callable[[int], None]
"""Called with a number of samples that are done."""
_UNKNOWN = "0" * 64
"""In the place of a hash that is not computed yet."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive samples of one source: a unit of work."""

    number: int
    """Among the segments of the conversion, in the order of the files."""
    source: int
    """Index of its source in the assembly."""
    span: range
    """Its samples, by their index within the source."""


class SplitFiles:
    """The files in which the samples of an assembly go. Picklable: who has it can fill segments."""

    def __init__(self, assembly: Assembly, paths: Mapping[str, Path]) -> None:
        """Nothing is written yet.

        Args:
            assembly: what is to be written.
            paths: split → where, for each of the assembly's.
        """
        self.assembly = assembly
        self.paths = paths
        self.segments = tuple(_segments(assembly))
        kind = PointFile if isinstance(assembly.discretisation, PointDiscretisation) else ConvertedFile
        self._files: dict[str, SplitFile] = {
            split: kind(path, split, assembly.discretisation, assembly.columns(split))
            for split, path in paths.items()
        }

    def lay_out(self) -> None:
        """Make room for what is to come; only one process may. Raises StoreError where there is none."""
        unsigned = [provenance_of(source, _UNKNOWN) for source in self.assembly.sources]
        for file in self._files.values():
            file.lay_out(unsigned)

    def is_laid_out(self, split: str) -> bool:
        """Whether the file of a split was laid out, maybe by an earlier process."""
        return self._files[split].is_laid_out()

    def sign(self, split: str, provenance: Sequence[Mapping[str, Any]]) -> None:
        """Put the hashes of the sources into the file of a split; only one process may at a time.

        Args:
            split: of the file.
            provenance: the assembly's.

        Raises:
            StoreError: there is no room.
        """
        self._files[split].sign(provenance)

    def settled(self, split: str, segments: int) -> int:
        """Bytes at the beginning of a split's file that are settled once the first segments are there."""
        are_all = segments == len(self.segments)
        rows = self.assembly.counts[split] if are_all else self._row(split, self.segments[segments])
        return self._files[split].settled(rows)

    def fill(self, segment: Segment, counted: Counted) -> Doubles:
        """Read, check, measure and write a segment, and sync it to disk.

        Args:
            segment: one of `segments`.
            counted: called with the number of samples of each block that is done.

        Returns:
            What was measured of its samples, for `finish`: [n, C, 5].

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
            done, continues = 0, False
            for block in source.blocks(rows_of(source.discretisation), segment.span):
                within = slice(done, done + len(block))
                for split, writer in writers.items():
                    if masks[split][within].any():
                        writer.write(block.take(masks[split][within]))
                for moments, into in zip(block.moments(), measured, strict=True):
                    if moments is not None:
                        into.add(moments, continues=continues)
                continues = block.more
                if not block.more:
                    done += len(block)
                    counted(len(block))
        packed = [Moments.joined(own.parts).packed() for own in measured if own.parts]
        return np.concatenate(packed, axis=1)  # the targets' channels, then the inputs'

    def finish(self, split: str) -> dict[str, Any]:
        """Complete the file of a split, once it is signed and every segment is there; only one process may.

        Returns:
            What the manifest says of it, but its hash.

        Raises:
            StoreError: there is no room.
        """
        return {"file": self.paths[split].name, **self._files[split].finish()}

    def manifest(
        self,
        measured: Sequence[Doubles],
        provenance: Sequence[Mapping[str, Any]],
        entries: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The dataset's manifest, but for its format, state and time.

        Args:
            measured: what `fill` returned of each of `segments`.
            provenance: the assembly's.
            entries: split → what the manifest says of its file.

        Raises:
            DataError: a field is constant.
        """
        training = self._of_training(measured)
        return {
            "task": self.assembly.spec.name,
            "splits": {split: dict(entries[split]) for split in self.paths},
            "statistics": _statistics(self.assembly.spec, *training),
            "parameters": self.assembly.distinct_parameters(),
            "provenance": list(provenance),
        }

    def discard(self) -> None:
        """Remove what there is of them."""
        for file in self._files.values():
            file.discard()

    def _row(self, split: str, segment: Segment) -> int:
        """Row in the split's file of the first sample of a segment."""
        before = sum(int(self.assembly.mask(split, source).sum()) for source in range(segment.source))
        return before + int(self.assembly.mask(split, segment.source)[: segment.span.start].sum())

    def _of_training(self, measured: Sequence[Doubles]) -> tuple[Accumulator, Accumulator]:
        """Of the samples that are for training; refuses a source of which a field is constant."""
        training = (Accumulator(), Accumulator())
        for index, source in enumerate(self.assembly.sources):
            in_training = self.assembly.mask("train", index) if "train" in self.assembly.masks else None
            whole = (Accumulator(), Accumulator())
            for segment in self.segments:
                if segment.source != index:
                    continue
                of_segment = _unpacked(self.assembly.spec, measured[segment.number])
                for moments, of_all, of_training in zip(of_segment, whole, training, strict=False):
                    of_all.add(moments)
                    if in_training is not None:
                        of_training.add(moments.take(in_training[segment.span.start : segment.span.stop]))
            refuse_constants(source, *whole)
        return training


def _unpacked(spec: TaskSpec, measured: Doubles) -> Iterator[Moments]:
    """Of the targets and, where the task is static, of the inputs."""
    yield Moments.unpacked(measured[:, : len(spec.fields)])
    if spec.static:
        yield Moments.unpacked(measured[:, len(spec.fields) :])


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
