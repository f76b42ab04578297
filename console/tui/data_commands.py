"""Everything long that can be done with data, as the console does it in the background.

One at a time; `BackgroundApp` runs it and shows its progress on every screen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.operations import Operations, Progress

States = Mapping[str, str]
"""What was verified → its state; empty of commands that verify nothing."""


@dataclass(frozen=True, slots=True)
class DataCommand:
    """What is done, in words and as a call."""

    what: str
    """As in "could not …"."""
    doing: str
    """While it goes on."""
    done: str
    """Once it is over."""
    call: "Callable[[Operations, Progress], States]"
    """Runs in a thread."""


def make(tasks: Sequence[str]) -> DataCommand:
    """Make reference data."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.make_data(tasks, progress=progress)
        return {}

    names = ", ".join(tasks)
    return DataCommand(f"make {names}", "making reference data", f"{names}: reference data made", call)


def build_caches(version: str, tasks: Sequence[str]) -> DataCommand:
    """Fill a cache version; what is there and fits is kept."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.build_caches(version, tasks, progress=progress)
        return {}

    names = ", ".join(tasks)
    return DataCommand(
        f"build {version} for {names}", f"building {version}", f"{names}: cached in {version}", call
    )


def verify(tasks: Sequence[str]) -> DataCommand:
    """Read every byte of datasets."""

    def call(operations: "Operations", progress: "Progress") -> States:
        return operations.verify_data(tasks, _without("verify ", progress))

    names = ", ".join(tasks)
    return DataCommand(f"verify {names}", "verifying", f"{names}: every byte as recorded", call)


def verify_caches(version: str, tasks: Sequence[str]) -> DataCommand:
    """Read every byte of caches."""

    def call(operations: "Operations", progress: "Progress") -> States:
        found = operations.verify_caches(version, tasks, _without("verify ", progress))
        return {f"{verdict.task} {verdict.split}": verdict.state for verdict in found}

    names = ", ".join(tasks)
    return DataCommand(
        f"verify {version} of {names}", "verifying", f"{version} of {names}: as recorded", call
    )


def fetch(tasks: Sequence[str], folder: Path) -> DataCommand:
    """Bring the files of datasets to this machine."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.fetch_data(tasks, folder, progress=_without("fetch ", progress))
        return {}

    names = ", ".join(tasks)
    return DataCommand(f"fetch {names}", "fetching", f"{names}: verified, in {folder}", call)


def fetch_caches(version: str, tasks: Sequence[str], folder: Path) -> DataCommand:
    """Bring caches to this machine."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.fetch_caches(version, tasks, folder, progress=_without("fetch ", progress))
        return {}

    done = f"{', '.join(tasks)}: verified, in {folder / version}"
    return DataCommand(f"fetch {version} of {', '.join(tasks)}", "fetching", done, call)


def delete(task: str) -> DataCommand:
    """Remove a dataset from the store."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.delete_data(task)
        return {}

    return DataCommand(f"delete {task}", f"deleting {task}", f"the dataset {task} is deleted", call)


def delete_caches(version: str, task: str) -> DataCommand:
    """Remove a task's caches of one version from the store."""

    def call(operations: "Operations", progress: "Progress") -> States:
        operations.delete_caches(version, [task])
        return {}

    what = f"{version} of {task}"
    return DataCommand(f"delete {what}", f"deleting {what}", f"the cache {what} is deleted", call)


def _without(verb: str, progress: "Progress") -> "Progress":
    """The same, told without a verb that `doing` says already."""
    return lambda what, done, total: progress(what.removeprefix(verb), done, total)
