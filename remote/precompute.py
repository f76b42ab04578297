"""Builds latent caches into the store. Needs no model: what is cached is the fixed projection."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ups import catalog
from ups.config import TrainConfig
from ups.data import latents
from ups.data.fields import Fields
from ups.data.latents import Shard
from ups.data.projection import Dtype, Recipe, recipe_of
from ups.errors import ConfigError, StoreError
from ups.patches import Edges
from ups.store import ObjectStore, file_sha256

Progress = Callable[[str, int, int], None]
"""Called with (task, samples done, samples in all); may raise to stop."""


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What a cache version fixes for all tasks."""

    version: str
    dim: int
    tokens: int
    dtype: Dtype = "float16"
    patch: tuple[tuple[str, int | Edges], ...] = ()
    """(task, patch edge or edges) where a config decides it."""

    @classmethod
    def of_version(cls, version: str, *, dim: int | None, tokens: int | None, dtype: Dtype) -> "CacheShape":
        """The shape that a version's name states; options may only say what it does not.

        Raises:
            ConfigError: neither the name nor the options say it, or they contradict.
        """
        if not version or "/" in version or version.startswith("."):
            raise ConfigError(f"{version!r} is no cache version", hint="write a name such as upt_128d_128tok")
        named = latents.version_shape(version)
        if named is None and (dim is None or tokens is None):
            raise ConfigError(
                f"the version {version} does not say how wide it is",
                hint="give --cache-dim and --cache-tokens, or name it like upt_128d_128tok",
            )
        shape = (dim or (named or (0, 0))[0], tokens or (named or (0, 0))[1])
        if named is not None and shape != named:
            raise ConfigError(
                f"the version {version} contradicts a cache of {shape[0]} dims, {shape[1]} tokens"
            )
        return cls(version, *shape, dtype=dtype)

    @classmethod
    def of_config(cls, config: TrainConfig) -> "CacheShape":
        """The cache that a run with this config would read.

        Raises:
            ConfigError: the config pools its fields; caches hold them at full resolution.
        """
        if config.data.patch_size > 1:
            raise ConfigError(
                "data.patch_size: pooled fields are not cached",
                hint="train without a cache: fields are memory-mapped",
            )
        dim, tokens = config.latent.dim, config.latent.tokens
        return cls(f"upt_{dim}d_{tokens}tok", dim, tokens, patch=tuple(config.operator.patch.items()))

    def recipe(self, entry: catalog.DatasetEntry, split: str) -> Recipe:
        """Raises like `ups.data.projection.recipe_of`."""
        return recipe_of(
            entry,
            split,
            dim=self.dim,
            patch=dict(self.patch).get(entry.task),
            tokens=self.tokens,
            dtype=self.dtype,
        )


def missing(store: ObjectStore, tasks: Sequence[str], shape: CacheShape) -> list[Recipe]:
    """The caches that the store lacks, of all splits of the tasks.

    Raises:
        NotFoundError, DataError, ConfigError: a dataset is not there, not verified, or cannot be cached.
    """
    wanted = [
        shape.recipe(entry, split)
        for entry in (catalog.dataset(store, task) for task in tasks)
        for split in catalog.SPLITS
    ]
    return [recipe for recipe in wanted if not latents.complete(store, shape.version, recipe)]


def build(
    store: ObjectStore,
    recipe: Recipe,
    file: Path,
    shape: CacheShape,
    progress: Progress,
    *,
    shard_bytes: int = latents.SHARD_BYTES,
) -> int:
    """Build one cache from a verified converted file; returns its bytes.

    Raises:
        StoreError: the store refuses.
        DataError: the values do not fit the dtype, or the file is not what its manifest says.
    """
    fields = Fields.open(file)
    with store.staging() as folder:
        shards = latents.write_shards(fields, recipe, folder, shard_bytes=shard_bytes)
        told = _telling(shards, recipe.task, fields.samples, progress)
        record = latents.publish_shards(store, shape.version, recipe, told, folder)
    return sum(int(shard["bytes"]) for shard in record["shards"])


def _telling(shards: Iterator[Shard], task: str, total: int, progress: Progress) -> Iterator[Shard]:
    done = 0
    for shard in shards:
        done += shard.samples
        yield shard
        progress(task, done, total)


def stored_file(store: ObjectStore, recipe: Recipe, scratch: Path) -> Path:
    """The converted file of a recipe, in place or fetched to `scratch`, verified by its hash.

    Raises:
        StoreError: the file does not have the recipe's sha256.
    """
    key = catalog.dataset(store, recipe.task).splits[recipe.split].key
    local = store.local_path(key)
    if local is None:
        local = scratch / f"{recipe.dataset_sha256}.h5"
        store.download(key, local, sha256=recipe.dataset_sha256)
    elif file_sha256(local) != recipe.dataset_sha256:
        raise StoreError(
            f"{local} is damaged or being replaced", hint=f"`ups-console data verify {recipe.task}`"
        )
    return local
