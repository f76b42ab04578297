"""Files that another process may read while they are written."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ups.errors import StoreError


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically: another process sees the old one or the new one, whole.

    Raises:
        StoreError: it cannot be written; the old one is as it was.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
