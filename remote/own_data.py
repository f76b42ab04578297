"""The data of a run on a machine whose processes follow: the files that the main process trains on, again."""

from dataclasses import dataclass, replace
from typing import Any

from remote.hydrate import Datasets, Hydrator
from remote.journal import say
from remote.run_caches import RunCaches
from ups.errors import TrainingError
from ups.rundir import RunDirectory
from ups.store import open_store


@dataclass(frozen=True, slots=True)
class OwnData:
    """Brought from the run's store, into this machine's run directory."""

    directory: RunDirectory

    def begin(self) -> None:
        """Bring what is sure to be needed, while the main process brings its own.

        Raises:
            StoreError, NotFoundError: as `Hydrator.hydrate`.
        """
        hydrator, caches = self._sources()
        replace(hydrator, left_out=caches.replaced).hydrate(_unheard)
        say("data of this machine: here and verified")

    def like(self, datasets: Datasets) -> dict[str, dict[str, str]]:
        """task → split → file or cache on this machine, of the same content as the main process's.

        Args:
            datasets: what that one trains on; a folder is a latent cache.

        Raises:
            TrainingError: it trains from a cache that cannot be had here.
            StoreError, NotFoundError: as `Hydrator.hydrate`.
        """
        hydrator, caches = self._sources()
        split = caches.split
        cached = [task for task, of in datasets.items() if split in of and of[split].suffix != ".h5"]
        built = caches
        if any(task in caches.lacking for task in cached):
            built = caches.built(hydrator.hydrate(_unheard, caches.lacking), _unheard, say)
        if lacking := [task for task in cached if task not in built.stored]:
            raise TrainingError(
                f"the main machine trains from caches of {', '.join(lacking)}, which cannot be had here",
                hint="launch with --no-precompute, or with a bucket that all machines reach",
            )
        left_out = frozenset((task, split) for task in cached)
        found = replace(hydrator, left_out=left_out).hydrate(_unheard)
        places = built.bring(cached, _unheard)
        return {
            task: {
                **{name: str(file) for name, file in of.items()},
                **({split: str(places[task])} if task in places else {}),
            }
            for task, of in found.items()
        }

    def _sources(self) -> tuple[Hydrator, RunCaches]:
        spec = self.directory.read_spec()
        store = open_store(spec.store)
        return Hydrator(spec, store, self.directory), RunCaches.of(spec, store, self.directory)


def _unheard(*_: Any) -> None:
    """The main process tells how its own data come; these come at the same pace."""
