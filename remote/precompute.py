"""Builds latent caches into the store. Needs no model: what is cached is the fixed projection."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from remote.verified import VerifiedFiles
from ups import catalog
from ups.data import cache_build, crew, latents
from ups.data.cache_build import CacheBuild, CacheFile, ShardPlan
from ups.data.cache_shape import CacheShape
from ups.data.cached_fields import COLUMNS_FILE
from ups.data.convert import Labour
from ups.data.latents import CacheRecord
from ups.data.projection import Recipe, fingerprint
from ups.errors import NotFoundError, StoreError
from ups.store import Download, ObjectStore, file_sha256, free_bytes

Progress = Callable[[str, int, int], None]
"""Called with (task, samples or bytes done, of them in all); may raise to stop."""

_POLL_SECONDS = 0.1
_WORTH_BYTES = 512 * 1024 * 1024
"""Of coefficients; below that, starting one more process takes longer than doing without."""


@dataclass(frozen=True, slots=True)
class Building:
    """How caches are built."""

    labour: Labour = field(default_factory=Labour)
    """The processes that do it."""
    reset: bool = False
    """Build also what the store has."""
    shard_bytes: int = cache_build.SHARD_BYTES
    keep: Path | None = None
    """Where the files stay on this machine too, if the store is not on it; like `provide`'s folder."""


_BUILDING = Building()


def missing(
    store: ObjectStore,
    tasks: Sequence[str],
    shape: CacheShape,
    splits: Sequence[str] = catalog.SPLITS,
    *,
    reset: bool = False,
) -> list[Recipe]:
    """The caches that the store lacks, or with `reset` all of them.

    Raises:
        NotFoundError, DataError, ConfigError: a dataset is not there, not verified, or cannot be cached.
        StoreError: a manifest is damaged, or of a newer version of this program.
    """
    wanted = [
        shape.recipe(entry, split)
        for entry in (catalog.dataset(store, task) for task in tasks)
        for split in splits
    ]
    return [recipe for recipe in wanted if reset or latents.complete(store, shape.version, recipe) is None]


def build(
    store: ObjectStore,
    recipe: Recipe,
    file: Path,
    version: str,
    progress: Progress,
    building: Building = _BUILDING,
) -> CacheRecord:
    """Build one cache from a verified converted file; an interrupted build goes on where it was.

    Under `torchrun` every process calls it, and the main one stores the cache.

    Raises:
        StoreError: the store refuses, or another process builds this very cache.
        DataError: the values do not fit the dtype, or the file is not what its manifest says.
    """
    if not building.labour.ranks.is_main:
        return _help(store, recipe, file, version, building)
    if building.reset:
        latents.remove(store, version, recipe)
        store.discard_workspaces(_workspace_name(recipe))
    with store.workspace(_workspace_name(recipe)) as folder:
        work = _work(store, recipe, file, version, building)
        told = _Told(work, progress)
        lacking = sum(len(shard.span) for shard in work.missing()) * work.sample_bytes
        _refuse_full(folder, lacking, f"a cache of {recipe.task}")
        _share(work, building, told.add)
        while left := work.missing():  # of other processes, which begin with their first
            work.convert(left[-1], partial(told.add, left[-1]))
        files = work.finish()
        if building.keep is not None and store.local_path(_dataset_key(store, recipe)) is None:
            _keep([folder / file.file for file in files], building.keep / fingerprint(recipe))
        return latents.publish(store, version, recipe, files, folder)


def _keep(files: Sequence[Path], target: Path) -> None:
    """Give the files of a build a second name, under which they stay when they are sent away."""
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = target / file.name
        copy.unlink(missing_ok=True)
        # what an interrupted build has sent already, and across file systems everything, is fetched again
        with contextlib.suppress(OSError):
            copy.hardlink_to(file)


def _dataset_key(store: ObjectStore, recipe: Recipe) -> str:
    return catalog.dataset(store, recipe.task).splits[recipe.split].key


def _help(store: ObjectStore, recipe: Recipe, file: Path, version: str, building: Building) -> CacheRecord:
    """Build this process's share of a cache that the main process stores."""
    folder = store.shared_workspace(_workspace_name(recipe))
    while not folder.is_dir():
        if (record := latents.complete(store, version, recipe)) is not None:
            return record
        time.sleep(_POLL_SECONDS)
    work = _work(store, recipe, file, version, building)
    try:
        _share(work, building, lambda shard, samples: None)
    except StoreError:
        if latents.complete(store, version, recipe) is None:  # else the main process was faster
            raise
    while (record := latents.complete(store, version, recipe)) is None:
        time.sleep(_POLL_SECONDS)
    return record


def _workspace_name(recipe: Recipe) -> str:
    return f"cache-{fingerprint(recipe)[:16]}"


def _work(store: ObjectStore, recipe: Recipe, file: Path, version: str, building: Building) -> CacheBuild:
    """A build as it stands: what the store, or an interrupted process, has of it is kept."""
    folder = store.shared_workspace(_workspace_name(recipe))
    record = latents.records(store, version, recipe.task, recipe.split).get(fingerprint(recipe))
    known = {shard.file: shard for shard in (record.shards if record else ())}
    for shard in cache_build.plan(recipe, building.shard_bytes):
        moved = cache_build.read_record(folder / shard.file)
        if moved is not None and not (folder / shard.file).is_file():
            known[shard.file] = moved
    kept = {name: file for name, file in known.items() if latents.holds(store, version, recipe, file)}
    return CacheBuild(recipe, file, folder, kept=kept, shard_bytes=building.shard_bytes)


def _share(work: CacheBuild, building: Building, counted: Callable[[ShardPlan, int], None]) -> None:
    """Build this process's share of the shards that are missing."""
    labour = building.labour
    own = [shard for shard in work.missing() if shard.number % labour.ranks.world_size == labour.ranks.rank]
    jobs = min(labour.jobs, len(own), max(1, work.bytes // _WORTH_BYTES))
    crew.share(work, own, jobs=jobs, size=work.bytes, counted=counted)


class _Told:
    """Progress of a build in samples, those included that were done before."""

    def __init__(self, work: CacheBuild, progress: Progress) -> None:
        self._task, self._progress = work.recipe.task, progress
        self._total = sum(len(shard.span) for shard in work.shards)
        self._done = self._total - sum(len(shard.span) for shard in work.missing())

    def add(self, shard: ShardPlan, samples: int) -> None:
        self._done += samples
        self._progress(self._task, self._done, self._total)


def _refuse_full(where: Path, needed: int, what: str) -> None:
    free = free_bytes(where)
    if needed > free:
        raise StoreError(
            f"no space left in {where} for {what}: {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free",
            hint="free some space, or train without a cache",
        )


def provide(
    store: ObjectStore, version: str, recipe: Recipe, folder: Path, known: VerifiedFiles, progress: Progress
) -> Path:
    """A cache of the store on this machine, every byte of it verified once.

    Args:
        store: has the cache; where it is a directory of this machine, the cache is used in place.
        version: of the cache.
        recipe: of the cache.
        folder: where a cache goes that is fetched, in a folder named by its fingerprint; what an
            interrupted process has left there is not fetched again.
        known: which files were hashed before.
        progress: called with (task, bytes done, bytes in all).

    Returns:
        The cache's folder, for `ups.data.split.open_split`.

    Raises:
        NotFoundError: the store does not have the cache.
        StoreError: a file does not have its hash, or the disk has no room.
    """
    record = latents.complete(store, version, recipe)
    if record is None:
        raise NotFoundError(f"the store has no complete cache {version} of {recipe.task} {recipe.split}")
    fetching = _Fetching(recipe.task, record, known, progress)
    target = place(store, version, recipe, folder)
    if folder not in target.parents:
        fetching.require(target)
        return target
    target.mkdir(parents=True, exist_ok=True)
    lacking = [file for file in record.files if not fetching.has(target / file.file, file)]
    _refuse_full(target, sum(file.bytes for file in lacking), f"the cache of {recipe.task}")
    downloads = [
        Download(latents.cache_key(version, recipe, file.file), target / file.file, file.sha256)
        for file in lacking
    ]
    store.download_all(downloads, progress=fetching.further)
    for file in lacking:
        known.trust(target / file.file, file.sha256)
    return target


def place(store: ObjectStore, version: str, recipe: Recipe, folder: Path) -> Path:
    """Where `provide` puts a cache: where it is, if the store is on this machine."""
    in_place = store.local_path(latents.cache_key(version, recipe, COLUMNS_FILE))
    return folder / fingerprint(recipe) if in_place is None else in_place.parent


class _Fetching:
    """The files of a cache on their way to being proven, and how many bytes are."""

    def __init__(self, task: str, record: CacheRecord, known: VerifiedFiles, progress: Progress) -> None:
        self._task, self._record, self._known, self._progress = task, record, known, progress
        self._done = 0

    def has(self, path: Path, file: CacheFile) -> bool:
        """Whether the file is there, as its record says."""
        if not path.is_file() or path.stat().st_size != file.bytes:
            return False
        if self._known.sha256(path) != file.sha256:
            found = self._known.verify(path, lambda done: self.further(done, 0))
            if found != file.sha256:
                return False
        self._done += file.bytes
        self.further(0, 0)
        return True

    def require(self, folder: Path) -> None:
        """Raises StoreError where a file of the cache is not as its record says."""
        for file in self._record.files:
            if not self.has(folder / file.file, file):
                raise StoreError(
                    f"{folder / file.file} is missing or damaged",
                    hint="build the cache again with RESET_CACHE=1, or `ups-console caches verify` it",
                )

    def further(self, done: int, _: int) -> None:
        self._progress(self._task, self._done + done, self._record.bytes)


def stored_file(store: ObjectStore, recipe: Recipe, scratch: Path) -> Path:
    """The converted file of a recipe, in place or fetched to `scratch`, verified by its hash.

    Raises:
        StoreError: the file does not have the recipe's sha256.
    """
    key = _dataset_key(store, recipe)
    local = store.local_path(key)
    if local is None:
        local = scratch / f"{recipe.dataset_sha256}.h5"
        store.download(key, local, sha256=recipe.dataset_sha256)
    elif file_sha256(local) != recipe.dataset_sha256:
        raise StoreError(
            f"{local} is damaged or being replaced", hint=f"`ups-console data verify {recipe.task}`"
        )
    return local
