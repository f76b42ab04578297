"""Opens whatever a task is imported from, as sources. Free of torch."""

from collections.abc import Sequence
from pathlib import Path

from ups.data.lagrange import open_lagrange
from ups.data.meshes import open_meshes
from ups.data.raw import open_raw
from ups.data.source import Source
from ups.tasks import Modality, RawLayout, task_spec


def open_sources(task: str, paths: Sequence[Path]) -> list[Source]:
    """Check the structure of files of a task, in the layout that the task has; values are checked when read.

    Raises:
        NotFoundError: no such task or file.
        DataError: damaged, of another task or layout, or this version does not import the task.
        UsageError: a package that reads the format is not installed.
    """
    spec = task_spec(task)
    if spec.layout is RawLayout.LAGRANGE:
        return list(open_lagrange(spec, paths))
    if spec.modality is Modality.MESH:
        return list(open_meshes(spec, paths))
    return [open_raw(task, path) for path in paths]
