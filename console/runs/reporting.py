"""What a run reports to Weights & Biases: said before paying, and what its box has to know for it."""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from console.api import Check, Level
from console.errors import LoginError
from console.settings import Settings
from ups.dataset_keys import KEY_VARIABLE as DATASET_VARIABLE
from ups.errors import ConfigError
from ups.rundir import RunDirectory, RunSpec
from ups.wandb_terms import KEY_VARIABLE, Mode, terms_of

if TYPE_CHECKING:
    from ups.config import TrainConfig

_KEY_CHARACTERS = 40
_LATER = "`ups-console wandb-sync RUN` sends them"


def checks(config: "TrainConfig", settings: Settings) -> Iterator[Check]:
    """Where the metrics will go; nothing where the config does not ask for W&B."""
    wanted = config.logging.wandb
    if not wanted.enabled:
        return
    terms = terms_of(wanted, settings.wandb_environment)
    key = settings.wandb_environment.get(KEY_VARIABLE, "").strip()
    if terms.mode is Mode.ONLINE and len(key) < _KEY_CHARACTERS:
        yield Check(
            Level.WARNING,
            f"{KEY_VARIABLE} has {len(key)} characters, and W&B's keys {_KEY_CHARACTERS} or more: it will be "
            f"refused, and metrics stay offline; {_LATER}",
            hint="https://wandb.ai/authorize shows the key",
        )
    elif terms.mode is Mode.ONLINE:
        yield Check(Level.OK, f"W&B key found: metrics go online, to {terms.where}")
    elif terms.mode is Mode.DISABLED:
        yield Check(Level.OK, f"W&B is switched off: {terms.reason}")
    elif settings.wandb_environment.get(KEY_VARIABLE):
        yield Check(Level.OK, f"{terms.reason}: W&B metrics stay offline; {_LATER}")
    else:
        yield Check(
            Level.WARNING,
            "no W&B key: metrics stay offline and are synced later",
            hint=f"set {KEY_VARIABLE}, now or later: {_LATER}",
        )


def is_needed(spec: RunSpec, settings: Settings) -> bool:
    """Whether the run's box needs wandb: to report to it, or to fetch its data from there."""
    terms = terms_of(spec.config.logging.wandb, settings.wandb_environment)
    return terms.mode is not Mode.DISABLED or DATASET_VARIABLE in spec.variables


def environment(spec: RunSpec, settings: Settings) -> Mapping[str, str]:
    """What the run's process is told of W&B; the key only where it will be used."""
    if not is_needed(spec, settings):
        return {}
    terms = terms_of(spec.config.logging.wandb, settings.wandb_environment)
    uses_key = terms.mode is Mode.ONLINE or DATASET_VARIABLE in spec.variables
    given = settings.wandb_environment.items()
    return {name: value for name, value in given if uses_key or name != KEY_VARIABLE}


def require_key(settings: Settings) -> None:
    """Raises LoginError where nothing can be sent to W&B, ConfigError where wandb is not installed here."""
    if not settings.wandb_environment.get(KEY_VARIABLE):
        raise LoginError(f"there is no {KEY_VARIABLE}", hint="set it in the environment or in .env")
    if importlib.util.find_spec("wandb") is None:
        raise ConfigError("wandb is not installed here", hint="pip install 'ups-console[train]'")


def gaps(directory: RunDirectory, record: Mapping[str, Any] | None) -> list[str]:
    """What W&B will not have of an attempt, in words.

    Args:
        directory: the mirror of the attempt.
        record: what was sent of it; None: nothing, for want of events.
    """
    name = directory.root.name
    if record is None:
        return [f"{name}: no events were mirrored"]
    return [f"{name}: {missing} is not here" for missing in record["missing"]]
