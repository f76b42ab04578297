"""Puts the samples of several sources into splits and streams them into converted files.

Sources are put in an order of their own (parameters, then content), so that the files depend on
what is assembled and on nothing else. Free of torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.catalog import Progress
from ups.data.blocks import MIN_SAMPLES, initial_condition_blocks, splits_of
from ups.data.point_writer import PointFileWriter
from ups.data.points import PointDiscretisation
from ups.data.source import AnyBlock, AnyDiscretisation, Source
from ups.data.statistics import Accumulator
from ups.data.writer import Columns, ConvertedFileWriter, SplitWriter
from ups.errors import DataError
from ups.tasks import TaskSpec

_BLOCK_BYTES = 16 * 1024 * 1024
"""Of one block of samples in memory; a few copies of it live at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Which sample of which source goes where."""

    sources: Sequence[Source]
    """In the order in which their samples are written."""
    blocks: NDArray[np.int64]
    """[longest source] block id of each index."""
    masks: Mapping[str, NDArray[np.bool_]]
    """split → [longest source] whether an index belongs to it."""

    @property
    def discretisation(self) -> AnyDiscretisation:
        return self.sources[0].discretisation

    @property
    def spec(self) -> TaskSpec:
        return self.discretisation.spec

    @property
    def provenance(self) -> list[Mapping[str, Any]]:
        return [source.provenance for source in self.sources]

    @property
    def counts(self) -> dict[str, int]:
        """split → samples."""
        return {
            split: sum(int(mask[: source.samples].sum()) for source in self.sources)
            for split, mask in self.masks.items()
        }

    @property
    def bytes(self) -> int:
        """Of the fields in all files, at most."""
        return self.discretisation.sample_bytes * sum(self.counts.values())

    def columns(self, split: str) -> Columns:
        """The per-sample columns of a split."""
        mask = self.masks[split]
        indices = [np.flatnonzero(mask[: source.samples]) for source in self.sources]
        counts = [len(own) for own in indices]
        parameters = np.array([source.parameters for source in self.sources], np.float32)
        sample = np.concatenate(indices).astype(np.int64)
        return Columns(
            parameters=np.repeat(parameters, counts, axis=0),
            initial_condition=self.blocks[sample],
            source=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            sample=sample,
        )

    def distinct_parameters(self) -> dict[str, list[float]]:
        """Parameter → its values, ascending."""
        return {
            parameter.name: sorted({source.parameters[column] for source in self.sources})
            for column, parameter in enumerate(self.spec.parameters)
        }


def assemble(sources: Sequence[Source], *, only: str | None = None) -> Assembly:
    """Put the sources in order and their samples into splits.

    Args:
        only: put everything into this split.

    Raises:
        DataError: a source is too short, or too many samples start alike.
    """
    ordered = sorted(sources, key=lambda source: (source.parameters, source.provenance["sha256"]))
    if only is not None:
        blocks = initial_condition_blocks(ordered, _rows(ordered[0].discretisation))
        return Assembly(ordered, blocks, {only: np.ones(len(blocks), np.bool_)})
    for source in ordered:
        if source.samples < MIN_SAMPLES:
            raise DataError(
                f"{source.provenance['name']} has {source.samples} samples, "
                f"at least {MIN_SAMPLES} are needed: one for each split"
            )
    blocks = initial_condition_blocks(ordered, _rows(ordered[0].discretisation))
    try:
        return Assembly(ordered, blocks, splits_of(blocks))
    except DataError as error:
        _check_values(ordered)  # a damaged file may be why they start alike, and is the better answer
        names = ", ".join(str(source.provenance["name"]) for source in ordered)
        raise DataError(f"{names}: {error.message}", hint=error.hint) from None


def write_split_files(assembly: Assembly, paths: Mapping[str, Path], progress: Progress) -> dict[str, Any]:
    """Stream all samples into converted files, and check and measure them on the way.

    Args:
        paths: split → file to write, for each of the assembly's splits.

    Returns:
        The dataset's manifest, but for its format, state and time.

    Raises:
        DataError: a value is not finite, or a field is constant.
        StoreError: there is no room.
    """
    spec, discretisation = assembly.spec, assembly.discretisation
    writers: dict[str, SplitWriter] = {}
    kind = PointFileWriter if isinstance(discretisation, PointDiscretisation) else ConvertedFileWriter
    try:
        for split, path in paths.items():
            writers[split] = kind(path, split, discretisation, assembly.columns(split), assembly.provenance)
        measured = _stream(assembly, writers, progress)
    finally:
        for writer in writers.values():
            writer.close()
    return {
        "task": spec.name,
        "splits": {
            split: {"file": paths[split].name, **writer.entry(discretisation.dt)}
            for split, writer in writers.items()
        },
        "statistics": _statistics(spec, measured),
        "parameters": assembly.distinct_parameters(),
        "provenance": assembly.provenance,
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of the train split."""

    targets: Accumulator
    inputs: Accumulator


def _stream(assembly: Assembly, writers: Mapping[str, SplitWriter], progress: Progress) -> _Measured:
    rows = dict.fromkeys(writers, 0)
    train = _Measured(Accumulator(), Accumulator())
    for source in assembly.sources:
        whole = _Measured(Accumulator(), Accumulator())
        done = 0
        for block in source.blocks(_rows(assembly.discretisation)):
            span = slice(done, done + len(block))
            for split, writer in writers.items():
                mask = assembly.masks[split][span]
                if mask.any():
                    writer.write(rows[split], block.take(mask))
                    rows[split] += int(mask.sum())
            _measure(block, whole, train, assembly.masks.get("train", np.zeros(0, np.bool_))[span])
            done += len(block)
            progress(f"{assembly.spec.name} {source.provenance['name']}", done, source.samples)
        _refuse_constants(assembly.spec, str(source.provenance["name"]), whole)
    return train


def _check_values(sources: Sequence[Source]) -> None:
    for source in sources:
        whole = _Measured(Accumulator(), Accumulator())
        for block in source.blocks(_rows(source.discretisation)):
            _measure(block, whole, whole, np.zeros(len(block), np.bool_))
        _refuse_constants(source.discretisation.spec, str(source.provenance["name"]), whole)


def _measure(block: AnyBlock, whole: _Measured, train: _Measured, in_train: NDArray[np.bool_]) -> None:
    targets, inputs = block.moments()
    for moments, everything, training in (
        (targets, whole.targets, train.targets),
        (inputs, whole.inputs, train.inputs),
    ):
        if moments is not None:
            everything.add(moments)
            if in_train.any():
                training.add(moments.take(in_train))


def _refuse_constants(spec: TaskSpec, name: str, measured: _Measured) -> None:
    for fields, moments in ((spec.fields, measured.targets), (spec.input_fields, measured.inputs)):
        if fields:
            low, high = moments.low(), moments.high()
            for channel, field in enumerate(fields):
                if low[channel] == high[channel]:
                    raise DataError(
                        f"{name}: the field {field} is {low[channel]:g} everywhere, in every sample",
                        hint="nothing can be learned from a constant field: the file is damaged or empty",
                    )


def _statistics(spec: TaskSpec, train: _Measured) -> dict[str, list[float]]:
    if not train.targets.parts:
        return {}
    targets = train.targets
    statistics = {
        "mean": targets.mean(),
        "std": targets.std(),
        "min": targets.low(),
        "max": targets.high(),
    }
    if spec.static:
        statistics |= {"input_mean": train.inputs.mean(), "input_std": train.inputs.std()}
    if any(not (statistics[name] > 0).all() for name in statistics if name.endswith("std")):
        raise DataError(f"a field of {spec.name} is constant in the train split: nothing can be learned")
    return {name: values.tolist() for name, values in statistics.items()}


def _rows(discretisation: AnyDiscretisation) -> int:
    """Samples in a block."""
    return max(1, _BLOCK_BYTES // discretisation.sample_bytes)
