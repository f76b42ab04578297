"""What earlier, interrupted uploads already did, noted on this machine so that it is not done again.

One file a store; a line is one JSON object: a call that begins, an object that is stored, or a multipart
upload that was begun. A line is one `write`, so a kill tears at most the last, and several processes may
append. A line is only a hint: whoever reads it asks the bucket whether it still holds. Free of torch.
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEPT_SECONDS = 7 * 86400.0
"""A line older than this is no longer believed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Tells whether a file is still the one that was read."""

    path: str
    bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Source":
        stat = path.stat()
        return cls(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that was stored whole."""

    source: Source
    sha256: str
    etag: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A multipart upload whose object has not appeared yet."""

    source: Source
    upload: str
    part_bytes: int
    at: float
    """Unix seconds."""

    @property
    def stale(self) -> bool:
        """So old that it is given up."""
        return time.time() - self.at > _KEPT_SECONDS


class UploadJournal:
    """The journal while one process uploads; close it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_SH)
        self.stored: dict[str, Stored] = {}
        self.begun: dict[str, Begun] = {}
        self.batches: set[str] = set()
        """Names of calls that did not come to their end."""
        self._recall()

    def note_batch(self, name: str) -> None:
        """A call begins, which may store something before it is noted here."""
        self._append({"batch": name})

    def note_stored(self, key: str, stored: Stored) -> None:
        """An object is there; whatever was begun for it is over."""
        self._append({"key": key, **_plain(stored.source), "sha256": stored.sha256, "etag": stored.etag})

    def note_begun(self, key: str, begun: Begun) -> None:
        """The parts of an object are being sent."""
        self._append(
            {
                "key": key,
                **_plain(begun.source),
                "upload": begun.upload,
                "part": begun.part_bytes,
                "at": begun.at,
            }
        )

    def close(self, *, done: bool) -> None:
        """Forget everything where all is done and no other process is uploading."""
        try:
            if done:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._handle, 0)
        except BlockingIOError:
            pass
        finally:
            os.close(self._handle)

    def _append(self, line: Mapping[str, object]) -> None:
        os.write(self._handle, json.dumps(line).encode() + b"\n")

    def _recall(self) -> None:
        content = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        for line in content.split(b"\n")[:-1]:
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):  # torn
                continue
        if content and not content.endswith(b"\n"):
            os.write(self._handle, b"\n")  # what is appended must not go on with a torn line

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "batch" in entry:
            self.batches.add(str(entry["batch"]))
            return
        key = str(entry["key"])
        source = Source(str(entry["path"]), int(entry["bytes"]), int(entry["mtime"]), int(entry["inode"]))
        if "upload" in entry:
            self.begun[key] = Begun(source, str(entry["upload"]), int(entry["part"]), float(entry["at"]))
        else:
            self.begun.pop(key, None)
            self.stored[key] = Stored(source, str(entry["sha256"]), str(entry["etag"]))


def _plain(source: Source) -> dict[str, object]:
    return {
        "path": source.path, "bytes": source.bytes, "mtime": source.modified_ns, "inode": source.inode,
    }  # fmt: skip
