"""What a cache version fixes for all tasks, and the recipe of each task's cache. Free of torch."""

from dataclasses import dataclass

from ups import catalog
from ups.config import TrainConfig
from ups.data.latents import version_shape
from ups.data.projection import Dtype, Recipe, recipe_of
from ups.errors import ConfigError
from ups.patches import Edges


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The width and number of tokens, their dtype, and patches that a config decides."""

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
        named = version_shape(version)
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
    def of_config(
        cls, config: TrainConfig, *, version: str | None = None, dtype: Dtype = "float16"
    ) -> "CacheShape":
        """The cache that a run with this config would read.

        Args:
            config: the experiment.
            version: under which it lies; None: the one that is named after its shape.
            dtype: of its coefficients.

        Raises:
            ConfigError: the config pools its fields; caches hold them at full resolution.
        """
        if config.data.patch_size > 1:
            raise ConfigError(
                "data.patch_size: pooled fields are not cached",
                hint="train without a cache: fields are memory-mapped",
            )
        dim, tokens = config.latent.dim, config.latent.tokens
        named = version or f"upt_{dim}d_{tokens}tok"
        return cls(named, dim, tokens, dtype, tuple(config.operator.patch.items()))

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
