"""The latent caches that a run trains from, where it is asked to: which, from where, and why not.

Only what is trained on comes out of a cache. Validation and test keep to the converted files: their numbers
must not be of rounded truth. Once decided, it stays so for the run, whatever becomes of the store.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from remote import precompute
from remote.environment import cores
from remote.evaluate import write_json
from remote.hydrate import Datasets, VerifiedFiles
from remote.precompute import Building, CacheShape, Progress
from ups import catalog
from ups.data import latents
from ups.data.convert import Labour
from ups.data.projection import Recipe, fingerprint
from ups.errors import ConfigError, DataError, NotFoundError, UpsError
from ups.rundir import RunDirectory, RunSpec
from ups.store import ObjectStore

PRECOMPUTE_VARIABLE = "PRECOMPUTE_LATENT"
RESET_VARIABLE = "RESET_CACHE"
_DECIDED_FILE = "caches.json"
_KNOWN_FILE = "verified-caches.json"
_NEVER_CACHED = ("val", "test")

Told = Callable[[str], None]
Telling = Callable[[str], Progress]


def is_set(variable: str) -> bool:
    """Whether an environment variable asks for something."""
    return os.environ.get(variable, "0") not in ("", "0")


@dataclass(frozen=True, slots=True)
class RunCaches:
    """The caches of one run; of no task where none is asked for."""

    spec: RunSpec
    store: ObjectStore
    directory: RunDirectory
    version: str = ""
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """task → the cache that it trains from."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """task → why it trains from its fields, though a cache was asked for."""
    stored: frozenset[str] = frozenset()
    """Those of these tasks whose cache the store has: it is used as it is."""
    reset: bool = False
    """All others are built, whatever the store has of them."""

    @classmethod
    def of(cls, spec: RunSpec, store: ObjectStore, directory: RunDirectory) -> "RunCaches":
        """What a run's spec, the environment and an earlier process of the run ask for."""
        if not (spec.precompute or spec.cache_version or is_set(PRECOMPUTE_VARIABLE)):
            return cls(spec, store, directory)
        decided = _decided(directory)
        recipes: dict[str, Recipe] = {}
        reasons: dict[str, str] = {}
        version = ""
        for task in spec.tasks:
            try:
                shape = CacheShape.of_config(spec.config, version=spec.cache_version, dtype=spec.cache_dtype)
                recipe = _recipe(spec, store, task, shape)
            except (ConfigError, DataError, NotFoundError) as error:
                reasons[task] = error.message
                continue
            version = shape.version
            if decided is None or decided.get(task) == fingerprint(recipe):
                recipes[task] = recipe
            else:
                reasons[task] = "this run has begun with its fields"
        reset = is_set(RESET_VARIABLE) and decided is None
        stored = {
            task
            for task, recipe in recipes.items()
            if not reset and latents.complete(store, version, recipe) is not None
        }
        return cls(spec, store, directory, version, recipes, reasons, frozenset(stored), reset)

    @property
    def split(self) -> str:
        return self.spec.config.data.split

    @property
    def replaced(self) -> frozenset[tuple[str, str]]:
        """(task, split) whose fields need not be here: the store has their caches."""
        return frozenset((task, self.split) for task in self.stored)

    def provide(self, datasets: Datasets, downloads: Path, telling: Telling, tell: Told) -> Datasets:
        """The datasets with the trained split out of the caches, which are built where the store lacks them.

        Args:
            datasets: the converted files that are here.
            downloads: where caches go that are fetched.
            telling: unit (`samples` or `bytes`) → what is told of the progress.
            tell: told in a sentence what is unusual.

        Raises:
            StoreError: a cache of the store is damaged, or the disk has no room for it.
        """
        found = {task: dict(files) for task, files in datasets.items()}
        known = VerifiedFiles(self.directory.root / _KNOWN_FILE)
        used: dict[str, str] = {}
        for task, recipe in self.recipes.items():
            if task not in self.stored and not self._build(recipe, datasets, telling, tell):
                continue
            found[task][self.split] = precompute.provide(
                self.store, self.version, recipe, downloads, known, telling("bytes")
            )
            used[task] = fingerprint(recipe)
        for task, why in self.reasons.items():
            tell(f"{task} trains from its fields: {why}")
        write_json(self.directory.root / _DECIDED_FILE, used)
        return found

    def _build(self, recipe: Recipe, datasets: Datasets, telling: Telling, tell: Told) -> bool:
        """Build a cache from the fields that are here; False where that cannot be done."""
        differs = latents.mismatch(self.store, self.version, recipe)
        if differs and not self.reset:
            tell(f"{self.version} of {recipe.task} {recipe.split} is built anew: {'; '.join(differs)}")
        building = Building(Labour(jobs=cores()), reset=self.reset)
        try:
            precompute.build(
                self.store,
                recipe,
                datasets[recipe.task][recipe.split],
                self.version,
                telling("samples"),
                building,
            )
        except UpsError as error:  # the fields are here: without a cache the run is none the worse
            tell(f"{recipe.task} trains from its fields: {error.message}")
            return False
        return True


def _recipe(spec: RunSpec, store: ObjectStore, task: str, shape: CacheShape) -> Recipe:
    """Raises ConfigError, DataError and NotFoundError where there can be no cache."""
    split = spec.config.data.split
    if split in _NEVER_CACHED:
        raise ConfigError(f"data.split: {split} is judged on too, and that is never done on a cache")
    recipe = shape.recipe(catalog.dataset(store, task), split)
    if recipe.dataset_sha256 != spec.datasets.get(task, {}).get(split):
        raise DataError("the store's dataset is not the one that run.yaml pins")
    return recipe


def _decided(directory: RunDirectory) -> Mapping[str, str] | None:
    """task → fingerprint of the cache that an earlier process of the run has trained from."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((directory.root / _DECIDED_FILE).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    return None
