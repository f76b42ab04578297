"""The fixed part of the encoder: fields cut into patches, and what identifies that.

A patch of at most `latent.dim` values is kept as it is, before the isometry embeds it: normalised and
multiplied by the encoder's basis it gives the very tokens. In float16 coefficients are normalised, so that
they lie where that type is dense. Float32 is equally dense everywhere, and normalising and undoing it
would round twice: there they stay in physical units, and decoding gives back every bit.

A hash of strings, the fingerprint, says what a cache of them holds: free of torch, so that a laptop knows
before paying.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ups import catalog, patches
from ups.errors import ConfigError, DataError
from ups.tasks import task_spec

FORMAT = 2
"""Version of what a cache holds, and of its manifest."""

NORMALISED, PLAIN = "normalised-patches", "patches"
"""Names of the two projections: coefficients near one, and the values as they are."""

_ROW = 2048
"""Values that are normalised at a time, about."""

Role = Literal["state", "input", "target"]
Dtype = Literal["float16", "float32"]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of field of a task, and how it is normalised and cut."""

    role: Role
    shape: tuple[int, ...]
    """[N, T, *S, C] of states, [N, *S, C] of a static task's inputs and targets."""
    patch: int | patches.Edges
    """Edge of a patch in cells, or one per axis where they differ; divides every axis."""
    mean: tuple[float, ...]
    """Per channel, of the train split; as are the deviations."""
    std: tuple[float, ...]

    @property
    def plain(self) -> bool:
        """Its coefficients are the values themselves."""
        return not any(self.mean) and all(value == 1.0 for value in self.std)

    @property
    def normalisation(self) -> tuple[Array, Array]:
        """What is subtracted, and what is divided by then, of a row of so many values; `row` says how long.

        A channel that never changes is not scaled.
        """
        times = self.row // self.shape[-1]
        std = [value if value > 0 else 1.0 for value in self.std]
        return np.tile(np.asarray(self.mean, np.float32), times), np.tile(np.asarray(std, np.float32), times)

    @property
    def row(self) -> int:
        """Values of some whole patches, of which a state has a whole number: arithmetic likes them long."""
        tokens = math.prod(self.tokens)
        most = max(1, _ROW // self.values)
        return self.values * max(count for count in range(1, min(most, tokens) + 1) if tokens % count == 0)

    @property
    def grid(self) -> tuple[int, ...]:
        return self.shape[2 if self.role == "state" else 1 : -1]

    @property
    def edges(self) -> patches.Edges:
        """Cells of a patch along each axis."""
        return patches.edges_of(self.patch, len(self.grid))

    @property
    def tokens(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return patches.cut(self.grid, self.edges)

    @property
    def values(self) -> int:
        """Values of a patch."""
        return math.prod(self.edges) * self.shape[-1]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """[N, (T,) tokens, values]."""
        return (*self.shape[: -1 - len(self.grid)], math.prod(self.tokens), self.values)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a cache of one split depends on."""

    task: str
    split: str
    parts: tuple[Part, ...]
    dim: int
    """Width of a latent token; a patch may not have more values."""
    dtype: Dtype
    dataset_sha256: str
    projection: str = NORMALISED
    seed: int | None = None
    """Of a random projection; patches that are kept as they are need none."""

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold of it: lists for tuples."""
        content: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **asdict(self)}))
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Raises KeyError, TypeError and ValueError where it is none, or none of this format."""
        if content["format"] != FORMAT:
            raise ValueError(f"it is of format {content['format']}, this version reads {FORMAT}")
        parts = tuple(
            Part(**{name: _tupled(value) for name, value in part.items()}) for part in content["parts"]
        )
        return cls(**{name: content[name] for name in cls.__slots__ if name != "parts"}, parts=parts)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def fingerprint(recipe: Recipe) -> str:
    """Hash of all that decides what a cache holds: equal recipes, equal bytes."""
    text = json.dumps(recipe.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(recipe: Recipe, record: Mapping[str, Any]) -> tuple[str, ...]:
    """What keeps a stored cache from being the one that a recipe describes, in words.

    Args:
        recipe: what is wanted.
        record: what a manifest says of the cache, or its recipe alone.

    Returns:
        An entry for each part that differs, such as `dtype float32, wanted float16`; () where none does.
    """
    found, wanted = dict(record.get("recipe", record)), recipe.to_json()
    different = [name for name, key in _PARTS.items() if _values(found, key) != _values(wanted, key)]
    if "dtype" in different:  # it decides the projection, and with it the normalisation
        different = [name for name in different if name not in ("projection", "normalisation")]
    return tuple(
        f"{name} {_said(found, _PARTS[name])}, wanted {_said(wanted, _PARTS[name])}" for name in different
    )


_PARTS = {
    "format": ("format",),
    "task": ("task",),
    "split": ("split",),
    "dataset sha256": ("dataset_sha256",),
    "shape": ("parts", "shape"),
    "patch": ("parts", "patch"),
    "dtype": ("dtype",),
    "normalisation": ("parts", "mean", "std"),
    "projection": ("projection",),
    "seed": ("seed",),
    "token width": ("dim",),
}
"""Word → where a recipe's JSON holds it; of `parts` what each part says under the names that follow."""


def _values(content: Mapping[str, Any], key: tuple[str, ...]) -> list[Any]:
    value = content.get(key[0])
    if key[0] != "parts":
        return [value]
    return [[part.get(name) for name in key[1:]] for part in value or ()]


def _said(content: Mapping[str, Any], key: tuple[str, ...]) -> str:
    if key == ("dataset_sha256",):
        return str(content.get(key[0]))[:12]
    return " and ".join(
        " ± ".join(map(_listed, value)) if isinstance(value, list) else str(value)
        for value in _values(content, key)
    )


def _listed(value: Any) -> str:
    if not isinstance(value, list):
        return f"{value}"
    return "[" + ", ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value) + "]"


def recipe_of(
    entry: catalog.DatasetEntry,
    split: str,
    *,
    dim: int,
    patch: int | patches.Edges | None,
    tokens: int,
    dtype: Dtype,
) -> Recipe:
    """The recipe for one split of a dataset in the store.

    Args:
        entry: the dataset; its manifest states shapes, statistics and hashes.
        split: train, val or test.
        dim: width of a latent token.
        patch: edge of a patch, or one per axis; None: the one that a model would choose.
        tokens: most patches of a state.
        dtype: of the stored coefficients.

    Raises:
        DataError: the dataset is not verified.
        ConfigError: no patch of at most `dim` values fits.
    """
    if entry.state != "verified":
        raise DataError(
            f"{entry.task} is {entry.state}: {entry.note}", hint="a cache needs a verified dataset"
        )
    spec, stored, statistics = task_spec(entry.task), entry.splits[split], entry.statistics
    if not spec.spatial_dims or spec.modality != "grid":
        raise ConfigError(f"{entry.task} has no grid to cut into patches; only grid tasks can be cached")
    target = _part("target" if spec.static else "state", stored.shape, spec.spatial_dims, statistics, "")
    parts = [target]
    if spec.static:
        shape = (*stored.shape[:-1], len(spec.input_fields))
        parts.insert(0, _part("input", shape, spec.spatial_dims, statistics, "input_"))
    projection = NORMALISED
    if dtype == "float32":
        projection, parts = PLAIN, [_plain(part) for part in parts]
    cells = dim // max(part.shape[-1] for part in parts)
    edges = patches.edges_of(patch, spec.spatial_dims) if patch else None
    edges = edges or patches.choose(target.grid, tokens=tokens, cells=cells)
    cut = tuple(_cut(entry.task, part, edges, dim) for part in parts)
    return Recipe(entry.task, split, cut, dim, dtype, stored.sha256, projection)


def _plain(part: Part) -> Part:
    channels = part.shape[-1]
    return replace(part, mean=(0.0,) * channels, std=(1.0,) * channels)


def _part(
    role: Role, shape: tuple[int, ...], dims: int, statistics: Mapping[str, tuple[float, ...]], prefix: str
) -> Part:
    if len(shape) != dims + (3 if role == "state" else 2):
        raise DataError(f"the manifest states the shape {list(shape)}, which has not {dims} spatial axes")
    return Part(role, shape, 1, statistics[f"{prefix}mean"], statistics[f"{prefix}std"])


def _cut(task: str, part: Part, edges: patches.Edges, dim: int) -> Part:
    text = " × ".join(map(str, edges))
    if not patches.divides(part.grid, edges):
        raise ConfigError(f"a patch of {text} cells does not divide the grid {list(part.grid)} of {task}")
    cut = Part(part.role, part.shape, patches.compact(edges), part.mean, part.std)
    if cut.values > dim:
        raise ConfigError(
            f"a patch of {task} has {cut.values} values ({text} cells), more than a token's {dim}:"
            " its projection is fitted when a run starts, and cannot be cached before",
            hint="train without a cache (fields are memory-mapped), or allow more tokens or a wider latent",
        )
    return cut


def encode(field: Array, part: Part, dtype: Dtype) -> Array:
    """Fields [n, (T,) *S, C] in physical units → coefficients [n, (T,) tokens, values]."""
    dims, lead = len(part.grid), field.shape[: -1 - len(part.grid)]
    first = len(lead)
    split = [size for pair in zip(part.tokens, part.edges, strict=True) for size in pair][:-1]
    tokens = range(first, first + 2 * dims, 2)
    within = range(first + 1, first + 2 * dims - 1, 2)
    cut = _rearranged(field, (*lead, *split), (*range(first), *tokens, *within), _run(part))
    coefficients = cut.reshape(*lead, math.prod(part.tokens), part.values)
    if not part.plain:
        mean, std = part.normalisation
        rows = coefficients.reshape(coefficients.size // part.row, part.row) - mean
        rows /= std
        coefficients = rows.reshape(coefficients.shape)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and writing a shard refuses that
        return np.ascontiguousarray(coefficients, dtype)


def decode(coefficients: Array, part: Part) -> Array:
    """The fields that `encode` was given, up to the dtype's rounding."""
    dims, lead = len(part.grid), coefficients.shape[:-2]
    values = _widened(coefficients) if coefficients.dtype == np.float16 else coefficients
    if not part.plain:
        mean, std = part.normalisation
        values = values.reshape(values.size // part.row, part.row) * std
        values += mean
    first = len(lead)
    order = [first]
    for axis in range(1, dims):
        order += [first + dims + axis - 1, first + axis]
    cut = (*lead, *part.tokens, *part.edges[:-1])
    field = _rearranged(values, cut, (*range(first), *order), _run(part))
    return field.reshape(*lead, *part.grid, part.shape[-1])


def _run(part: Part) -> int:
    """Values that lie side by side in a patch and in the field: those of its cells along the last axis."""
    return part.edges[-1] * part.shape[-1]


def _rearranged(values: Array, shape: Sequence[int], order: Sequence[int], run: int) -> Array:
    """The values with the axes of `shape` in another order.

    Args:
        values: any shape; what `shape` says, with a last axis of `run` values.
        shape: of all axes but that one.
        order: of these axes.
        run: values that stay together: moved as one item, several times as fast as one by one.

    Returns:
        [*S, run], S being `shape` in its new order.
    """
    items = values.reshape(*shape, run).view(f"V{run * values.itemsize}")[..., 0]
    moved: Array = np.ascontiguousarray(items.transpose(order))
    return moved[..., None].view(values.dtype)


def _widened(halves: Array) -> Array:
    """Finite float16 as float32, eight times as fast as numpy, which goes from value to value.

    Sign, exponent and fraction are shifted to where float32 has them, and the exponent's other bias is a
    power of two. Where the processor flushes denormal numbers, those below 6e-5 become 0.
    """
    bits = halves.view(np.int16).astype(np.int32)  # the sign fills all higher bits
    bits <<= 13
    bits &= np.int32(-0x70002000)  # of the sign's copies only the highest is kept
    values: Array = bits.view(np.float32)
    values *= np.float32(2.0**112)
    return values
