"""A directory as the bucket: the embedded default."""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

from ups.errors import NotFoundError, StoreError
from ups.store import Download, ObjectInfo, Progress, Upload, checked_key, store_error, summed
from ups.stores.workspaces import HIDDEN, Workspaces

_CHUNK = 4 * 1024 * 1024


class DirectoryStore:
    """Objects are files, keys their paths below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._workspaces = Workspaces(root)

    @property
    def url(self) -> str:
        return f"dir:{self.root}"

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, slash, _ = prefix.rpartition("/")
        top = self._path(folder) if folder else self.root
        for key, entry in _files_below(str(top), folder + slash):
            if key.startswith(prefix) and not entry.name.startswith(HIDDEN):
                yield from _listed(key, entry)

    def unfinished(self) -> Iterator[ObjectInfo]:
        for key, entry in _files_below(str(self.root), ""):
            if entry.name.startswith(HIDDEN):
                yield from _listed(key, entry)

    def find(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        return _info(key, path.stat()) if path.is_file() else None

    def read_bytes(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"the store has no {key}") from None
        except OSError as error:
            raise store_error(error, self._path(key)) from error

    def read_range(self, key: str, start: int, end: int) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(max(0, end - start))
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

    def upload_all(self, files: Sequence[Upload], *, progress: Progress | None = None) -> tuple[str, ...]:
        told = summed(sum(file.source.stat().st_size for file in files), progress)
        return tuple(self.upload(file.source, file.key, progress=told()) for file in files)

    def download_all(self, files: Sequence[Download], *, progress: Progress | None = None) -> None:
        found = [self.find(file.key) for file in files]
        told = summed(sum(info.bytes for info in found if info is not None), progress)
        for file in files:
            self.download(file.key, file.target, sha256=file.sha256, progress=told())

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, self._path(key)) from error

    def delete_all(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)

    def local_path(self, key: str) -> Path | None:
        path = self._path(key)
        return path if path.is_file() else None

    def staging(self) -> AbstractContextManager[Path]:
        return self._workspaces.staging()

    def workspace(self, name: str) -> AbstractContextManager[Path]:
        return self._workspaces.workspace(name)

    def shared_workspace(self, name: str) -> Path:
        return self._workspaces.shared_workspace(name)

    def discard_workspaces(self, prefix: str, *, but: str = "") -> None:
        self._workspaces.discard_workspaces(prefix, but=but)

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        path = self._path(key)
        try:
            size = source.stat().st_size
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            _sync_directory(path.parent)
            if progress is not None:
                progress(size, size)
        except OSError as error:
            raise store_error(error, path) from error

    def copy(self, key: str, new_key: str) -> None:
        self.upload(self._path(key), new_key)

    def rename(self, key: str, new_key: str) -> None:
        self.move(self._path(key), new_key)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._workspaces.exclusive()

    def _write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _atomic(path) as file:
                fill(file)
        except OSError as error:
            raise store_error(error, path) from error


def _files_below(folder: str, key: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(key, file) in the order of the keys, without hidden folders; names are text, for there may be many.

    Args:
        folder: where to look; it need not be there.
        key: of the folder, with its slash.

    Raises:
        StoreError: it may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(f"{entry.name}/" if entry.is_dir() else entry.name, entry) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):  # or deleted while listing
        return
    except OSError as error:
        raise store_error(error, Path(folder)) from error
    for name, entry in sorted(found, key=lambda named: named[0]):
        if not name.endswith("/"):
            yield key + name, entry
        elif not name.startswith(HIDDEN):
            yield from _files_below(entry.path, key + name)


def _listed(key: str, entry: os.DirEntry[str]) -> Iterator[ObjectInfo]:
    with suppress(FileNotFoundError):  # deleted while listing
        yield _info(key, entry.stat())


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, stat.st_size, stat.st_mtime, f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}")


class _atomic:  # noqa: N801 - reads as a verb at its call sites
    """Write to a hidden neighbour, fsync, rename; on any error the target stays as it was."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> BinaryIO:
        self._temporary = self._target.with_name(f"{HIDDEN}{secrets.token_hex(8)}")
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
