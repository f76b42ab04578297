"""How long a start would take at the sizes that PDEBench publishes: bytes by bandwidth, and measured rates.

Nothing is downloaded: this is a simulation, in which a line is always full.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remote.hydrate import groups
from ups.catalog import DatasetEntry, SplitEntry
from ups.config import TrainConfig
from ups.data.projection import Recipe, recipe_of
from ups.errors import ConfigError
from ups.tasks import task_spec

SHAPES = {
    "advection1d": (10_000, 201, 1024, 1),
    "burgers1d": (10_000, 201, 1024, 1),
    "darcy2d": (10_000, 128, 128, 1),
    "reaction_diffusion2d": (1_000, 101, 128, 128, 2),
    "navier_stokes2d": (4, 1_000, 512, 512, 3),
}
"""Of one published file of each task: [N, T, *S, C], or [N, *S, C]."""
ONE_FILE = dict.fromkeys(SHAPES, 1)
ALL_FILES = {
    "advection1d": 8, "burgers1d": 12, "darcy2d": 5, "reaction_diffusion2d": 1, "navier_stokes2d": 8,
}  # fmt: skip
"""All that are published, but for navier_stokes2d, of which there are 250 (3 TB)."""
_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes of fields per second."""

    line: float
    prepare: float
    """Statistics, changes and bases of the trained split: what precedes the first step."""
    encode: float
    """Into a latent cache."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start to the first training step, and what has to come."""

    first_gb: float
    all_gb: float
    at_once_s: float
    first_tasks_s: float
    recomputed_s: float
    """The latent caches of all tasks that can have one are built before the first step, as a run does it."""
    cached_s: float
    """First tasks first, the cache of their trained split fetched instead of its fields."""


def simulated(config: TrainConfig, files: Mapping[str, int], rates: Rates) -> Start:
    """The start of a run of this config on so many published files of each task."""
    tasks = config.data.task
    first = groups(config)[0]
    needed = sum(_bytes(task, files[task]) for task in first)
    everything = sum(_bytes(task, files[task]) for task in tasks)
    trained = _SHARES["train"] * needed
    cacheable = {task: size for task in tasks if (size := _cache_bytes(config, task, files[task]))}
    encoded = _SHARES["train"] * sum(_bytes(task, files[task]) for task in cacheable)
    awaited = sum(_bytes(task, files[task]) for task in {*first, *cacheable})
    saved = sum(
        _SHARES["train"] * (_bytes(task, files[task]) - size)
        for task, size in cacheable.items()
        if task in first
    )
    prepared = trained / rates.prepare
    return Start(
        needed / 1e9, everything / 1e9,
        at_once_s=everything / rates.line + _SHARES["train"] * everything / rates.prepare,
        first_tasks_s=needed / rates.line + prepared,
        recomputed_s=awaited / rates.line + encoded / rates.encode + prepared,
        cached_s=(needed - saved) / rates.line + prepared,
    )  # fmt: skip


def markdown(rows: Sequence[tuple[str, str, Start]]) -> str:
    """The table for the docs: (config, which files, its start)."""
    head = (
        "| config | files | first tasks of all, GB | all at once | first tasks first"
        " | … latents recomputed | … latents from the cache |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {name} | {which} | {start.first_gb:.1f} of {start.all_gb:.1f} |"
        + "".join(
            f" {_minutes(seconds)} |"
            for seconds in (start.at_once_s, start.first_tasks_s, start.recomputed_s, start.cached_s)
        )
        + "\n"
        for name, which, start in rows
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _bytes(task: str, files: int) -> float:
    """Of a converted dataset, float32."""
    spec, shape = task_spec(task), SHAPES[task]
    channels = len(spec.fields) + (len(spec.input_fields) if spec.static else 0)
    return 4.0 * files * math.prod(shape[:-1]) * channels


def _cache_bytes(config: TrainConfig, task: str, files: int) -> float:
    """Of a dataset's float16 latent cache; 0 where a patch does not fit a token."""
    try:
        recipe = _recipe(config, task)
    except ConfigError:
        return 0.0
    return 2.0 * files * sum(math.prod(part.latent_shape) for part in recipe.parts)


def _recipe(config: TrainConfig, task: str) -> Recipe:
    shape = SHAPES[task]
    stored = SplitEntry("", 0, shape[0], shape, "0", 1.0)
    ones = (1.0,) * max(len(task_spec(task).fields), 1)
    statistics = dict.fromkeys(("mean", "std", "input_mean", "input_std"), ones)
    entry = DatasetEntry(task, "verified", {"train": stored}, statistics=statistics)
    return recipe_of(
        entry, "train", dim=config.latent.dim, patch=config.operator.patch.get(task),
        tokens=config.latent.tokens, dtype="float16",
    )  # fmt: skip
