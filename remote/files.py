"""Files and folders that several processes of a machine use at once."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ups.errors import StoreError

_LOOK_S = 0.2


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


@contextlib.contextmanager
def sole_fetcher(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Take turns with other processes that fetch files to a folder; makes the folder.

    Args:
        folder: where the files go.
        waiting: called now and then while another process is at it; may raise to stop.

    Raises:
        StoreError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror or error}") from error
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(_LOOK_S)
        yield
    finally:
        os.close(handle)
