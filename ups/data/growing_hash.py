"""The hash of a file that is still being written, as far as that is settled. Free of torch."""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 256 * 1024
"""Read at a time; what is hashed at once is then in a cache of the processor."""


class GrowingHash:
    """SHA-256 of the beginning of a file."""

    def __init__(self, path: Path) -> None:
        """The file may not be there yet."""
        self._path = path
        self._digest = hashlib.sha256()
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self.position = 0
        """Bytes that are hashed."""

    def up_to(self, end: int, read: Callable[[], None]) -> None:
        """Go on to a position in the file.

        Args:
            end: where.
            read: called after every few bytes; what it raises ends it.

        Raises:
            OSError: the file cannot be read, or is shorter.
        """
        if end <= self.position:
            return
        with self._path.open("rb", buffering=0) as file:
            file.seek(self.position)
            while self.position < end:
                count = file.readinto(self._piece[: end - self.position])
                if not count:
                    raise OSError(errno.EIO, f"it ends at {self.position}, not at {end}", str(self._path))
                self._digest.update(self._piece[:count])
                self.position += count
                read()

    def hexdigest(self) -> str:
        """Of all that is hashed so far."""
        return self._digest.hexdigest()
