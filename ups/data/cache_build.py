"""Builds a latent cache: a shard at a time, in whatever process, in whatever order.

What a shard holds depends on nothing but the recipe, so that several processes share them, and an
interrupted build goes on with those that are missing. A build lives in a folder:

    shard-00000.safetensors         appears once it is whole
    shard-00000.safetensors.json    its record: bytes, sha256 and samples

Nothing is synced to the disk: what a power cut takes of a cache is seen by its size or its hash, and made
again. Free of torch.
"""

import json
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ups.data import tensor_file
from ups.data.cached_fields import COLUMNS_FILE, shard_file, tensor_name, write_columns
from ups.data.fields import FieldArray, Fields
from ups.data.overlap import ahead
from ups.data.projection import Array, Part, Recipe, encode, fingerprint
from ups.data.tensor_file import Stream, Written
from ups.errors import DataError
from ups.store import store_error

SHARD_BYTES = 64 * 1024 * 1024
"""Least size of a shard; a bucket is slow at many small objects."""
_BLOCK_BYTES = 2 * 1024 * 1024
"""Fields that are encoded at a time: they and what becomes of them stay in a core's cache."""

_NOTHING: Mapping[str, "CacheFile"] = MappingProxyType({})
_THREADS = 2
"""Blocks that a process encodes at a time, while another thread hashes and writes."""
_INFINITE = np.uint16(0x7C00)
"""The exponent of float16's infinity and of what is no number."""

Counted = Callable[[int], None]
"""Called with a number of samples that are done."""


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of a cache, as its manifest records it."""

    file: str
    bytes: int
    sha256: str
    samples: int = 0
    """0 of the columns."""


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Consecutive samples that become one file: a unit of work."""

    number: int
    span: range

    @property
    def file(self) -> str:
        return shard_file(self.number)


def plan(recipe: Recipe, shard_bytes: int = SHARD_BYTES) -> tuple[ShardPlan, ...]:
    """The shards of a cache: as even as can be, none smaller than `shard_bytes` if there are several."""
    samples = recipe.parts[0].shape[0]
    least = max(1, math.ceil(shard_bytes / max(1, _sample_bytes(recipe))))
    count = max(1, samples // least)
    bounds = [samples * number // count for number in range(count + 1)]
    return tuple(ShardPlan(number, range(first, end)) for number, (first, end) in enumerate(pairwise(bounds)))


def _sample_bytes(recipe: Recipe) -> int:
    values = sum(math.prod(part.latent_shape[1:]) for part in recipe.parts)
    return values * np.dtype(recipe.dtype).itemsize


class CacheBuild:
    """One cache on its way. Picklable: a process that has it can build shards of it."""

    def __init__(
        self,
        recipe: Recipe,
        file: Path,
        folder: Path,
        *,
        kept: Mapping[str, CacheFile] = _NOTHING,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            recipe: what is built.
            file: the converted file, proven to be the recipe's.
            folder: where; it outlives this process where the build is to be resumed.
            kept: name → file of this very cache that is where it belongs already.
            shard_bytes: least size of a shard.
        """
        self.recipe = recipe
        self.file = file
        self.folder = folder
        self.shards = plan(recipe, shard_bytes)
        samples = {shard.file: len(shard.span) for shard in self.shards}
        self._kept = {name: found for name, found in kept.items() if found.samples == samples.get(name)}

    @property
    def bytes(self) -> int:
        """Of all coefficients."""
        return self.sample_bytes * self.recipe.parts[0].shape[0]

    @property
    def sample_bytes(self) -> int:
        return _sample_bytes(self.recipe)

    def finished(self, name: str) -> CacheFile | None:
        """The record of a file that is finished, now or by an earlier process."""
        record = read_record(self.folder / name)
        return record if record and (self.folder / name).is_file() else self._kept.get(name)

    def missing(self) -> list[ShardPlan]:
        """The shards that are not finished yet, in order."""
        return [shard for shard in self.shards if self.finished(shard.file) is None]

    def convert(self, shard: ShardPlan, counted: Counted) -> None:
        """Encode and write one shard.

        Args:
            shard: one of `shards`.
            counted: called with the number of its samples at its end.

        Raises:
            DataError: a value does not fit the dtype, or the file is not what the recipe describes.
            StoreError: there is no room.
        """
        fields = self._fields
        tensors = [self._stream(part, _array(fields, part), shard.span) for part in self.recipe.parts]
        self._write(
            shard.file,
            lambda path: tensor_file.write(path, tensors, {"fingerprint": fingerprint(self.recipe)}),
            len(shard.span),
        )
        counted(len(shard.span))

    def finish(self) -> list[CacheFile]:
        """Write the columns, once no shard is missing; returns all files of the cache, the columns last."""
        spans = [shard.span for shard in self.shards]
        self._write(COLUMNS_FILE, lambda path: write_columns(path, self._fields, self.recipe, spans))
        found = [self.finished(name) for name in (*(shard.file for shard in self.shards), COLUMNS_FILE)]
        return [file for file in found if file is not None]

    @cached_property
    def _fields(self) -> Fields:
        return Fields.open(self.file)

    def _write(self, name: str, write: Callable[[Path], Written], samples: int = 0) -> None:
        """Make a file such that it, and then its record, are whole once they have their names."""
        path = self.folder / name
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")  # another process may be at it too
        try:
            written = write(temporary)
            temporary.replace(path)
            temporary.write_text(json.dumps(asdict(CacheFile(name, written.bytes, written.sha256, samples))))
            temporary.replace(_record_of(path))
        except OSError as error:
            raise store_error(error, path) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _stream(self, part: Part, array: FieldArray, span: range) -> Stream:
        shape = (len(span), *part.latent_shape[1:])
        return Stream(tensor_name(part.role), self.recipe.dtype, shape, self._encoded(part, array, span))

    def _encoded(self, part: Part, array: FieldArray, span: range) -> Iterator[Array]:
        return ahead(partial(self._encode, part), blocks(part, array, span), threads=_THREADS)

    def _encode(self, part: Part, block: Array) -> Array:
        coefficients = encode(block, part, self.recipe.dtype)
        if not _fits(coefficients):
            raise DataError(
                f"{self.recipe.task} {self.recipe.split} does not fit {self.recipe.dtype}",
                hint="use float32",
            )
        return coefficients


def read_record(path: Path) -> CacheFile | None:
    """What is known of a file that was finished; None where there is no such knowledge."""
    try:
        return CacheFile(**json.loads(_record_of(path).read_bytes()))
    except (OSError, ValueError, TypeError):  # not there, or the machine lost its power
        return None


def _fits(coefficients: Array) -> bool:
    """Whether all of them are finite."""
    if coefficients.dtype == np.float16:  # by their bits: numpy goes from half to half
        return bool((coefficients.view(np.uint16) & _INFINITE).max(initial=0) < _INFINITE)
    return bool(np.isfinite(coefficients).all())


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _array(fields: Fields, part: Part) -> FieldArray:
    array = {"state": fields.states, "input": fields.inputs, "target": fields.targets}[part.role]
    if array is None or array.shape != part.shape:
        found = None if array is None else list(array.shape)
        raise DataError(f"{fields.path} holds {part.role} {found}, its manifest says {list(part.shape)}")
    return array


def blocks(part: Part, array: FieldArray, span: range) -> Iterator[Array]:
    """The samples of a span, a few at a time; of a large one a few frames at a time."""
    per_sample = 4 * math.prod(part.shape[1:])
    if part.role == "state" and per_sample > _BLOCK_BYTES:
        frames = part.shape[1]
        step = max(1, frames * _BLOCK_BYTES // per_sample)
        for sample in span:
            for first in range(0, frames, step):
                yield array[sample, first : first + step][None]
        return
    step = max(1, _BLOCK_BYTES // per_sample)
    for first in range(span.start, span.stop, step):
        yield array[first : min(first + step, span.stop)]
