"""What is in the store, what it costs, and fetching, verifying and deleting it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from console.api import (
    KILOBYTES,
    AreaUsage,
    CacheRow,
    CacheVerdict,
    DatasetRow,
    FetchResult,
    GarbageRow,
    Inventory,
    Progress,
    StoreUsage,
)
from console.context import Context
from ups.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from console.runs.usage import RunUse
    from console.storage import Saving
    from ups.cache_catalog import CacheEntry
    from ups.catalog import DatasetEntry
    from ups.fetching import Wanted
    from ups.garbage import Rules
    from ups.listing import Listing


class StoreOperations(Context):
    """Over the store that the settings name."""

    # --- what there is ------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """Everything in the store, from one sweep over its keys.

        Raises:
            StoreError: the store cannot be read.
        """
        from console.rows import cache_row, dataset_row
        from console.runs.usage import uses
        from ups import cache_catalog, catalog
        from ups.tasks import TASK_SPECS

        listing = self._listing()
        entries = catalog.datasets_in(listing)
        known = {entry.task: entry for entry in entries}
        runs, terms, now = uses(self.registry), self.settings.store_terms, time.time()
        worth = self._appraiser(known, runs)
        return Inventory(
            [dataset_row(spec, known.get(name), runs, terms) for name, spec in TASK_SPECS.items()],
            [
                cache_row(entry, runs=runs, terms=terms, worth=worth(entry), now=now)
                for entry in cache_catalog.caches_in(listing, entries)
            ],
            self._usage(listing),
        )

    def datasets(self) -> list[DatasetRow]:
        """All 15 tasks, the missing ones included; raises like `inventory`."""
        return self.inventory().datasets

    def caches(self) -> list[CacheRow]:
        """The latent caches in the store; raises like `inventory`."""
        return self.inventory().caches

    def store_usage(self) -> StoreUsage:
        """What the store holds in all, and what that costs; raises like `inventory`."""
        return self._usage(self._listing())

    def living_users(self, *, tasks: Sequence[str], version: str = "") -> list[str]:
        """Runs with a living instance that use these tasks' datasets, or caches of that version."""
        from console.runs.usage import uses

        living = {entry.run for entry in self.ledger.entries() if entry.living and entry.run}
        return [
            use.run
            for use in uses(self.registry)
            if use.run in living
            and (use.cache_version == version or not version)
            and (not tasks or set(tasks) & set(use.tasks))
        ]

    # --- doing things with it -----------------------------------------------------------------

    def fetch_data(
        self, tasks: Sequence[str], folder: Path, *, replace: bool = False, progress: Progress | None = None
    ) -> FetchResult:
        """Bring the files of datasets to a folder, under their plain names; what is there is kept.

        Args:
            tasks: whose datasets.
            folder: made where it is not there.
            replace: overwrite files of these names that are others.
            progress: told of the kilobytes.

        Raises:
            NotFoundError: the store holds nothing of a task.
            DataError: a dataset is not verified: nothing says what its files should be.
            UsageError: a file of that name is another one.
            StoreError: no space, or the store does not have what its manifest says.
        """
        from ups import catalog
        from ups.fetching import Wanted

        store, wanted = self.store(), []
        for task in dict.fromkeys(tasks):
            entry = catalog.dataset(store, task)
            catalog.require_verified(entry)
            wanted += [
                Wanted(split.key, split.bytes, split.sha256, folder / Path(split.key).name)
                for split in entry.splits.values()
            ]
        what = f"fetch {tasks[0]}" if len(tasks) == 1 else f"fetch {len(tasks)} datasets"
        return self._fetch(wanted, folder, replace, _telling(what, progress))

    def verify_data(self, tasks: Sequence[str], progress: Progress | None = None) -> dict[str, str]:
        """Read every byte of the datasets; task → its state. Empty `tasks`: all that the store has."""
        from ups import catalog

        store = self.store()
        names = tasks or [entry.task for entry in catalog.datasets(store)]
        return {task: catalog.verify(store, task, _in_kilobytes(progress)).state for task in names}

    def stored_dataset(self, task: str) -> DatasetRow:
        """What the store holds of one task. Raises NotFoundError where it holds nothing."""
        from console.rows import dataset_row
        from console.runs.usage import uses
        from ups import catalog
        from ups.tasks import task_spec

        entry = catalog.dataset(self.store(), task)
        return dataset_row(task_spec(task), entry, uses(self.registry), self.settings.store_terms)

    def delete_data(self, task: str) -> None:
        """Remove a dataset from the store. Raises NotFoundError where there is none."""
        from ups import catalog

        catalog.delete(self.store(), task)

    def fetch_caches(
        self,
        version: str,
        tasks: Sequence[str],
        folder: Path,
        *,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> FetchResult:
        """Bring the verified caches of a version to `folder/{version}`, laid out as in the store.

        Args:
            version: of the caches.
            tasks: whose; empty: all.
            folder: made where it is not there.
            replace: overwrite files of these names that are others.
            progress: told of the kilobytes.

        Raises:
            NotFoundError: there is no such version, or it has nothing of a task.
            DataError: none of them is verified.
            UsageError, StoreError: as `fetch_data`.
        """
        from ups import cache_catalog
        from ups.fetching import Wanted

        chosen = cache_catalog.chosen(self._cache_entries(), version, tasks)
        sound = [entry for entry in chosen if entry.state is cache_catalog.CacheState.VERIFIED]
        if not sound:
            raise DataError(
                f"no cache of {version} can be used: {chosen[0].task} is {chosen[0].state}, {chosen[0].note}",
                hint=f"`ups-console caches build {version} {chosen[0].task}`",
            )
        wanted = [
            Wanted(file.key, file.bytes, file.sha256, _cache_path(folder, entry, file.key))
            for entry in sound
            for file in entry.files
        ]
        result = self._fetch(wanted, folder, replace, _telling(f"fetch {version}", progress))
        cache_catalog.write_manifests(self.store(), sound, lambda entry: _cache_path(folder, entry))
        return result

    def verify_caches(
        self, version: str, tasks: Sequence[str] = (), progress: Progress | None = None
    ) -> list[CacheVerdict]:
        """Read every byte of a version's caches, of some tasks or of all; raises like `fetch_caches`."""
        from ups import cache_catalog

        store, verdicts = self.store(), []
        for entry in cache_catalog.chosen(self._cache_entries(), version, tasks):
            tell = _telling(f"verify {entry.task} {entry.split}", progress)
            found = cache_catalog.verify(store, entry, tell)
            verdicts.append(
                CacheVerdict(version, found.task, found.split, found.fingerprint, found.state, found.note)
            )
        return verdicts

    def stored_caches(self, version: str, tasks: Sequence[str] = ()) -> list[CacheRow]:
        """A version's caches, of some tasks or of all; raises like `delete_caches`."""
        from ups import cache_catalog

        return cache_catalog.chosen(self.caches(), version, tasks)

    def delete_caches(self, version: str, tasks: Sequence[str] = ()) -> int:
        """Remove a version's caches, of some tasks or of all; returns how many objects went.

        Raises:
            NotFoundError: there is no such version, or it has nothing of a task.
        """
        from ups import cache_catalog

        store = self.store()
        return cache_catalog.delete(store, cache_catalog.chosen(self._cache_entries(), version, tasks))

    def find_garbage(self, *, stale: bool = False, least_age_s: float | None = None) -> list[GarbageRow]:
        """What nothing refers to; changes nothing.

        Args:
            stale: also caches of datasets that were replaced.
            least_age_s: what is younger stays; None: a day.

        Raises:
            StoreError: the store cannot be read.
        """
        from ups import garbage

        listing = self._listing(unfinished=True)
        found = garbage.find(listing, self._rules(stale, least_age_s))
        return [GarbageRow(item.key, item.bytes, item.why, item.modified) for item in found]

    def collect_garbage(
        self, shown: Sequence[GarbageRow], *, stale: bool = False, least_age_s: float | None = None
    ) -> list[GarbageRow]:
        """Remove of these what is garbage still, by the rules by which it was found; returns what went.

        Raises:
            StoreError: the store refuses.
        """
        from ups import garbage

        keys = {row.key for row in shown}
        gone = garbage.collect(self.store(), keys, self._rules(stale, least_age_s))
        return [GarbageRow(item.key, item.bytes, item.why, item.modified) for item in gone]

    # --- parts --------------------------------------------------------------------------------

    def _listing(self, *, unfinished: bool = False) -> "Listing":
        import hashlib

        from ups.listing import ManifestMemory, sweep

        store = self.store()
        name = hashlib.sha256(store.url.encode()).hexdigest()[:16]
        memory = ManifestMemory(self.home.manifests / f"{name}.json")
        return sweep(store, memory=memory, unfinished=unfinished)

    def _rules(self, stale: bool, least_age_s: float | None) -> "Rules":
        from console.runs.usage import spec_texts
        from ups.garbage import LEAST_AGE_S, Rules

        age = LEAST_AGE_S if least_age_s is None else least_age_s
        return Rules(stale=stale, least_age_s=age, run_specs=tuple(spec_texts(self.registry)))

    def _cache_entries(self) -> "list[CacheEntry]":
        from ups import cache_catalog

        return cache_catalog.caches_in(self._listing())

    def _usage(self, listing: "Listing") -> StoreUsage:
        from console.storage import usd_per_month

        terms = self.settings.store_terms
        return StoreUsage(
            url=self.settings.store_url,
            areas={str(area): AreaUsage(usage.objects, usage.bytes) for area, usage in listing.usage.items()},
            bytes=listing.bytes,
            usd_per_month=usd_per_month(listing.bytes, terms),
            free_egress_bytes=terms.free_egress * listing.bytes if terms else None,
            usd_per_gb_egress=terms.usd_per_gb_egress if terms else None,
        )

    def _appraiser(
        self, datasets: "Mapping[str, DatasetEntry]", runs: "Sequence[RunUse]"
    ) -> "Callable[[CacheEntry], Saving | None]":
        """What tells the worth of a cache to a run; None of one that no run can use."""
        from console.runs.pace import measured_mbit_per_s
        from console.storage import saving
        from ups.cache_catalog import CacheState

        terms, moves = self.settings.storage, self.settings.store_terms is not None
        measured = measured_mbit_per_s(self.registry, runs) if moves else None
        terms = replace(terms, mbit_per_s=measured) if measured is not None else terms
        price = self._usd_per_hour() if moves else 0.0

        def appraise(entry: "CacheEntry") -> "Saving | None":
            if entry.state is not CacheState.VERIFIED:
                return None
            split = datasets[entry.task].splits[entry.split]
            return saving(
                field_bytes=split.bytes, cache_bytes=entry.bytes, usd_per_hour=price, terms=terms, moves=moves
            )

        return appraise

    def _usd_per_hour(self) -> float:
        """Of the instance that was rented last, else as the settings assume."""
        rented = [entry for entry in self.ledger.entries() if entry.usd_per_hour > 0]
        newest = max(rented, key=lambda entry: entry.created, default=None)
        return newest.usd_per_hour if newest is not None else self.settings.storage.usd_per_hour

    def _fetch(
        self, wanted: "Sequence[Wanted]", folder: Path, replace: bool, progress: "Callable[[int, int], None]"
    ) -> FetchResult:
        from ups.fetching import fetch

        done = fetch(self.store(), wanted, replace=replace, progress=progress)
        return FetchResult(str(folder), tuple(map(str, done.fetched)), tuple(map(str, done.kept)))


def _cache_path(folder: Path, entry: "CacheEntry", key: str = "") -> Path:
    """Where the folder of a cache's split, or one of its files, is fetched to."""
    below = key.removeprefix(f"{entry.folder}/")
    return folder / entry.version / f"{entry.task}_{entry.split}" / below


def _in_kilobytes(progress: Progress | None) -> Progress:
    """Told of bytes, tells of kilobytes, which people can read."""

    def tell(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"{what}{KILOBYTES}", -(-done // 1000), -(-total // 1000))

    return tell


def _telling(what: str, progress: Progress | None) -> "Callable[[int, int], None]":
    tell = _in_kilobytes(progress)
    return lambda done, total: tell(what, done, total)
