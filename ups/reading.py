"""Reading what a store holds without the disk: hashing an object as it streams, and seeking in one.

Where the store is on this machine its file is read; else ranges are asked for, a few at a time.
Free of torch and numpy.
"""

import hashlib
import io
import os
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ups.errors import StoreError
from ups.store import ObjectStore, Progress, store_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE = 8 * 1024 * 1024
"""Bytes of a request; with `_AHEAD` it bounds what is in memory."""
_AHEAD = 4
"""Requests that are under way at the same time."""
_BLOCK = 64 * 1024
_BLOCKS = 64
"""Blocks that a `StoredFile` keeps."""


def stored_sha256(store: ObjectStore, key: str, size: int, progress: Progress | None = None) -> str:
    """Hex digest of an object's bytes as they are stored now.

    Args:
        store: where it is.
        key: of the object.
        size: its bytes, as listed.
        progress: told of the bytes.

    Raises:
        NotFoundError: there is no such object.
        StoreError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    for piece in _pieces(store, key, size):
        digest.update(piece)
        done += len(piece)
        if progress is not None:
            progress(min(done, size), size)
    return digest.hexdigest()


def _pieces(store: ObjectStore, key: str, size: int) -> Iterator[bytes]:
    path = store.local_path(key)
    if path is None:
        yield from _ranges(store, key, size)
        return
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise store_error(error, path) from error


def _ranges(store: ObjectStore, key: str, size: int) -> Iterator[bytes]:
    """Pieces in order, the next ones being fetched meanwhile."""
    starts = iter(range(0, size, _PIECE))
    with ThreadPoolExecutor(_AHEAD) as pool:
        coming: deque[Future[bytes]] = deque()
        try:
            while True:
                while len(coming) < _AHEAD and (start := next(starts, None)) is not None:
                    end = min(start + _PIECE, size)
                    coming.append(pool.submit(store.read_range, key, start, end))
                if not coming:
                    return
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()


class StoredFile(io.RawIOBase):
    """An object, open for reading and seeking by one thread, in cached blocks.

    Reading raises StoreError where the store refuses. A file on this machine is read through the same
    blocks: what opens it needs a few of them.
    """

    def __init__(self, store: ObjectStore, key: str, size: int) -> None:
        self._store, self._key, self._size = store, key, size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        """Block number → content; the one used last comes last."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        filled = 0
        while filled < count:
            number, offset = divmod(self._position + filled, _BLOCK)
            piece = self._block(number)[offset : offset + count - filled]
            if not piece:
                raise StoreError(f"{self._key} is shorter than it was listed", hint="read the store again")
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self._position += count
        return count

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            end = min(start + _BLOCK, self._size)
            self._blocks[number] = self._store.read_range(self._key, start, end)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
