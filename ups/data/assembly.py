"""Puts the samples of several sources into splits.

Sources are put in an order of their own (parameters, then content), so that what is written depends on
what is assembled and on nothing else. Free of torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.data.blocks import MIN_SAMPLES, first_indices, initial_condition_blocks, splits_of
from ups.data.source import AnyDiscretisation, Source, provenance_of
from ups.data.statistics import Accumulator
from ups.data.writer import Columns
from ups.errors import DataError
from ups.tasks import TaskSpec

_BLOCK_BYTES = 16 * 1024 * 1024
"""Of one block of samples in memory; a few copies of it live at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Which sample of which source goes where."""

    sources: Sequence[Source]
    """In the order in which their samples are written."""
    firsts: Sequence[int]
    """Index of each source's first sample: `ups.data.blocks.first_indices`."""
    blocks: NDArray[np.int64]
    """[indices] block id of each index."""
    masks: Mapping[str, NDArray[np.bool_]]
    """split → [indices] whether an index belongs to it."""

    def indices(self, source: int) -> slice:
        """Those of a source's samples."""
        first = self.firsts[source]
        return slice(first, first + self.sources[source].samples)

    def mask(self, split: str, source: int) -> NDArray[np.bool_]:
        """[samples of the source] whether they belong to a split."""
        mask: NDArray[np.bool_] = self.masks[split][self.indices(source)]
        return mask

    @property
    def discretisation(self) -> AnyDiscretisation:
        return self.sources[0].discretisation

    @property
    def spec(self) -> TaskSpec:
        return self.discretisation.spec

    @property
    def provenance(self) -> list[Mapping[str, Any]]:
        return [provenance_of(source) for source in self.sources]

    @property
    def counts(self) -> dict[str, int]:
        """split → samples."""
        return {
            split: sum(int(self.mask(split, source).sum()) for source in range(len(self.sources)))
            for split in self.masks
        }

    @property
    def bytes(self) -> int:
        """Of the fields in all files, at most."""
        return self.discretisation.sample_bytes * sum(self.counts.values())

    def columns(self, split: str) -> Columns:
        """The per-sample columns of a split."""
        own = [np.flatnonzero(self.mask(split, source)) for source in range(len(self.sources))]
        counts = [len(samples) for samples in own]
        parameters = np.array([source.parameters for source in self.sources], np.float32)
        sample = np.concatenate(own).astype(np.int64)
        source = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return Columns(
            parameters=np.repeat(parameters, counts, axis=0),
            initial_condition=self.blocks[np.array(self.firsts, np.int64)[source] + sample],
            source=source,
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
        DataError: there are too few samples, or too many start alike.
    """
    ordered = list(sources)
    if len(sources) > 1:  # one alone needs no hash for its place
        ordered.sort(key=lambda source: (source.parameters, source.sha256))
    firsts = first_indices(ordered)
    blocks = initial_condition_blocks(ordered, firsts, rows_of(ordered[0].discretisation))
    if only is not None:
        return Assembly(ordered, firsts, blocks, {only: np.ones(len(blocks), np.bool_)})
    names = ", ".join(source.name for source in ordered)
    if len(blocks) < MIN_SAMPLES:
        raise DataError(
            f"{names} {'has' if len(ordered) == 1 else 'have together'} {len(blocks)} samples, "
            f"at least {MIN_SAMPLES} are needed: one for each split",
            hint="import them together with more files, or a file with more samples",
        )
    try:
        return Assembly(ordered, firsts, blocks, splits_of(blocks))
    except DataError as error:
        _check_values(ordered)  # a damaged file may be why they start alike, and is the better answer
        raise DataError(f"{names}: {error.message}", hint=error.hint) from None


def _check_values(sources: Sequence[Source]) -> None:
    for source in sources:
        targets, inputs = Accumulator(), Accumulator()
        for block in source.blocks(rows_of(source.discretisation)):
            for moments, into in zip(block.moments(), (targets, inputs), strict=True):
                if moments is not None:
                    into.add(moments)
        refuse_constants(source, targets, inputs)


def refuse_constants(source: Source, targets: Accumulator, inputs: Accumulator) -> None:
    """Refuse a source of which a field never varies.

    Args:
        source: the source.
        targets: what was measured of all its samples.
        inputs: the same of a static task's inputs.

    Raises:
        DataError: naming the field.
    """
    spec = source.discretisation.spec
    for fields, moments in ((spec.fields, targets), (spec.input_fields, inputs)):
        if fields:
            low, high = moments.low(), moments.high()
            for channel, field in enumerate(fields):
                if low[channel] == high[channel]:
                    raise DataError(
                        f"{source.name}: the field {field} is {low[channel]:g} everywhere, in every sample",
                        hint="nothing can be learned from a constant field: the file is damaged or empty",
                    )


def rows_of(discretisation: AnyDiscretisation) -> int:
    """Samples to read at a time."""
    return max(1, _BLOCK_BYTES // discretisation.sample_bytes)
