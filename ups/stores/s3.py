"""A place in an S3 bucket, tuned for Backblaze B2: no conditional writes, keys that see one prefix.

Files are prepared in a scratch directory on this machine. A bucket has one writer at a time: `exclusive`
keeps out other processes of this machine and user, nobody else. Free of torch.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ups.store import Download, ObjectInfo, Progress, Upload, checked_key, store_error
from ups.stores.flow import Pace
from ups.stores.s3_bulk import Answer, Bulk
from ups.stores.s3_download import Downloader
from ups.stores.s3_errors import PastEndError, persistently
from ups.stores.s3_settings import BucketSettings
from ups.stores.s3_upload import Lanes, Uploader
from ups.stores.workspaces import HIDDEN, Workspaces

if TYPE_CHECKING:
    from ups.stores.s3_control import Control

SCRATCH = "UPS_SCRATCH"
"""Where files for a bucket are prepared; needs room for the largest dataset."""

_CAPPED_PART = 8 * 1024 * 1024
"""Parts under a bandwidth cap: a part is sent at full speed, and then it is waited."""


class S3Store:
    """Objects below a prefix of a bucket; what `ObjectStore` says of each method holds."""

    def __init__(
        self, settings: BucketSettings, *, lanes: Lanes | None = None, scratch: Path | None = None
    ) -> None:
        """Args:
        settings: where the bucket is, and its key.
        lanes: how transfers are cut; fit for B2 by default.
        scratch: where files are prepared; `UPS_SCRATCH`, or the system's temporary directory by default.
        """
        self._settings = settings
        pace = Pace(settings.bytes_per_second)
        cut = lanes or (Lanes(part_bytes=_CAPPED_PART) if pace.capped else Lanes())
        self._workspaces = Workspaces((scratch or _scratch()) / _folder(settings), private=True)
        self._lanes = cut
        self._starting = threading.Lock()
        self._started: Control | None = None
        self._bulk = Bulk(settings, self._sent_whole)
        self._uploader = Uploader(
            self._control, self._bulk, self._workspaces.root / "uploads.jsonl", pace, cut
        )
        self._downloader = Downloader(settings, self._control, self._bulk, pace, cut)

    def _control(self) -> "Control":
        """Started by whoever first needs it: that takes as long as a small transfer."""
        from ups.stores.s3_control import Control

        with self._starting:
            if self._started is None:
                self._started = Control(self._settings, connections=self._lanes.lanes)
            return self._started

    def _sent_whole(self, key: str, start: int, end: int) -> Answer:
        return self._control().get_range(key, start, end)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    @property
    def url(self) -> str:
        return self._settings.url

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (info for info in self._control().objects(prefix) if not _is_hidden(info.key))

    def unfinished(self) -> Iterator[ObjectInfo]:
        return (info for info in self._control().objects("") if _is_hidden(info.key))

    def find(self, key: str) -> ObjectInfo | None:
        return self._control().find(checked_key(key))

    def read_bytes(self, key: str) -> bytes:
        checked_key(key)
        return persistently(self._settings.patience, lambda: bytes(self._bulk.get(key).whole()))

    def read_range(self, key: str, start: int, end: int) -> bytes:
        checked_key(key)
        if end <= start:
            return b""
        try:
            return persistently(
                self._settings.patience, lambda: bytes(self._bulk.get_range(key, start, end).whole())
            )
        except PastEndError:
            return b""

    def write_bytes(self, key: str, content: bytes) -> None:
        self._bulk.put(checked_key(key), content)

    def upload(self, source: Path, key: str, *, progress: Progress | None = None) -> str:
        (sha256,) = self.upload_all([Upload(source, key)], progress=progress)
        return sha256

    def download(self, key: str, target: Path, *, sha256: str, progress: Progress | None = None) -> None:
        self.download_all([Download(key, target, sha256)], progress=progress)

    def upload_all(self, files: Sequence[Upload], *, progress: Progress | None = None) -> tuple[str, ...]:
        for file in files:
            checked_key(file.key)
        if not files:
            return ()
        try:
            self._workspaces.make_root()
            return self._uploader.upload_all(files, progress)
        except OSError as error:
            raise store_error(error, Path(error.filename or self._workspaces.root)) from error

    def download_all(self, files: Sequence[Download], *, progress: Progress | None = None) -> None:
        for file in files:
            checked_key(file.key)
        if not files:
            return
        try:
            self._downloader.download_all(files, progress)
        except OSError as error:
            raise store_error(error, Path(error.filename or files[0].target)) from error

    def delete(self, key: str) -> None:
        self._control().delete(checked_key(key))

    def delete_all(self, keys: Iterable[str]) -> None:
        self._control().delete_all([checked_key(key) for key in keys])

    def local_path(self, key: str) -> Path | None:
        checked_key(key)
        return None

    def staging(self) -> AbstractContextManager[Path]:
        return self._workspaces.staging()

    def workspace(self, name: str) -> AbstractContextManager[Path]:
        return self._workspaces.workspace(name)

    def shared_workspace(self, name: str) -> Path:
        return self._workspaces.shared_workspace(name)

    def discard_workspaces(self, prefix: str, *, but: str = "") -> None:
        self._workspaces.discard_workspaces(prefix, but=but)

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        self.upload(source, key, progress=progress)
        source.unlink()

    def copy(self, key: str, new_key: str) -> None:
        self._control().copy(checked_key(key), checked_key(new_key))

    def rename(self, key: str, new_key: str) -> None:
        self.copy(key, new_key)
        self._control().delete(key)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._workspaces.exclusive()


def _scratch() -> Path:
    """The directory for all buckets of this user."""
    given = os.environ.get(SCRATCH)
    if given:
        return Path(given).expanduser()
    return Path(tempfile.gettempdir()) / f"ups-scratch-{os.getuid()}"


def _folder(settings: BucketSettings) -> str:
    """A name for a bucket's own directory."""
    place = hashlib.sha256(f"{settings.endpoint} {settings.url}".encode()).hexdigest()[:12]
    return f"{settings.bucket}-{place}"


def _is_hidden(key: str) -> bool:
    return any(part.startswith(HIDDEN) for part in key.split("/"))
