"""A directory as the bucket: the embedded default."""

import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ups.errors import NotFoundError, StoreError
from ups.store import Download, ObjectInfo, Progress, Upload, store_error

_CHUNK = 4 * 1024 * 1024
_HIDDEN = ".tmp-"
"""Names that begin so are unfinished, and no objects."""
_WORKSPACE = f"{_HIDDEN}work-"
_KEPT_SECONDS = 7 * 86400.0
"""A workspace that nobody has used for so long is given up."""
_NEWBORN_SECONDS = 60.0
"""A staging directory younger than this may not have been locked by its owner yet."""


class DirectoryStore:
    """Objects are files, keys their paths below `root`."""

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
                    yield _info(key, stat)

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
        told = _Summed(sum(file.source.stat().st_size for file in files), progress)
        return tuple(self.upload(file.source, file.key, progress=told.next()) for file in files)

    def download_all(self, files: Sequence[Download], *, progress: Progress | None = None) -> None:
        found = [self.find(file.key) for file in files]
        told = _Summed(sum(info.bytes for info in found if info is not None), progress)
        for file in files:
            self.download(file.key, file.target, sha256=file.sha256, progress=told.next())

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


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, stat.st_size, stat.st_mtime, f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}")


class _Summed:
    """Progress over many files, from the progress of each in turn."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._before = self._current = 0

    def next(self) -> Progress | None:
        """What the next file reports to."""
        if self._progress is None:
            return None
        self._before, self._current = self._before + self._current, 0
        return self._tell

    def _tell(self, done: int, _: int) -> None:
        assert self._progress is not None
        self._current = done
        self._progress(self._before + done, self._total)


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
