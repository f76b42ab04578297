"""Which units of some work a process has taken, where several processes share it by a common folder.

A claim is a lock on one byte of a file: the system gives it up when the process ends, however that ends,
and another one may take the unit. Free of torch.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ups.store import store_error


class Claims:
    """The claims of this process."""

    def __init__(self, path: Path, handle: int) -> None:
        """Args:
        path: of the file whose bytes stand for units.
        handle: of the same, opened.
        """
        self._path, self._handle = path, handle

    def take(self, unit: int) -> bool:
        """Claim a unit, until all claims are given up; False where another process has it.

        Raises:
            StoreError: the file system has no locks.
        """
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, unit)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise store_error(error, self._path) from error
        return True


@contextmanager
def claims(path: Path) -> Iterator[Claims]:
    """The claims of this process on the units that the bytes of a file stand for, given up at the end.

    A process may have only one such context on a file at a time: closing one gives up the claims of all.

    Raises:
        StoreError: the file can be neither opened nor made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise store_error(error, path) from error
    try:
        yield Claims(path, handle)
    finally:
        os.close(handle)
