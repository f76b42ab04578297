"""Fetches one file over HTTP: by several connections, resumable after a kill, proven by its MD5.

The bytes go to `NAME.part`, what has arrived is noted in `NAME.part.ranges`, and NAME appears only once
all of it is there and has the right MD5. Free of torch.
"""

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ups.catalog import Progress
from ups.data.http import (
    ChangedError,
    Facts,
    NoRangesError,
    Patience,
    RemoteBytes,
    StoppedError,
    client_of,
)
from ups.data.unfinished import PART_SUFFIX, UnfinishedFile, discard, journal_path, part_path, refuse_full
from ups.errors import DownloadError, StoreError
from ups.store import store_error

_LEAST_NOTED, _MOST_NOTED = 16 * 1024, 8 * 1024 * 1024
_NOTES = 4096
"""A connection notes its progress so often over the whole of a file, within the bounds above: what a kill
loses is then a small part of any file, and the journal stays small."""
_BEGUN_ANEW = 3
"""How often a file may change on the server while it is fetched."""
_POLL_SECONDS = 0.1
_READ = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetching:
    """How files are fetched."""

    connections: int = 4
    part_bytes: int = 32 * 1024 * 1024
    """What a connection takes on at a time."""
    patience: Patience = field(default_factory=Patience)


_AS_USUAL = Fetching()


def download(
    url: str, target: Path, *, md5: str, progress: Progress, fetching: Fetching = _AS_USUAL
) -> list[str]:
    """Fetch a file to `target`, which appears only once its MD5 is right; go on with what is there of it.

    Args:
        url: of the file; redirects are followed.
        target: where it goes; nothing is done where it exists.
        md5: what its content must have.
        progress: called with (what, bytes done, bytes in all).
        fetching: connections, parts and patience.

    Returns:
        What the user should know, in sentences.

    Raises:
        NotFoundError: the server has no such file.
        DownloadError: the server refuses or stays away, or sends something else than what has that MD5.
        StoreError: there is no room, `target` cannot be written, or another process is fetching it.
    """
    if target.exists():
        return []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sole(target), client_of(fetching.patience, connections=fetching.connections) as client:
            if target.exists():  # by another process, until a moment ago
                return []
            remote = RemoteBytes(url, target.name, client, fetching.patience)
            notes = _fetch(remote, target, progress, fetching)
            _prove(target, md5, url, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(
                f"no space left to write {target}", hint="free some space, or choose another --work"
            ) from error
        raise store_error(error, target) from error
    return notes


def missing_bytes(url: str, target: Path, fetching: Fetching = _AS_USUAL) -> int:
    """How many more bytes a download will take on the disk; raises as `download`."""
    if target.exists():
        return 0
    with client_of(fetching.patience, connections=1) as client:
        facts = RemoteBytes(url, target.name, client, fetching.patience).facts()
    part = part_path(target)
    allocated = part.stat().st_blocks * 512 if part.exists() else 0
    return max(0, facts.bytes - allocated)


def file_md5(path: Path, progress: Progress) -> str:
    """Hex digest of a file's content; `progress` is called with (what, bytes done, bytes in all)."""
    total, name = path.stat().st_size, path.name.removesuffix(PART_SUFFIX)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while content := file.read(_READ):
            digest.update(content)
            progress(f"check {name}", file.tell(), total)
    return digest.hexdigest()


@contextmanager
def _sole(target: Path) -> Iterator[None]:
    lock = target.with_name(f"{target.name}.lock")
    handle = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        lock.unlink(missing_ok=True)
    except BlockingIOError:
        raise StoreError(f"another process is fetching {target}", hint="wait until it is done") from None
    finally:
        os.close(handle)


def _fetch(remote: RemoteBytes, target: Path, progress: Progress, fetching: Fetching) -> list[str]:
    """Bring all bytes to the part file."""
    for _ in range(_BEGUN_ANEW):
        facts = remote.facts()
        try:
            if facts.ranges:
                _fetch_parts(remote, facts, target, progress, fetching)
                return []
        except NoRangesError:
            pass
        except ChangedError:
            discard(target)
            continue
        try:
            _fetch_whole(remote, facts, target, progress)
        except ChangedError:
            continue
        return [
            f"the server sends {target.name} only as a whole: one connection, and no going on after a cut"
        ]
    raise DownloadError(
        f"{target.name} keeps changing on the server while it is fetched: {remote.url}",
        hint="try again later",
    )


def _fetch_parts(
    remote: RemoteBytes, facts: Facts, target: Path, progress: Progress, fetching: Fetching
) -> None:
    part = UnfinishedFile(target, facts)
    try:
        gaps = [
            gap
            for begin in range(0, facts.bytes, fetching.part_bytes)
            for gap in part.missing(begin, min(begin + fetching.part_bytes, facts.bytes))
        ]
        crew = _Crew(remote, facts, part, iter(gaps))
        crew.work(fetching.connections, lambda: progress(f"fetch {target.name}", part.done, facts.bytes))
    finally:
        part.close()


def _fetch_whole(remote: RemoteBytes, facts: Facts, target: Path, progress: Progress) -> None:
    discard(target)
    refuse_full(target.name, target.parent, facts.bytes)
    with part_path(target).open("wb") as file:
        for begin, chunk in remote.whole(facts):
            file.seek(begin)
            file.write(chunk)
            progress(f"fetch {target.name}", begin + len(chunk), facts.bytes)


def _prove(target: Path, md5: str, url: str, progress: Progress) -> None:
    """Give the part file its name where its MD5 is right; remove it where it is not."""
    part = part_path(target)
    found = file_md5(part, progress)
    if found != md5:
        discard(target)
        raise DownloadError(
            f"{target.name} from {url} has the MD5 {found}, it should be {md5}",
            hint="what was fetched is removed: try again, or another source with --from",
        )
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    journal_path(target).unlink(missing_ok=True)


class _Crew:
    """Threads that each take the next gap until none is left; the first error ends them all."""

    def __init__(
        self, remote: RemoteBytes, facts: Facts, part: UnfinishedFile, gaps: Iterator[tuple[int, int]]
    ) -> None:
        self._remote, self._facts, self._part, self._gaps = remote, facts, part, gaps
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._noted = min(max(facts.bytes // _NOTES, _LEAST_NOTED), _MOST_NOTED)

    def work(self, connections: int, tell: Callable[[], None]) -> None:
        """Returns once every gap is filled; `tell` is called in this thread, now and then."""
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_POLL_SECONDS)
                    tell()
        except BaseException:
            self._stop.set()
            raise
        if self._failure is not None:
            raise self._failure
        tell()

    def _run(self) -> None:
        try:
            while (gap := self._next()) is not None and not self._stop.is_set():
                self._fill(*gap)
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()

    def _next(self) -> tuple[int, int] | None:
        with self._lock:
            return next(self._gaps, None)

    def _fill(self, begin: int, end: int) -> None:
        held = bytearray()
        try:
            for chunk in self._remote.chunks(begin, end, self._facts, self._stop):
                held += chunk
                if len(held) >= self._noted:
                    self._part.write(begin, bytes(held))
                    begin += len(held)
                    held.clear()
        finally:
            if held:
                self._part.write(begin, bytes(held))
