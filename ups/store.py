"""The object store: a directory now, a bucket behind the same protocol.

Writers put content first and the manifest last, so that a reader who follows manifests never sees
a dataset that is half there. Free of torch.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ups.errors import ConfigError, NotFoundError, StoreError

_CHUNK = 4 * 1024 * 1024
_HIDDEN = ".tmp-"
"""Names that begin so are unfinished, and no objects."""
_WORKSPACE = f"{_HIDDEN}work-"
_KEPT_SECONDS = 7 * 86400.0
"""A workspace that nobody has used for so long is given up."""
_NEWBORN_SECONDS = 60.0
"""A staging directory younger than this may not have been locked by its owner yet."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object."""

    key: str
    bytes: int
    modified: float
    """Unix seconds."""


class ObjectStore(Protocol):
    """What the project asks of a store. Keys are POSIX paths without a leading slash."""

    @property
    def url(self) -> str:
        """`dir:/path` or `s3://bucket/prefix`, without credentials."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, sorted by key."""
        ...

    def read_bytes(self, key: str) -> bytes:
        """Raises NotFoundError where there is no such object."""
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

    def delete(self, key: str) -> None:
        """Remove; not an error where there is none."""
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

    def move(self, source: Path, key: str) -> None:
        """Store a staged file atomically, without copying it; `source` is gone afterwards."""
        ...

    def rename(self, key: str, new_key: str) -> None:
        """Give an object another key, atomically, replacing what is there."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other writers out for the short while in which a dataset is swapped; waits for them."""
        ...


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


class DirectoryStore:
    """A directory as the bucket: the embedded default."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        return f"dir:{self.root}"

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise StoreError(f"not a valid store key: {key!r}")
        return self.root.joinpath(*parts)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        top = self._path(folder) if folder else self.root
        if not top.is_dir():
            return
        for directory, folders, files in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
            for name in sorted(files):
                path = Path(directory, name)
                key = path.relative_to(self.root).as_posix()
                if key.startswith(prefix) and not name.startswith(_HIDDEN):
                    try:
                        stat = path.stat()
                    except FileNotFoundError:  # deleted while listing
                        continue
                    yield ObjectInfo(key, stat.st_size, stat.st_mtime)

    def read_bytes(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"the store has no {key}") from None
        except OSError as error:
            raise store_error(error, self._path(key)) from error

    def write_bytes(self, key: str, content: bytes) -> None:
        self._write(key, lambda file: file.write(content))

    def upload(self, source: Path, key: str, *, progress: Progress | None = None) -> str:
        digest = hashlib.sha256()
        total = source.stat().st_size

        def copy(file: BinaryIO) -> None:
            with source.open("rb") as content:
                _copy(content, file, digest.update, total, progress)

        self._write(key, copy)
        return digest.hexdigest()

    def download(self, key: str, target: Path, *, sha256: str, progress: Progress | None = None) -> None:
        source = self._path(key)
        digest = hashlib.sha256()
        try:
            with source.open("rb") as content, _atomic(target) as file:
                _copy(content, file, digest.update, source.stat().st_size, progress)
                if digest.hexdigest() != sha256:
                    raise StoreError(
                        f"{key} does not have the sha256 that its manifest states",
                        hint="it is damaged or being replaced; verify it, or import it again",
                    )
        except FileNotFoundError:
            raise NotFoundError(f"the store has no {key}") from None
        except OSError as error:
            raise store_error(error, target) from error

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, self._path(key)) from error

    def local_path(self, key: str) -> Path | None:
        path = self._path(key)
        return path if path.is_file() else None

    @contextmanager
    def staging(self) -> Iterator[Path]:
        existed = self.root.exists()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=self.root))
            owner = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise store_error(error, self.root) from error
        try:
            fcntl.flock(owner, fcntl.LOCK_EX)  # dies with this process: see _sweep
            yield folder
        finally:
            os.close(owner)
            shutil.rmtree(folder, ignore_errors=True)
            if not existed:
                with suppress(OSError):
                    self.root.rmdir()

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        folder = self.shared_workspace(name)
        existed = self.root.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            owner = os.open(folder, os.O_RDONLY)
            os.utime(folder)
        except OSError as error:
            raise store_error(error, folder) from error
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        except BlockingIOError:
            raise StoreError(
                f"another process is doing the same work in {folder}", hint="wait until it is done"
            ) from None
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            if not existed:
                with suppress(OSError):
                    self.root.rmdir()
            raise
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(owner)

    def shared_workspace(self, name: str) -> Path:
        return self.root / f"{_WORKSPACE}{name}"

    def discard_workspaces(self, prefix: str, *, but: str = "") -> None:
        for folder in self.root.glob(f"{_WORKSPACE}{prefix}*/"):
            if folder != self.shared_workspace(but):
                _remove_deserted(folder, older_than=0.0)

    def _sweep(self) -> None:
        """Remove the directories of processes that were killed."""
        for folder in self.root.glob(f"{_HIDDEN}*/"):
            kept = folder.name.startswith(_WORKSPACE)
            _remove_deserted(folder, older_than=_KEPT_SECONDS if kept else _NEWBORN_SECONDS)

    def move(self, source: Path, key: str) -> None:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            _sync_directory(path.parent)
        except OSError as error:
            raise store_error(error, path) from error

    def rename(self, key: str, new_key: str) -> None:
        self.move(self._path(key), new_key)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root, os.O_RDONLY)
        except OSError as error:
            raise store_error(error, self.root) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _atomic(path) as file:
                fill(file)
        except OSError as error:
            raise store_error(error, path) from error


class _atomic:  # noqa: N801 - reads as a verb at its call sites
    """Write to a hidden neighbour, fsync, rename; on any error the target stays as it was."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> BinaryIO:
        self._temporary = self._target.with_name(f"{_HIDDEN}{secrets.token_hex(8)}")
        # Not mkstemp: a store is shared with whom the umask allows, and mkstemp shuts them out.
        handle = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._file.flush()  # where a full disk shows, so before the target is touched
                os.fsync(self._file.fileno())
                self._temporary.replace(self._target)
                _sync_directory(self._target.parent)
        finally:
            with suppress(OSError):  # of a flush that failed already
                self._file.close()
            self._temporary.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(
    source: BinaryIO,
    target: BinaryIO,
    update: Callable[[bytes], object],
    total: int,
    progress: Progress | None,
) -> None:
    done = 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)


def _remove_deserted(folder: Path, *, older_than: float) -> None:
    """Remove a directory that no process holds and that was last changed so many seconds ago."""
    try:
        owner = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its owner was quicker
        return
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - folder.stat().st_mtime > older_than:
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # its owner lives
        pass
    finally:
        os.close(owner)


def open_store(url: str) -> ObjectStore:
    """The store that a URL names.

    Raises:
        ConfigError: the scheme is not known, or not available.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dir" and rest:
        return DirectoryStore(Path(rest).expanduser())
    if scheme == "s3":
        raise ConfigError(
            f"{url}: S3 and B2 buckets are not available in this version",
            hint="use a directory: UPS_STORE=dir:/path",
        )
    raise ConfigError(f"{url!r} is not a store", hint="write dir:/path")


def free_bytes(path: Path) -> int:
    """Bytes free on the file system that would hold `path`."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
