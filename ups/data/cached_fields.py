"""A latent cache, opened as the fields that it was made of.

A cache is a folder: `shard-00000.safetensors` … with the coefficients of consecutive samples, and
`columns.safetensors` with all else that a converted file says, and the recipe. Whoever trains gets
`Fields` of it, and need not know: values are decoded where they are read. Free of torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ups.data import tensor_file
from ups.data.fields import Fields
from ups.data.projection import Part, Recipe, Role, decode, fingerprint
from ups.data.tensor_file import Written, of_array
from ups.errors import DataError, NotFoundError
from ups.tasks import task_spec

Array = NDArray[Any]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

COLUMNS_FILE = "columns.safetensors"
_COLUMNS = ("parameters", "times", "initial_condition", "source", "sample")


def shard_file(number: int) -> str:
    """Name of a shard."""
    return f"shard-{number:05d}.safetensors"


def tensor_name(role: Role) -> str:
    """Under which a shard holds the coefficients of a field."""
    return f"latents.{role}"


@dataclass(frozen=True, slots=True, eq=False)
class CachedArray:
    """One field of a cache [N, (T,) *S, C], decoded where it is read."""

    part: Part
    shards: tuple[Array, ...]
    """Coefficients [n, (T,) tokens, values] of consecutive samples, mapped."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.part.shape

    def __len__(self) -> int:
        return self.part.shape[0]

    def __getitem__(self, key: Any, /) -> Floats:
        """Of samples: one by its number, some by a slice or an array of numbers; then of what they hold."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice):
            found = self._span(*first.indices(len(self)))
            return found[(slice(None), *rest)] if rest else found
        if isinstance(first, int | np.integer):
            found = self.take(np.asarray(first))
            return found[tuple(rest)] if rest else found
        if rest:
            raise IndexError("of samples that an array of numbers picks, all is decoded")
        return self.take(np.asarray(first))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:].astype(dtype or np.float32, copy=False)

    def take(self, numbers: Integers) -> Floats:
        """The samples [...] by their numbers: [..., (T,) *S, C].

        Raises:
            IndexError: there is no such sample.
        """
        wanted = numbers.reshape(-1)
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"no sample {numbers} in {len(self)}")
        found = decode(self.coefficients(wanted), self.part)
        return found.reshape(*numbers.shape, *self.shape[1:])

    def states(self) -> "CachedArray":
        """Every state [N · T, *S, C] as a sample of its own."""
        samples, frames, *state = self.shape
        flat = replace(self.part, role="target", shape=(samples * frames, *state))
        return CachedArray(flat, tuple(shard.reshape(-1, *shard.shape[2:]) for shard in self.shards))

    def coefficients(self, wanted: Integers) -> Array:
        """What is stored of samples, by their numbers [B]: [B, (T,) tokens, values]."""
        if len(self.shards) == 1:
            return self.shards[0].take(wanted, axis=0)
        ends = np.cumsum([len(shard) for shard in self.shards])
        where = np.searchsorted(ends, wanted, side="right")
        first = self.shards[0]
        gathered = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        for index in np.unique(where):
            rows = np.flatnonzero(where == index)
            shard = self.shards[index]
            gathered[rows] = shard.take(wanted[rows] - (ends[index] - len(shard)), axis=0)
        return gathered

    def _span(self, start: int, stop: int, step: int) -> Floats:
        if step != 1:
            return self.take(np.arange(start, stop, step))
        parts, before = [], 0
        for shard in self.shards:
            first, end = max(start - before, 0), min(stop - before, len(shard))
            if first < end:
                parts.append(shard[first:end])
            before += len(shard)
        if not parts:
            return np.zeros((0, *self.shape[1:]), np.float32)
        return decode(parts[0] if len(parts) == 1 else np.concatenate(parts), self.part)


@dataclass(frozen=True, slots=True, eq=False)
class CachedFields(Fields):
    """One split of a task whose fields come out of a cache. Picklable: opens its folder again."""

    flat: CachedArray | None = None
    """Every state by its number, of a time stepper."""

    @classmethod
    def open(cls, path: Path) -> "CachedFields":
        """Map the cache in a folder. Its files' hashes are not looked at: whoever fetched it did that.

        Raises:
            NotFoundError: there is no cache.
            DataError: damaged, cut short, or of another format.
        """
        if not (path / COLUMNS_FILE).is_file():
            raise NotFoundError(f"there is no latent cache in {path}")
        try:
            return cls(**_read(path))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} holds no readable latent cache: {error}", hint="build or fetch it again"
            ) from None

    def frames(self, numbers: Integers) -> Floats:
        assert self.flat is not None
        return self.flat.take(numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedFields.open, (self.path,)


def write_columns(path: Path, fields: Fields, recipe: Recipe, spans: Sequence[range]) -> Written:
    """Write what a cache holds beside its coefficients.

    Args:
        path: of the file.
        fields: what the cache is made of.
        recipe: how.
        spans: the samples of each shard.
    """
    columns = {name: _narrow(np.asarray(getattr(fields, name))) for name in _COLUMNS}
    columns |= dict(zip(fields.axes, fields.coordinates, strict=True))
    order = sorted(columns, key=lambda name: (-columns[name].itemsize, name))  # each lies aligned
    about = {
        "recipe": recipe.to_json(),
        "samples": [len(span) for span in spans],
        "dt": fields.dt,
        "domain": fields.spec.domain,
        "axes": fields.axes,
        "provenance": [dict(source) for source in fields.provenance],
    }
    metadata = {"fingerprint": fingerprint(recipe), "about": json.dumps(about, sort_keys=True)}
    return tensor_file.write(path, [of_array(name, columns[name]) for name in order], metadata)


def _narrow(column: Array) -> Array:
    """Whole numbers in half the room where they fit: a cache is not to be larger than its fields."""
    if column.dtype != np.int64 or not len(column) or np.abs(column).max() > np.iinfo(np.int32).max:
        return column
    return column.astype(np.int32)


def _read(folder: Path) -> dict[str, Any]:
    """The members of `CachedFields`."""
    mapped = tensor_file.open_file(folder / COLUMNS_FILE)
    about: Mapping[str, Any] = json.loads(mapped.metadata["about"])
    recipe = Recipe.from_json(about["recipe"])
    spec = task_spec(recipe.task).on(about["domain"])
    arrays = _arrays(folder, recipe, about["samples"])
    columns = {
        name: values.astype(np.int64 if values.dtype.kind == "i" else values.dtype)
        for name, values in mapped.tensors.items()
    }
    states = arrays.get("state")
    return {
        "path": folder,
        "spec": spec,
        "split": recipe.split,
        "dt": float(about["dt"]),
        "states": states,
        "inputs": arrays.get("input"),
        "targets": arrays.get("target"),
        "axes": tuple(about["axes"]),
        "coordinates": tuple(columns[axis] for axis in about["axes"]),
        "provenance": tuple(about["provenance"]),
        "flat": states.states() if states is not None else None,
        **{name: columns[name] for name in _COLUMNS},
    }


def _arrays(folder: Path, recipe: Recipe, samples: Sequence[int]) -> dict[Role, CachedArray]:
    """Each field; raises ValueError where a shard is not the recipe's."""
    files = [tensor_file.open_file(folder / shard_file(number)) for number in range(len(samples))]
    expected = fingerprint(recipe)
    for number, (file, count) in enumerate(zip(files, samples, strict=True)):
        shapes = {part.role: (count, *part.latent_shape[1:]) for part in recipe.parts}
        found = {part.role: file.tensors[tensor_name(part.role)] for part in recipe.parts}
        if file.metadata.get("fingerprint") != expected or any(
            found[role].shape != shape or found[role].dtype != recipe.dtype for role, shape in shapes.items()
        ):
            raise ValueError(f"{shard_file(number)} belongs to another one")
    if any(part.shape[0] != sum(samples) for part in recipe.parts):
        raise ValueError(f"{sum(samples)} samples in its shards")
    return {
        part.role: CachedArray(part, tuple(file.tensors[tensor_name(part.role)] for file in files))
        for part in recipe.parts
    }
