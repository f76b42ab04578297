"""The object store: what the project asks of one, be it a directory or a bucket (`ups.stores`).

Writers put content first and the manifest last, so that a reader who follows manifests never sees
a dataset that is half there. Free of torch.
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ups.errors import ConfigError, StoreError

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object."""

    key: str
    bytes: int
    modified: float
    """Unix seconds."""
    etag: str = ""
    """Changes when the content does; the store's own choice, not a hash to rely on."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be stored."""

    source: Path
    key: str


@dataclass(frozen=True, slots=True)
class Download:
    """An object to be fetched."""

    key: str
    target: Path
    """Appears only once its hash is right."""
    sha256: str


class ObjectStore(Protocol):
    """What the project asks of a store. Keys are POSIX paths without a leading slash."""

    @property
    def url(self) -> str:
        """`dir:/path` or `s3://bucket/prefix`, without credentials."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, sorted by key."""
        ...

    def unfinished(self) -> Iterator[ObjectInfo]:
        """What `list` leaves out: hidden objects, by writers at work or left by those that were killed."""
        ...

    def find(self, key: str) -> ObjectInfo | None:
        """The object of exactly this key, or None."""
        ...

    def read_bytes(self, key: str) -> bytes:
        """Raises NotFoundError where there is no such object."""
        ...

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of an object, fewer where it ends before; raises like `read_bytes`."""
        ...

    def write_bytes(self, key: str, content: bytes) -> None:
        """Store atomically: a reader sees the old object or the new one."""
        ...

    def upload(self, source: Path, key: str, *, progress: Progress | None = None) -> str:
        """Store a file atomically and return the sha256 of the bytes that were stored."""
        ...

    def download(self, key: str, target: Path, *, sha256: str, progress: Progress | None = None) -> None:
        """Fetch to `target`, which appears only once the hash is right.

        Raises:
            StoreError: the bytes do not have that hash.
        """
        ...

    def upload_all(self, files: Sequence[Upload], *, progress: Progress | None = None) -> tuple[str, ...]:
        """Store many files, several at a time; the sha256 of each, in their order.

        After an error some are stored and others not, none of them half.
        """
        ...

    def download_all(self, files: Sequence[Download], *, progress: Progress | None = None) -> None:
        """Fetch many objects, several at a time; each raises like `download`."""
        ...

    def delete(self, key: str) -> None:
        """Remove; not an error where there is none."""
        ...

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove many, in no order."""
        ...

    def local_path(self, key: str) -> Path | None:
        """The file itself where the store is on this machine, so that it can be memory-mapped."""
        ...

    def staging(self) -> AbstractContextManager[Path]:
        """An empty directory in which to prepare files, on the store's own file system; gone at exit."""
        ...

    def workspace(self, name: str) -> AbstractContextManager[Path]:
        """A directory, on the store's file system, in which this process alone makes something large.

        Unlike `staging`, an interruption leaves it: the next process that asks for the same name goes on
        with what is there. It is gone after a clean exit and after an error, and after a week without use.

        Raises:
            StoreError: another process is in it.
        """
        ...

    def shared_workspace(self, name: str) -> Path:
        """The directory of another process's `workspace`, whether it is there yet or not."""
        ...

    def discard_workspaces(self, prefix: str, *, but: str = "") -> None:
        """Remove those whose name begins so, in which no process is, but for one of them."""
        ...

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        """Store a staged file atomically, without a copy on this machine; `source` is gone afterwards."""
        ...

    def copy(self, key: str, new_key: str) -> None:
        """Store an object under another key too, without sending it again, replacing what is there."""
        ...

    def rename(self, key: str, new_key: str) -> None:
        """Give an object another key, atomically, replacing what is there."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other writers out for the short while in which a dataset is swapped; waits for them."""
        ...


def summed(total: int, progress: Progress | None) -> Callable[[], Progress | None]:
    """Progress over several files moved one after the other.

    Returns:
        What the next file reports to, each time it is called.
    """
    before, current = 0, 0

    def tell(done: int, _: int) -> None:
        nonlocal current
        assert progress is not None
        current = done
        progress(before + done, total)

    def following() -> Progress | None:
        nonlocal before, current
        before, current = before + current, 0
        return None if progress is None else tell

    return following


def checked_key(key: str) -> str:
    """The key; raises StoreError where it is none, or leads out of the store."""
    parts = key.split("/")
    if not all(part and part not in {".", ".."} for part in parts):
        raise StoreError(f"not a valid store key: {key!r}", hint="a key is folder/name, without . or ..")
    return key


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def store_error(error: OSError, where: Path) -> StoreError:
    """What an operating-system error means to the user of a store."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left to write {where}", hint="free some space, or point UPS_STORE elsewhere"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"the store may not be written: {where}",
            hint="check the directory's owner and permissions, or point UPS_STORE elsewhere",
        )
    return StoreError(f"the store failed at {where}: {error.strerror or error}")


def open_store(url: str, environment: Mapping[str, str] | None = None) -> ObjectStore:
    """The store that a URL names; nothing is asked of it yet.

    Args:
        url: `dir:/path` or `s3://bucket/prefix`.
        environment: where a bucket's keys are; the process's own by default.

    Raises:
        ConfigError: the scheme is not known, or something that the bucket needs is not set.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        from ups.stores.directory import DirectoryStore

        return DirectoryStore(Path(rest).expanduser())
    if scheme == "s3":
        from ups.stores.s3 import S3Store
        from ups.stores.s3_settings import bucket_settings

        return S3Store(bucket_settings(url, environment))
    raise ConfigError(f"{url!r} is not a store", hint="write dir:/path or s3://bucket/prefix")


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that would hold `path`."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
