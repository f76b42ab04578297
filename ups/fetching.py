"""Fetching objects to a folder of the user's, once: what is there with the right hash stays.

Nothing of the user's is overwritten unasked. Free of torch and numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ups.errors import StoreError, UsageError
from ups.store import Download, ObjectStore, Progress, file_sha256, free_bytes, store_error


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object, and where it shall lie."""

    key: str
    bytes: int
    sha256: str
    target: Path


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch did."""

    fetched: tuple[Path, ...]
    kept: tuple[Path, ...]
    """Were there already."""


def fetch(
    store: ObjectStore, files: Sequence[Wanted], *, replace: bool, progress: Progress | None = None
) -> Fetched:
    """Bring files to this machine; each appears once its sha256 is right.

    Args:
        store: where they are.
        files: what is wanted.
        replace: overwrite files of these names that are others.
        progress: told of the bytes that have to be fetched.

    Raises:
        UsageError: a file of that name is another one, and `replace` is not given.
        StoreError: no space, no permission, or an object does not have its sha256.
    """
    kept = [file for file in files if _is_there(file)]
    missing = [file for file in files if file not in kept]
    others = [file.target for file in missing if file.target.exists()]
    if others and not replace:
        raise UsageError(
            f"{others[0]} is there already, and is another file than the store's",
            hint="--replace overwrites it; --to names another folder",
        )
    _require_room(missing)
    for folder in {file.target.parent for file in missing}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(error, folder) from error
    store.download_all([Download(file.key, file.target, file.sha256) for file in missing], progress=progress)
    return Fetched(tuple(file.target for file in missing), tuple(file.target for file in kept))


def _is_there(file: Wanted) -> bool:
    path = file.target
    return path.is_file() and path.stat().st_size == file.bytes and file_sha256(path) == file.sha256


def _require_room(files: Sequence[Wanted]) -> None:
    if not files:
        return
    needed, free = sum(file.bytes for file in files), free_bytes(files[0].target)
    if needed > free:
        raise StoreError(
            f"no space left in {files[0].target.parent}: {needed / 1e9:.2f} GB are needed, "
            f"{free / 1e9:.2f} GB are free",
            hint="free some space, or name another folder: --to DIR",
        )
