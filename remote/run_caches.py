"""The latent caches that a run trains from, where it is asked to: which, from where, and why not.

Only what is trained on comes out of a cache. Validation and test keep to the converted files: their numbers
must not be of rounded truth. Once decided, it stays so for the run, whatever becomes of the store.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from remote import precompute
from remote.environment import cores
from remote.files import write_json
from remote.hydrate import Datasets
from remote.precompute import Building, Progress
from remote.verified import VerifiedFiles
from ups import catalog
from ups.data import latents
from ups.data.cache_shape import CacheShape
from ups.data.convert import Labour
from ups.data.projection import Recipe, fingerprint
from ups.errors import ConfigError, DataError, NotFoundError, UpsError
from ups.rundir import PRECOMPUTE_VARIABLE, RESET_VARIABLE, RunDirectory, RunSpec
from ups.store import ObjectStore
from ups.variables import flag_of

_DECIDED_FILE = "caches.json"
_KNOWN_FILE = "verified-caches.json"
_NEVER_CACHED = ("val", "test")

Told = Callable[[str], None]


def is_set(variable: str) -> bool:
    """Whether an environment variable asks for something; raises ConfigError where it says neither."""
    return bool(flag_of(variable, os.environ.get(variable, "")))


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
    def asked(self) -> bool:
        """Whether the run is to train from caches, where it can."""
        return bool(self.recipes or self.reasons)

    @property
    def lacking(self) -> list[str]:
        """Tasks whose caches have to be built."""
        return [task for task in self.recipes if task not in self.stored]

    @property
    def replaced(self) -> frozenset[tuple[str, str]]:
        """(task, split) whose fields need not be here: the store has their caches."""
        return frozenset((task, self.split) for task in self.stored)

    @property
    def downloads(self) -> Path:
        """Where caches go that are fetched, beside the run directory and shared by the runs there."""
        return self.directory.root.parent / "data" / "caches"

    def built(self, datasets: Datasets, progress: Progress, tell: Told) -> "RunCaches":
        """These caches with those built that the store lacks; a task whose cache cannot be keeps its fields.

        Args:
            datasets: the converted files of the tasks whose caches are lacking.
            progress: called with (task, samples done, samples in all).
            tell: told in a sentence what is unusual.
        """
        stored, reasons = set(self.stored), dict(self.reasons)
        for task in self.lacking:
            why = self._build(self.recipes[task], datasets, progress, tell)
            if why is None:
                stored.add(task)
            else:
                reasons[task] = why
        recipes = {task: recipe for task, recipe in self.recipes.items() if task in stored}
        return replace(self, recipes=recipes, reasons=reasons, stored=frozenset(stored))

    def settle(self, tell: Told) -> None:
        """Say which tasks train from their fields, and remember for the rest of the run which do not.

        Raises:
            StoreError: the run directory cannot be written.
        """
        for task, why in self.reasons.items():
            tell(f"{task} trains from its fields: {why}")
        used = {task: fingerprint(recipe) for task, recipe in self.recipes.items()}
        write_json(self.directory.root / _DECIDED_FILE, used)

    def size(self, tasks: Iterable[str]) -> int:
        """Bytes of the caches that the store has of some tasks."""
        records = [latents.complete(self.store, self.version, self.recipes[task]) for task in self._of(tasks)]
        return sum(record.bytes for record in records if record is not None)

    def bring(self, tasks: Iterable[str], progress: Progress) -> dict[str, Path]:
        """task → its cache on this machine, for those of these tasks that the store has one of.

        Args:
            tasks: any of the run's.
            progress: called with (task, bytes done, bytes in all of its cache); may raise to stop.

        Raises:
            StoreError: a cache of the store is damaged, or the disk has no room for it.
        """
        known = VerifiedFiles(self.directory.root / _KNOWN_FILE)
        return {
            task: precompute.provide(
                self.store, self.version, self.recipes[task], self.downloads, known, progress
            )
            for task in self._of(tasks)
        }

    def ready(self, tasks: Iterable[str]) -> dict[str, Path] | None:
        """Like `bring` where all of these caches are here and known to be right; else None."""
        known = VerifiedFiles(self.directory.root / _KNOWN_FILE)
        found = {}
        for task, folder in self.places(tasks).items():
            record = latents.complete(self.store, self.version, self.recipes[task])
            if record is None or any(known.sha256(folder / f.file) != f.sha256 for f in record.files):
                return None
            found[task] = folder
        return found

    def places(self, tasks: Iterable[str]) -> dict[str, Path]:
        """Where `bring` puts the caches of some tasks, or will."""
        return {
            task: precompute.place(self.store, self.version, self.recipes[task], self.downloads)
            for task in self._of(tasks)
        }

    def _of(self, tasks: Iterable[str]) -> list[str]:
        return [task for task in tasks if task in self.stored]

    def _build(self, recipe: Recipe, datasets: Datasets, progress: Progress, tell: Told) -> str | None:
        """Build a cache from the fields that are here; why that cannot be done, where it cannot."""
        differs = latents.mismatch(self.store, self.version, recipe)
        if differs and not self.reset:
            tell(f"{self.version} of {recipe.task} {recipe.split} is built anew: {'; '.join(differs)}")
        building = Building(Labour(jobs=cores()), reset=self.reset, keep=self.downloads)
        try:
            fields = datasets[recipe.task][recipe.split]
            precompute.build(self.store, recipe, fields, self.version, progress, building)
        except UpsError as error:  # the fields are here: without a cache the run is none the worse
            return error.message
        return None


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
