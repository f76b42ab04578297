"""Whether a file that nothing vouches for is the converted split that it is taken for. Free of torch."""

from pathlib import Path

import numpy as np

from ups.data.split import Split, open_split
from ups.errors import DataError

_BLOCK_VALUES = 2**24
"""Values that are looked at together: 64 MiB."""


def require_split(path: Path, task: str, split: str) -> Split:
    """The open file, if it is that split of that task and all its values are finite; reads all of it.

    Raises:
        NotFoundError: there is no such file.
        DataError: it is no converted file, another task's or split's, or holds values that are not finite.
    """
    fields = open_split(path)
    if (fields.spec.name, fields.split) != (task, split):
        raise DataError(
            f"{path} is the {fields.split} split of {fields.spec.name}, not the {split} split of {task}",
            hint="name the files after their splits, and the key after its task",
        )
    for name in ("states", "inputs", "targets", "positions", "parameters"):
        values = getattr(fields, name, None)
        if values is None:
            continue
        flat = values.reshape(-1)
        for first in range(0, len(flat), _BLOCK_VALUES):
            if not np.isfinite(flat[first : first + _BLOCK_VALUES]).all():
                raise DataError(
                    f"{path} holds values in `{name}` that are not finite",
                    hint="convert or make the data again",
                )
    return fields
