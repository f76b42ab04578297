"""Which files were hashed on this machine, so that a resume does not read them all again."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ups.errors import StoreError

_CHUNK = 4 * 1024 * 1024


class VerifiedFiles:
    """Hashes by (path, bytes, mtime); any change of a file makes it unknown again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                self._known = content

    def sha256(self, file: Path) -> str | None:
        """The hash of the file as it is now, None where it is not known."""
        record = self._known.get(str(file))
        try:
            stamp = _stamp(file)
        except OSError:
            return None
        if not isinstance(record, dict) or record.get("stamp") != stamp:
            return None
        return str(record.get("sha256"))

    def trust(self, file: Path, sha256: str) -> None:
        """Remember the hash of a file that has just been written, and hashed on its way."""
        self._record(file, _stamp(file), sha256)

    def verify(self, file: Path, progress: Callable[[int], None]) -> str:
        """The hash of the file, computed now.

        Args:
            file: what is hashed.
            progress: called with the bytes done so far; may raise to stop.

        Raises:
            StoreError: the file cannot be read.
        """
        digest, done = hashlib.sha256(), 0
        try:
            stamp = _stamp(file)
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done)
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror or error}") from error
        self._record(file, stamp, digest.hexdigest())
        return digest.hexdigest()

    def _record(self, file: Path, stamp: list[int], sha256: str) -> None:
        self._known[str(file)] = {"stamp": stamp, "sha256": sha256}
        temporary = self._path.with_name(f".{self._path.name}.part")
        with contextlib.suppress(OSError):  # it only saves time
            temporary.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            temporary.replace(self._path)


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]
