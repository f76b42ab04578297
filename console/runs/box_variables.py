"""The environment variables of a launch that its machine heeds, and what of them is wrong."""

from collections.abc import Iterator

from console.api import Check, Given, Level
from ups.dataset_keys import KEY_VARIABLE, DatasetKeys, task_of
from ups.errors import ConfigError
from ups.tasks import TASK_SPECS
from ups.variables import Variables

COMPILER_VARIABLE = "TORCHINDUCTOR_DISABLE"
FOLDER_VARIABLE = "PDEBENCH_ROOT"
REMOTE_FOLDER_VARIABLE = "PDEBENCH_ROOT_REMOTE"


def dataset_keys(variables: Variables, asked: str | None) -> DatasetKeys:
    """The keys that a launch may fetch data by.

    Args:
        variables: of this console.
        asked: what the user says; None: what `DATASET_KEY` says.

    Raises:
        ConfigError: a key begins with no task.
    """
    found = DatasetKeys.parse(variables.text(KEY_VARIABLE) if asked is None else asked)
    for key in found.keys:
        if task_of(key) is None:
            known = ", ".join(TASK_SPECS)
            raise ConfigError(f"{KEY_VARIABLE}: {key!r} begins with no task",
                              hint=f"such as burgers1d_full_v1; the tasks are {known}")  # fmt: skip
    return found


def heeded(variables: Variables, keys: DatasetKeys, *, rented: bool) -> dict[str, str]:
    """What the machine is told beside secrets.

    Args:
        variables: of this console.
        keys: what it may fetch data by.
        rented: it is not this machine, whose folders mean nothing there.

    Raises:
        ConfigError: a switch is neither yes nor no.
    """
    found = {}
    if keys.keys:
        found[KEY_VARIABLE] = ",".join(keys.keys)
    if variables.flag(COMPILER_VARIABLE):
        found[COMPILER_VARIABLE] = "1"
    folder = variables.text(_folder(rented))
    if folder:
        found[FOLDER_VARIABLE] = folder
    return found


def given(variables: Variables, *, rented: bool) -> Iterator[Given]:
    """Where those came from that no option gives."""
    for name in (COMPILER_VARIABLE, _folder(rented)):
        if variables.text(name):
            yield Given(name, variables.text(name), variables.origin(name))


def key_checks(keys: DatasetKeys, tasks: tuple[str, ...]) -> Iterator[Check]:
    """Keys that this run has no use for."""
    for key in keys.keys:
        if task_of(key) not in tasks:
            yield Check(Level.WARNING, f"{KEY_VARIABLE} names {key}, and the run has no such task")


def _folder(rented: bool) -> str:
    return REMOTE_FOLDER_VARIABLE if rented else FOLDER_VARIABLE
