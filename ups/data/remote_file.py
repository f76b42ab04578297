"""A file on an HTTP server that is read like one on disk, a few blocks at a time.

HDF5 looks up what it needs in many small reads and then reads the values in large ones. Small reads
go through a cache of blocks, which reads ahead where one follows another; large ones go straight to
their destination, over several connections. Memory stays bounded whatever the file's size. Free of torch.
"""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, cast

from ups.data.http import ChangedError, Facts, NoRangesError, Patience, RemoteBytes, StoppedError, client_of
from ups.errors import DownloadError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of a remote file is read at a time."""

    block_bytes: int = 16 * 1024
    cache_bytes: int = 64 * 1024 * 1024
    ahead_bytes: int = 4 * 1024 * 1024
    """At most read ahead of what is asked for."""
    straight_bytes: int = 4 * 1024 * 1024
    """A read of this size, or more, bypasses the cache; it is also the least share of a connection."""
    connections: int = 4


_USUAL_REACH = Reach()


@dataclass(frozen=True, slots=True)
class RemoteOrigin:
    """Where a raw file on a server is; `ups.data.raw.Origin`."""

    url: str
    name: str
    patience: Patience = field(default_factory=Patience)
    reach: Reach = _USUAL_REACH

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Raises NotFoundError or DownloadError, as does reading."""
        with client_of(self.patience, connections=self.reach.connections) as client:
            remote = RemoteBytes(self.url, self.name, client, self.patience)
            with RemoteFile(remote, remote.facts(), self.reach) as file:
                yield cast("BinaryIO", file)


class RemoteFile(io.RawIOBase):
    """A file on a server, open for reading and seeking by one thread at a time."""

    def __init__(self, remote: RemoteBytes, facts: Facts, reach: Reach = _USUAL_REACH) -> None:
        """Raises DownloadError where the server does not hand out parts of the file."""
        if not facts.ranges:
            raise _no_parts(remote)
        self._remote, self._facts, self._reach = remote, facts, reach
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        """Block number → content; the one used last comes last."""
        self._ahead = 0
        """Blocks to read beyond those asked for; grows while reads follow one another."""
        self._next = -1
        """The block behind those that were fetched last."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._facts.bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill the buffer, as far as the file goes.

        Raises:
            DownloadError: the server stays away, or has another file now than when reading began.
        """
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._facts.bytes - self._position))
        if count:
            fill = self._straight if count >= self._reach.straight_bytes else self._through_cache
            self._told(lambda: fill(self._position, view[:count]))
            self._position += count
        return count

    def _told(self, read: Callable[[], None]) -> None:
        try:
            read()
        except ChangedError:
            raise DownloadError(
                f"{self._remote.name} changed on the server while it was read: {self._remote.url}",
                hint="run the command again",
            ) from None
        except NoRangesError:
            raise _no_parts(self._remote) from None

    def _through_cache(self, begin: int, view: memoryview) -> None:
        size, end = self._reach.block_bytes, begin + len(view)
        last = (end - 1) // size
        for number in range(begin // size, last + 1):
            if number not in self._blocks:
                self._fetch_blocks(number, last)
            self._blocks.move_to_end(number)
            block, first = self._blocks[number], number * size
            low, high = max(begin, first), min(end, first + size)
            view[low - begin : high - begin] = block[low - first : high - first]

    def _fetch_blocks(self, first: int, last: int) -> None:
        """Bring blocks `first` to `last` to the cache, as far as they are missing, in one request."""
        size = self._reach.block_bytes
        self._ahead = (
            min(max(1, 2 * self._ahead), self._reach.ahead_bytes // size) if first == self._next else 0
        )
        after = first + 1
        while after <= last + self._ahead and after * size < self._facts.bytes and after not in self._blocks:
            after += 1
        content = bytearray()
        for chunk in self._remote.chunks(first * size, min(after * size, self._facts.bytes), self._facts):
            content += chunk
        self._next = after
        for number in range(first, after):
            self._blocks[number] = bytes(content[(number - first) * size : (number - first + 1) * size])
        wanted = last + 1 - first  # those may not be the ones to go
        while len(self._blocks) > max(wanted + self._ahead, self._reach.cache_bytes // size):
            self._blocks.popitem(last=False)

    def _straight(self, begin: int, view: memoryview) -> None:
        shares = min(self._reach.connections, max(1, len(view) // self._reach.straight_bytes))
        edges = [len(view) * share // shares for share in range(shares + 1)]
        stop = threading.Event()

        def fill(low: int, high: int) -> None:
            try:
                for chunk in self._remote.chunks(begin + low, begin + high, self._facts, stop):
                    view[low : low + len(chunk)] = chunk
                    low += len(chunk)
            except BaseException:
                stop.set()
                raise

        if shares == 1:
            fill(0, len(view))
            return
        with ThreadPoolExecutor(shares) as pool:
            done = [pool.submit(fill, low, high) for low, high in pairwise(edges)]
        failures = [error for error in (future.exception() for future in done) if error is not None]
        for failure in sorted(failures, key=lambda error: isinstance(error, StoppedError)):
            raise failure


def _no_parts(remote: RemoteBytes) -> DownloadError:
    return DownloadError(
        f"the server sends {remote.name} only as a whole: {remote.url}",
        hint="--whole downloads it before it is read",
    )
