"""The samples of a converted dataset as the sources they came from, so that more can be added.

Free of torch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.data.source import AnyBlock, AnyDiscretisation, Block, Discretisation, Floats, segment_of
from ups.data.split import Split, discretisation_of, joined
from ups.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class StoredSource:
    """One source of a dataset, its samples in their first order."""

    provenance: Mapping[str, Any]
    discretisation: AnyDiscretisation
    parts: Sequence[Split]
    """The splits of the dataset."""
    part: NDArray[np.int64]
    """[N] which of `parts` holds a sample."""
    row: NDArray[np.int64]
    """[N] its row there."""

    @property
    def name(self) -> str:
        return str(self.provenance["name"])

    @property
    def sha256(self) -> str:
        return str(self.provenance["sha256"])

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.provenance

    @property
    def about(self) -> Mapping[str, Any]:
        return {key: value for key, value in self.provenance.items() if key not in ("name", "sha256")}

    @property
    def samples(self) -> int:
        return len(self.part)

    @property
    def parameters(self) -> tuple[float, ...]:
        spec = self.discretisation.spec
        return tuple(float(self.provenance["parameters"][parameter.name]) for parameter in spec.parameters)

    @property
    def splits(self) -> list[str]:
        """[N] the split that holds each sample."""
        return [self.parts[part].split for part in self.part]

    @property
    def segment(self) -> int:
        return segment_of(self.discretisation)

    def blocks(self, rows: int, span: range | None = None) -> Iterator[AnyBlock]:
        asked = range(self.samples) if span is None else span
        for first in range(asked.start, asked.stop, rows):
            samples = range(first, min(first + rows, asked.stop))
            blocks = [self.parts[self.part[index]].block(int(self.row[index])) for index in samples]
            yield from _in_parts(self.discretisation, blocks)

    def initial_conditions(self, rows: int) -> Iterator[Iterable[Floats]]:
        # of a source whose samples are pieces of longer trajectories: the sample that begins each one's
        first_of = self.provenance.get("starts", range(self.samples))
        for first in range(0, self.samples, rows):
            samples = [int(index) for index in first_of[first : first + rows]]
            yield (self.parts[self.part[index]].start(int(self.row[index])) for index in samples)


def _in_parts(discretisation: AnyDiscretisation, blocks: Sequence[AnyBlock]) -> Iterator[AnyBlock]:
    """The mapped samples as one block; a very large one a few frames at a time, as it was first read."""
    (block, *others) = blocks
    parts = discretisation.parts if isinstance(discretisation, Discretisation) else ()
    if others or len(parts) < 2 or not isinstance(block, Block):
        yield joined(blocks)
        return
    for part in parts:
        yield Block(None, np.asarray(block.targets[:, part]), more=part != parts[-1])


def stored_sources(parts: Sequence[Split]) -> list[StoredSource]:
    """The sources of a dataset, from its opened splits.

    Raises:
        DataError: the splits do not hold every sample of each source exactly once.
    """
    first = parts[0]
    discretisation = discretisation_of(parts)
    part = np.concatenate([np.full(fields.samples, index) for index, fields in enumerate(parts)])
    row = np.concatenate([np.arange(fields.samples) for fields in parts])
    source = np.concatenate([fields.source for fields in parts])
    sample = np.concatenate([fields.sample for fields in parts])
    sources = []
    for index, provenance in enumerate(first.provenance):
        own = np.flatnonzero(source == index)
        own = own[np.argsort(sample[own])]
        if not np.array_equal(sample[own], np.arange(int(provenance["samples"]))):
            raise DataError(
                f"the splits of {first.spec.name} do not hold all samples of {provenance['name']}",
                hint="import its files again with --replace",
            )
        sources.append(StoredSource(provenance, discretisation, parts, part[own], row[own]))
    return sources
