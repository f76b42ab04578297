"""Directories on this machine in which a store's files are prepared, and its lock.

A directory belongs to the process that holds its lock, which dies with it; those of processes that were
killed are swept away by the next. Free of torch.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ups.errors import StoreError
from ups.store import store_error

HIDDEN = ".tmp-"
"""Names that begin so are unfinished, and no objects."""
_WORKSPACE = f"{HIDDEN}work-"
_KEPT_SECONDS = 7 * 86400.0
"""A workspace that nobody has used for so long is given up."""
_NEWBORN_SECONDS = 60.0
"""A staging directory younger than this may not have been locked by its owner yet."""


class Workspaces:
    """The directories below `root`; what `ObjectStore` says of each method holds."""

    def __init__(self, root: Path, *, private: bool = False) -> None:
        """Args:
        root: made when it is needed.
        private: whether nobody else may look in, as below a directory that many share.
        """
        self.root = root
        self._mode = 0o700 if private else 0o777

    @contextmanager
    def staging(self) -> Iterator[Path]:
        existed = self.root.exists()
        try:
            self.make_root()
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=HIDDEN, dir=self.root))
            owner = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise store_error(error, self.root) from error
        try:
            fcntl.flock(owner, fcntl.LOCK_EX)  # dies with this process: see _sweep
            yield folder
        finally:
            os.close(owner)
            self._remove(folder, existed)

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        folder = self.shared_workspace(name)
        existed = self.root.exists()
        try:
            self.make_root()
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
            self._remove(folder, existed)
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

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        try:
            self.make_root()
            handle = os.open(self.root, os.O_RDONLY)
        except OSError as error:
            raise store_error(error, self.root) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def make_root(self) -> None:
        """Raises StoreError where a private root is somebody else's."""
        self.root.mkdir(parents=True, exist_ok=True, mode=self._mode)
        if self._mode == 0o700 and self.root.stat().st_uid != os.getuid():
            raise StoreError(
                f"{self.root} belongs to another user", hint="point UPS_SCRATCH to a directory of yours"
            )

    def _remove(self, folder: Path, root_existed: bool) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if not root_existed:
            with suppress(OSError):
                self.root.rmdir()

    def _sweep(self) -> None:
        """Remove the directories of processes that were killed."""
        for folder in self.root.glob(f"{HIDDEN}*/"):
            kept = folder.name.startswith(_WORKSPACE)
            _remove_deserted(folder, older_than=_KEPT_SECONDS if kept else _NEWBORN_SECONDS)


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
