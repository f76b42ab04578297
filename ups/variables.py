"""Environment variables that the program heeds: from the environment, else from an `.env` file, and which.

`ENV_FILE` names the file; without it `.env` in the working directory is read where there is one. Light to
import.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from ups.dotenv import Assignment, read_dotenv
from ups.errors import ConfigError, NotFoundError

FILE_VARIABLE = "ENV_FILE"
DEFAULT_FILE = Path(".env")
ENVIRONMENT = "environment"

_PREFIXES = ("AWS_", "B2_", "UPS_", "VAST_", "VULTR_", "WANDB_")
_NAMES = (
    "DATASET_KEY", "DISK_GB", "EVAL_CONFIG", "EVAL_TEST_CONFIG", "FALLBACK_GPU", "GPU_PREF", "IMAGE",
    "PDEBENCH_ROOT", "PDEBENCH_ROOT_REMOTE", "PRECOMPUTE_LATENT", "RESET_CACHE", "TORCHINDUCTOR_DISABLE",
    "TRAIN_CONFIG", "TRAIN_EXTRA_ARGS",
)  # fmt: skip

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Variables(Mapping[str, str]):
    """Everything that is set, the environment before the file."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: Path | None = None
    """None: there is none."""
    assigned: Mapping[str, Assignment] = field(default_factory=dict, repr=False)
    """By the file."""

    @classmethod
    def gather(cls, environment: Mapping[str, str] | None = None) -> "Variables":
        """Those of the process, or of `environment`, and of the file that it names.

        Raises:
            ConfigError: a line of the file is malformed, or it cannot be read.
            NotFoundError: the file that `ENV_FILE` names is not there.
        """
        given = dict(os.environ if environment is None else environment)
        named = given.get(FILE_VARIABLE, "").strip()
        if named:
            try:
                return cls(given, Path(named), read_dotenv(Path(named).expanduser()))
            except NotFoundError as error:
                raise NotFoundError(f"{FILE_VARIABLE}: {error.message}",
                                    hint=f"correct {FILE_VARIABLE}, or unset it") from None  # fmt: skip
        if not DEFAULT_FILE.is_file():  # a folder of that name is somebody's virtual environment
            return cls(given)
        return cls(given, DEFAULT_FILE, read_dotenv(DEFAULT_FILE))

    def __getitem__(self, name: str) -> str:
        if name in self.environment:
            return self.environment[name]
        return self.assigned[name].value

    def __iter__(self) -> Iterator[str]:
        return iter({**self.assigned, **self.environment})

    def __len__(self) -> int:
        return len({**self.assigned, **self.environment})

    def text(self, name: str) -> str:
        """The value without spaces at its ends; empty where it is not set."""
        return self.get(name, "").strip()

    def flag(self, name: str) -> bool | None:
        """What a variable that switches something says; None where it is not set or empty.

        Raises:
            ConfigError: it is neither yes nor no.
        """
        return flag_of(name, self.text(name), self.origin(name))

    def origin(self, name: str) -> str:
        """Where a variable that is set was found: the environment, or file and line."""
        if name in self.environment or name not in self.assigned:
            return ENVIRONMENT
        return f"{self.file}, line {self.assigned[name].line}"


def flag_of(name: str, value: str, origin: str = ENVIRONMENT) -> bool | None:
    """A switch's meaning; None where it is empty. Raises ConfigError where it is neither yes nor no."""
    said = value.strip().lower()
    if not said:
        return None
    if said in _YES or said in _NO:
        return said in _YES
    raise ConfigError(
        f"{name} ({origin}) must be 1 or 0, not {value.strip()!r}", hint=f"correct or unset {name}"
    )


def heed_file(environment: MutableMapping[str, str]) -> None:
    """Set in `environment` what the file says and it lacks; only names that the program knows.

    Raises:
        ConfigError, NotFoundError: like `Variables.gather`.
    """
    found = Variables.gather(environment)
    for name, assignment in found.assigned.items():
        if name in _NAMES or name.startswith(_PREFIXES):
            environment.setdefault(name, assignment.value)
