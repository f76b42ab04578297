"""The fixed part of the encoder: normalised fields cut into patches, and what identifies that.

A patch of at most `latent.dim` values is kept as it is, before the isometry embeds it: multiplied by
the encoder's basis it gives the very tokens. A hash of strings, the fingerprint, says what a cache of
them holds: free of torch, so that a laptop knows before paying.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ups import catalog, patches
from ups.errors import ConfigError, DataError
from ups.tasks import task_spec

FORMAT = 1
"""Version of what a cache holds."""

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
    projection: str = "normalised-patches"
    seed: int | None = None
    """Of a random projection; patches that are kept as they are need none."""

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def fingerprint(recipe: Recipe) -> str:
    """Hash of all that decides what a cache holds: equal recipes, equal bytes."""
    text = json.dumps(recipe.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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
    cells = dim // max(part.shape[-1] for part in parts)
    edges = patches.edges_of(patch, spec.spatial_dims) if patch else None
    edges = edges or patches.choose(target.grid, tokens=tokens, cells=cells)
    cut = tuple(_cut(entry.task, part, edges, dim) for part in parts)
    return Recipe(entry.task, split, cut, dim, dtype, stored.sha256)


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
    normalised = (field - np.asarray(part.mean, np.float32)) / _safe(part.std)
    dims = len(part.grid)
    lead = normalised.shape[: -1 - dims]
    split = [size for pair in zip(part.tokens, part.edges, strict=True) for size in pair]
    cut = normalised.reshape(*lead, *split, part.shape[-1])
    first = len(lead)
    order = [
        *range(first),
        *range(first, first + 2 * dims, 2),
        *range(first + 1, first + 2 * dims, 2),
        cut.ndim - 1,
    ]
    coefficients: Array = cut.transpose(order).reshape(*lead, math.prod(part.tokens), part.values)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and writing a shard refuses that
        return coefficients.astype(dtype)


def decode(coefficients: Array, part: Part) -> Array:
    """The fields that `encode` was given, up to the dtype's rounding."""
    dims, channels = len(part.grid), part.shape[-1]
    lead = coefficients.shape[:-2]
    cut = coefficients.astype(np.float32).reshape(*lead, *part.tokens, *part.edges, channels)
    first = len(lead)
    pairs = [axis for i in range(dims) for axis in (first + i, first + dims + i)]
    field = cut.transpose([*range(first), *pairs, cut.ndim - 1]).reshape(*lead, *part.grid, channels)
    restored: Array = field * _safe(part.std) + np.asarray(part.mean, np.float32)
    return restored


def _safe(std: tuple[float, ...]) -> Array:
    """A channel that never changes is not scaled."""
    return np.asarray([value if value > 0 else 1.0 for value in std], np.float32)
