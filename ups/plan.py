"""The typed schema of `configs/plans/*.yaml`: a chain of runs with decision gates. Free of torch."""

import re
from pathlib import Path

from pydantic import Field, model_validator

from ups.config import TrainConfig
from ups.tasks import TASK_SPECS
from ups.yaml_config import KeyedError, Section, load_section, nearest

_VERSION = re.compile(r"upt_\d+d_\d+tok")


class Phase(Section):
    """One step of a plan: data that must be there, and a run that must pass its gates."""

    name: str = Field(min_length=1)
    """For people; no two phases share it."""
    why: str = ""
    """What it is to show."""
    data: tuple[str, ...] = ()
    """Tasks whose datasets the store must hold."""
    caches: tuple[str, ...] = ()
    """Versions of latent caches to train from: the one that fits the config; none: from the fields."""
    configs: tuple[str, ...] = ()
    """The first is launched, the others are other ways through the phase. What the gates make of one of
    them, `NAME-verdict`, belongs to the phase too."""
    minutes: float | None = Field(None, gt=0)
    """How long the run takes, as long as none was seen; null: unknown."""
    machine: str = ""
    """The machine on which it takes that."""

    @model_validator(mode="after")
    def _is_something(self) -> "Phase":
        if not self.data and not self.configs:
            raise KeyedError("needs data or configs", "name")
        for index, task in enumerate(self.data):
            if task not in TASK_SPECS:
                near = nearest(task, TASK_SPECS)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise KeyedError(f"there is no task {task!r}{hint}", "data", index)
        for index, version in enumerate(self.caches):
            if not _VERSION.fullmatch(version):
                raise KeyedError(f"{version!r} is no cache version such as upt_128d_128tok", "caches", index)
        return self

    def has(self, config: str) -> bool:
        """Whether a config of that name belongs to the phase."""
        return any(config == name or config.startswith(f"{name}-") for name in self.configs)

    def cache_of(self, config: TrainConfig) -> str | None:
        """The phase's cache that fits the config; None: it trains from the fields."""
        version = f"upt_{config.latent.dim}d_{config.latent.tokens}tok"
        return version if version in self.caches else None


class Plan(Section):
    """Phases, one after the other; each goes on where the run before has passed its gates."""

    why: str = ""
    """What the whole is for."""
    phases: tuple[Phase, ...] = Field(min_length=1)
    """In their order."""

    @model_validator(mode="after")
    def _names_differ(self) -> "Plan":
        seen: set[str] = set()
        for index, phase in enumerate(self.phases):
            if phase.name in seen:
                raise KeyedError(f"two phases are called {phase.name}", "phases", index, "name")
            seen.add(phase.name)
        return self


def load_plan(path: Path) -> Plan:
    """Read and validate a plan.

    Raises:
        ConfigError: unreadable, not YAML, or not the schema; names file, line and key.
    """
    return load_section(Plan, path)
