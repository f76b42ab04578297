"""The hash of a file that is still being written, as far as that is settled. Free of torch."""

import errno
import hashlib
import os
from collections.abc import Callable

_PIECE_BYTES = 256 * 1024
"""Read at a time; what is hashed at once is then in a cache of the processor."""


class GrowingHash:
    """SHA-256 of the beginning of a file."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.position = 0
        """Bytes that are hashed."""

    def up_to(self, end: int, file: int, read: Callable[[], None] = lambda: None) -> None:
        """Go on to a position in the file.

        Args:
            end: where.
            file: the file's descriptor; its own position is left alone.
            read: called after every few bytes; what it raises ends it.

        Raises:
            OSError: the file cannot be read, or is shorter.
        """
        while self.position < end:
            content = os.pread(file, min(_PIECE_BYTES, end - self.position), self.position)
            if not content:
                raise OSError(errno.EIO, f"it ends at {self.position}, not at {end}")
            self._digest.update(content)
            self.position += len(content)
            read()

    def hexdigest(self) -> str:
        """Of all that is hashed so far."""
        return self._digest.hexdigest()
