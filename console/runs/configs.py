"""The configs that can be launched: the shipped ones, and any path."""

import statistics
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from console.api import ConfigEntry
from ups.errors import ConfigError, UpsError

if TYPE_CHECKING:
    from ups.config import TrainConfig

DEFAULT = "local_2task"


def shipped() -> list[Path]:
    """The training configs of this distribution, the embedded default first."""
    folder = Path(str(resources.files("configs")))
    found = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("eval_"))
    return sorted(found, key=lambda path: path.stem != DEFAULT)


def find(name: Path) -> Path:
    """The file of a config given as a path or as the name of a shipped one.

    Raises:
        ConfigError: there is neither.
    """
    if name.exists():
        return name
    for path in shipped():
        if name.stem == path.stem and name.parent in (Path(), Path("configs")):
            return path
    known = ", ".join(path.stem for path in shipped())
    raise ConfigError(f"there is no config {name}", hint=f"shipped are {known}; or give the path of a file")


def load(
    name: Path, *, tasks: Sequence[str] = (), overrides: Sequence[str] = ()
) -> "tuple[Path, TrainConfig]":
    """Find and validate a config, with the tasks and `key=value` overrides of a launch.

    Raises:
        ConfigError: names file, line and key.
    """
    from ups.config import load_train_config

    path = find(name)
    chosen = [f"data.task=[{', '.join(tasks)}]"] if tasks else []
    return path, load_train_config(path, [*overrides, *chosen])


def describe(path: Path, seconds: Sequence[float]) -> ConfigEntry:
    """A config as the launch screen lists it, with the median of its earlier durations."""
    from ups.support import unsupported

    tasks: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    problem = None
    try:
        config = load(path)[1]
        tasks, stages = config.data.task, config.stages.names
        problem = next(iter(unsupported(config)), None)
    except UpsError as error:
        problem = error.message
    duration = statistics.median(seconds) if seconds else None
    return ConfigEntry(path, path.stem, tasks, stages, problem, duration)
