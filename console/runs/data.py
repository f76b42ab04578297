"""The data of a run as its launch sees them: what is pinned, what is cached, and what is missing."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from console.api import Check, LaunchRequest, Level, RentOptions
from ups.dataset_keys import KEY_VARIABLE, DatasetKeys
from ups.errors import NotFoundError, UpsError

if TYPE_CHECKING:
    from ups.config import TrainConfig
    from ups.data.projection import Recipe
    from ups.rundir import DatasetPins
    from ups.store import ObjectStore

LOCAL = "local"
"""This machine: nothing is rented."""
BESIDE_DATA_GB = 12
"""Of a rented disk: a torch that has to be installed, checkpoints, rollouts."""


def checks(store: "ObjectStore", tasks: Sequence[str], keys: DatasetKeys) -> Iterator[Check]:
    """Whether each task can be trained on; a key of it makes up for what the store lacks."""
    from ups import catalog

    for task in tasks:
        try:
            if pins(store, [task], keys):
                samples = catalog.dataset(store, task).splits["train"].samples
                yield Check(Level.OK, f"{task}: {samples} training samples")
                continue
            key = keys.key_of(task)
            yield Check(Level.WARNING, f"{task}: the store lacks it, the machine is to fetch {key}",
                        hint=f"{KEY_VARIABLE} says so; nothing pins what comes")  # fmt: skip
        except UpsError as error:
            yield Check(Level.FAILED, error.message, hint=error.hint, code=error.code)


def disk_checks(store: "ObjectStore", tasks: Sequence[str], rent: RentOptions) -> Iterator[Check]:
    """Whether the disk that would be rented holds the data; what the store lacks is not counted."""
    from ups import catalog

    if rent.provider == LOCAL or rent.instance is not None:
        return
    disk_gb, data_gb = rent.query.disk_gb + (rent.volume_gb or 0), 0.0
    for task in tasks:
        with contextlib.suppress(UpsError):  # told already
            data_gb += catalog.dataset(store, task).bytes / 1e9
    if data_gb > disk_gb:
        yield Check(
            Level.FAILED,
            f"a disk of {disk_gb:.0f} GB is too small for {data_gb:.1f} GB of data",
            hint=f"--disk {math.ceil((data_gb + BESIDE_DATA_GB) * 4 / 3)}",
            code="config",
        )


def cache_checks(store: "ObjectStore", config: "TrainConfig", request: LaunchRequest) -> Iterator[Check]:
    """Which tasks would train from a latent cache, which caches would be built first, and why."""
    from ups import catalog
    from ups.data.cache_shape import CacheShape

    for task in config.data.task:
        try:
            shape = CacheShape.of_config(config, version=request.cache_version, dtype=request.cache_dtype)
            recipe = shape.recipe(catalog.dataset(store, task), config.data.split)
            yield _cache_check(store, shape.version, recipe)
        except UpsError as error:
            yield Check(Level.WARNING, f"{task} trains from its fields: {error.message}", hint=error.hint)


def _cache_check(store: "ObjectStore", version: str, recipe: "Recipe") -> Check:
    from ups.data import latents

    record = latents.complete(store, version, recipe)
    if record is not None:
        return Check(Level.OK, f"{recipe.task}: cache {version} is there, {record.bytes / 1e6:.0f} MB")
    differs = latents.mismatch(store, version, recipe)
    why = f": {'; '.join(differs)}" if differs else ""
    return Check(Level.WARNING, f"{recipe.task}: cache {version} is built before the training{why}")


def pins(store: "ObjectStore", tasks: Sequence[str], keys: DatasetKeys) -> "DatasetPins":
    """What run.yaml pins: every task but those that the store lacks and a key names.

    Raises:
        NotFoundError, DataError: like `ups.catalog.pins`.
    """
    from ups import catalog

    found = dict[str, dict[str, str]]()
    for task in tasks:
        try:
            found |= catalog.pins(store, [task])
        except NotFoundError:
            if keys.key_of(task) is None:
                raise
    return found
