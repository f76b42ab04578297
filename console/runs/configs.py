"""The configs that can be launched: the shipped ones, and any path."""

import statistics
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.api import ConfigEntry
from ups.errors import ConfigError, UpsError

if TYPE_CHECKING:
    from ups.config import EvalConfig, TrainConfig

DEFAULT = "local_2task"


def shipped() -> list[Path]:
    """The training configs of this distribution, the embedded default first."""
    folder = Path(str(resources.files("configs")))
    found = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("eval_"))
    return sorted(found, key=lambda path: path.stem != DEFAULT)


def plans() -> list[Path]:
    """The plans of this distribution."""
    return sorted(Path(str(resources.files("configs"))).glob("plans/*.yaml"))


def of_user(folder: Path) -> list[Path]:
    """The training configs of a folder of the user's."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("eval_"))


def find_plan(name: Path) -> Path:
    """The file of a plan given as a path or as the name of a shipped one.

    Raises:
        ConfigError: there is neither.
    """
    if name.is_file():
        return name
    folder = Path(str(resources.files("configs"))) / "plans"
    path = folder / f"{name.stem}.yaml"
    if path.exists() and name.parent in (Path(), Path("configs/plans")):
        return path
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise ConfigError(f"there is no plan {name}", hint=f"shipped are {known}; or give the path of a file")


def _named(name: Path) -> Path | None:
    """The shipped config of that name, evaluation configs included."""
    path = Path(str(resources.files("configs"))) / f"{name.stem}.yaml"
    return path if path.exists() and name.parent in (Path(), Path("configs")) else None


def find(name: Path) -> Path:
    """The file of a config given as a path or as the name of a shipped one.

    Raises:
        ConfigError: there is neither.
    """
    if name.exists():
        return name
    named = _named(name)
    if named is not None:
        return named
    known = ", ".join(path.stem for path in shipped())
    raise ConfigError(f"there is no config {name}", hint=f"shipped are {known}; or give the path of a file")


def load(
    name: Path,
    *,
    tasks: Sequence[str] = (),
    stage: str | None = None,
    overrides: Sequence[str] = (),
    patch: Mapping[str, Any] | None = None,
) -> "tuple[Path, TrainConfig]":
    """Find and validate a config, with the tasks, the one stage, the overrides and the patch of a launch.

    Raises:
        ConfigError: names file, line and key.
    """
    from ups.config import load_train_config
    from ups.config_patch import patched

    path = find(name)
    chosen = [f"data.task=[{', '.join(tasks)}]"] if tasks else []
    config = load_train_config(path, [*overrides, *chosen])
    if patch:
        config = patched(config, patch)
    if stage is not None:
        if stage not in config.stages.names:
            defined = ", ".join(config.stages.names)
            raise ConfigError(f"{path} has no stage {stage}", hint=f"it defines {defined}")
        others: dict[str, None] = {
            name: None for name in config.stages.names if name not in (stage, "operator")
        }
        config = config.model_copy(update={"stages": config.stages.model_copy(update=others)})
    return path, config


def evaluations(config: Path | None, test_config: Path | None) -> "dict[str, EvalConfig]":
    """split → how a run judges it at its end, of the evaluation configs that a launch names.

    Raises:
        ConfigError: one cannot be loaded, names a checkpoint or tasks, or both are of one split.
    """
    from ups.config import load_eval_config

    found: dict[str, EvalConfig] = {}
    for name in filter(None, (config, test_config)):
        path = find(name)
        content = load_eval_config(path)
        split = content.data.split
        for key, value in (("checkpoint", content.checkpoint), ("data.task", content.data.task)):
            if value:
                raise ConfigError(f"{path}: {key} must not be given: a run judges its own checkpoint",
                                  hint="`ups-console evaluate RUN --config FILE` can")  # fmt: skip
        if split in found:
            raise ConfigError(f"{path}: data.split is {split}, and so is the other evaluation config's",
                              hint="one is of val, the other of test")  # fmt: skip
        found[split] = content
    return found


def describe(path: Path, seconds: Sequence[float]) -> ConfigEntry:
    """A config as the launch screen lists it, with the median of its earlier durations."""
    from ups.capabilities import unsupported

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


def validate(name: Path, overrides: Sequence[str]) -> ConfigEntry:
    """Load a training config, or an evaluation config (`eval_*`).

    Raises:
        ConfigError: names file, line and key.
    """
    from ups.config import load_eval_config

    if not name.stem.startswith("eval_"):
        path, config = load(name, overrides=overrides)
        return ConfigEntry(path, path.stem, config.data.task, config.stages.names, None, None)
    content = load_eval_config(find(name), overrides)
    tasks = content.data.task if content.data is not None else ()
    return ConfigEntry(find(name), name.stem, tasks, (), None, None)
