"""Brings files into a bucket: several at once, large ones in parts, and none of it twice after a kill.

A file up to the size of a part is one request. A larger one is a multipart upload, whose object appears
when the last part has arrived; its id and every object that is stored are noted in the store's journal.
After an interruption what the journal, or the bucket itself, has already is compared by MD5 with the file
and left alone. The sha256 is of the very bytes that were sent. Free of torch.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ups.errors import StoreError
from ups.store import ObjectInfo, Progress, Upload
from ups.stores.crew import Crew, Job
from ups.stores.flow import Budget, Buffers, Pace, Tally
from ups.stores.s3_bulk import Bulk
from ups.stores.s3_journal import Begun, Source, Stored, UploadJournal

if TYPE_CHECKING:  # boto3 takes a while to start, and many transfers never need it
    from ups.stores.s3_control import Control, Part

_MOST_PARTS = 10_000
"""Of one upload, by the protocol."""
_IN_MEMORY = 512 * 1024 * 1024
"""Bytes of parts that are being sent."""

_HASHED = 512 * 1024
"""Bytes that are hashed at a time, while the processor still has what was read."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How transfers are cut and how many run at once."""

    lanes: int = 16
    """Requests at once: a bucket far away answers late, and small objects wait for nothing else."""
    part_bytes: int = 64 * 1024 * 1024
    """Of large objects; smaller ones are moved whole."""


class Uploader:
    """Uploads to one bucket."""

    def __init__(
        self, control: "Callable[[], Control]", bulk: Bulk, journal: Path, pace: Pace, lanes: Lanes
    ) -> None:
        self._control, self._bulk = control, bulk
        self._journal, self._pace, self._lanes = journal, pace, lanes

    def upload_all(self, files: Sequence[Upload], progress: Progress | None) -> tuple[str, ...]:
        """Store the files; the sha256 of each. Raises StoreError, OSError."""
        sources = [Source.of(file.source) for file in files]
        tally = Tally(sum(source.bytes for source in sources), progress)
        journal = UploadJournal(self._journal)
        batch = _Batch(self._control, self._bulk, journal, self._pace, tally)
        done = False
        try:
            self._give_up_stale(journal)
            batch.known.update(self._known(files, journal))
            crew = Crew(min(self._lanes.lanes, sum(1 + s.bytes // self._lanes.part_bytes for s in sources)))
            items = [_Item(file, source) for file, source in zip(files, sources, strict=True)]
            crew.work(partial(batch.file, item, self._part_bytes(item.source)) for item in items)
            done = True
        finally:
            for opened in batch.opened:
                opened.close()
            journal.close(done=done)
        return tuple(item.sha256 for item in items)

    def _part_bytes(self, source: Source) -> int:
        return max(self._lanes.part_bytes, -(-source.bytes // _MOST_PARTS))

    def _known(self, files: Sequence[Upload], journal: UploadJournal) -> Mapping[str, ObjectInfo]:
        """What the bucket has already, where an earlier upload of these files was interrupted."""
        keys = [file.key for file in files]
        name = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
        noted = journal.stored.keys() | journal.begun.keys()
        interrupted = name in journal.batches or any(key in noted for key in keys)
        journal.note_batch(name)
        return self._control().find_all(keys) if interrupted else {}

    def _give_up_stale(self, journal: UploadJournal) -> None:
        for key, begun in journal.begun.items():
            if begun.stale:
                self._control().abort_parts(key, begun.upload)


@dataclass(slots=True)
class _Item:
    file: Upload
    source: Source
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class _Batch:
    """One call's files, and what its jobs share."""

    control: "Callable[[], Control]"
    bulk: Bulk
    journal: UploadJournal
    pace: Pace
    tally: Tally
    known: dict[str, ObjectInfo] = field(default_factory=dict)
    """What the bucket has already of what is to be stored."""
    budget: Budget = field(default_factory=lambda: Budget(_IN_MEMORY))
    buffers: Buffers = field(default_factory=Buffers)
    opened: list[BinaryIO] = field(default_factory=list)

    def file(self, item: _Item, part_bytes: int) -> Iterable[Job]:
        """Store one file, or begin to."""
        key, source = item.file.key, item.source
        earlier, there = self.journal.stored.get(key), self.known.get(key)
        if earlier is not None and there is not None and _same(earlier, source, there):
            item.sha256 = earlier.sha256
            self.tally.add(source.bytes)
            return ()
        if source.bytes > part_bytes:
            if there is not None and there.bytes == source.bytes and self._complete(item, there, part_bytes):
                return ()
            return _Parts.begun(self, item, part_bytes).jobs()
        self._whole(item, there)
        return ()

    def _complete(self, item: _Item, there: ObjectInfo, part_bytes: int) -> bool:
        """Whether the object is the file: its upload ended after the journal's last line."""
        key, source, digest = item.file.key, item.source, hashlib.sha256()
        begun = self.journal.begun.get(key)
        size, etags = begun.part_bytes if begun is not None else part_bytes, dict[int, str]()
        with item.file.source.open("rb", buffering=0) as file:
            for number, start in enumerate(range(0, source.bytes, size), start=1):
                content = _read(file.fileno(), min(size, source.bytes - start), start, item.file.source)
                digest.update(content)
                etags[number] = _md5(content)
        if there.etag != _etag_of_parts(etags):
            return False
        if begun is not None:
            self.control().abort_parts(key, begun.upload)
        item.sha256 = digest.hexdigest()
        self.journal.note_stored(key, Stored(source, item.sha256, there.etag))
        self.tally.add(source.bytes)
        return True

    def _whole(self, item: _Item, there: ObjectInfo | None) -> None:
        key, source = item.file.key, item.source
        give_back = self.budget.take(source.bytes)
        try:
            with self.buffers.borrow(source.bytes) as content:
                item.sha256 = _fill(content, item.file.source)
                if there is not None and there.bytes == len(content) and there.etag == _md5(content):
                    etag = there.etag
                else:
                    self.pace.take(len(content))
                    etag = self.bulk.put(key, content)
        finally:
            give_back()
        self.journal.note_stored(key, Stored(source, item.sha256, etag))
        self.tally.add(source.bytes)


class _Parts:
    """A file that is sent in parts, by whoever has a hand free, but read and hashed in order."""

    def __init__(
        self, batch: _Batch, item: _Item, begun: Begun, there: "Mapping[int, Part]", part_bytes: int
    ) -> None:
        self._batch, self._item, self._begun, self._there = batch, item, begun, there
        self._size = part_bytes
        self._count = -(-item.source.bytes // part_bytes)
        self._file: BinaryIO = item.file.source.open("rb", buffering=0)
        batch.opened.append(self._file)
        self._digest = hashlib.sha256()
        self._etags: dict[int, str] = {}
        self._next = 1
        self._reading, self._booking = threading.Lock(), threading.Lock()

    @classmethod
    def begun(cls, batch: _Batch, item: _Item, part_bytes: int) -> "_Parts":
        """Go on with an earlier upload of the same file, or begin one."""
        key, source = item.file.key, item.source
        earlier = batch.journal.begun.get(key)
        if earlier is not None:
            there = None if earlier.source != source else batch.control().parts(key, earlier.upload)
            if there is not None:
                return cls(batch, item, earlier, {part.number: part for part in there}, earlier.part_bytes)
            batch.control().abort_parts(key, earlier.upload)
        begun = Begun(source, batch.control().begin_parts(key), part_bytes, time.time())
        batch.journal.note_begun(key, begun)
        return cls(batch, item, begun, {}, part_bytes)

    def jobs(self) -> Iterable[Job]:
        return [self._send] * self._count

    def _send(self) -> Iterable[Job]:
        """Send the next part; the last one done makes the object."""
        give_back = self._batch.budget.take(self._size)
        try:
            number, content = self._read_next()
            etag = self._present(number, content)
            if etag is None:
                self._batch.pace.take(len(content))
                etag = self._batch.control().put_part(
                    self._item.file.key, self._begun.upload, number, content
                )
        finally:
            give_back()
        self._batch.tally.add(len(content))
        with self._booking:
            self._etags[number] = etag
            complete = len(self._etags) == self._count
        if complete:
            self._finish()
        return ()

    def _read_next(self) -> tuple[int, bytes]:
        with self._reading:
            number, self._next = self._next, self._next + 1
            start = (number - 1) * self._size
            wanted = min(self._size, self._item.source.bytes - start)
            content = _read(self._file.fileno(), wanted, start, self._item.file.source)
            self._digest.update(content)
            return number, content

    def _present(self, number: int, content: bytes) -> str | None:
        """The ETag of a part that an earlier process sent, where it is the same."""
        part = self._there.get(number)
        if part is None or part.bytes != len(content) or part.etag.strip('"') != _md5(content):
            return None
        return part.etag

    def _finish(self) -> None:
        key, source, control = self._item.file.key, self._item.source, self._batch.control()
        if Source.of(self._item.file.source) != source:
            control.abort_parts(key, self._begun.upload)
            raise _changed(self._item.file.source)
        try:
            etag = control.finish_parts(key, self._begun.upload, self._etags)
        except StoreError:
            # The answer to an earlier try may have been lost; then the object is there and the upload gone.
            found, expected = control.find(key), _etag_of_parts(self._etags)
            if found is None or found.bytes != source.bytes or found.etag != expected:
                raise
            etag = found.etag
        self._item.sha256 = self._digest.hexdigest()
        self._batch.journal.note_stored(key, Stored(source, self._item.sha256, etag))


def _same(earlier: Stored, source: Source, there: ObjectInfo) -> bool:
    return earlier.source == source and there.bytes == source.bytes and there.etag == earlier.etag


def _read(handle: int, count: int, start: int, path: Path) -> bytes:
    """Exactly so many bytes; raises StoreError where the file has become shorter."""
    content = os.pread(handle, count, start)
    while len(content) < count:  # a signal, or more than the system reads at once
        more = os.pread(handle, count - len(content), start + len(content))
        if not more:
            raise _changed(path)
        content += more
    return content


def _fill(content: memoryview, path: Path) -> str:
    """Read a file that has exactly so many bytes; its sha256.

    Raises:
        StoreError: it has become shorter.
    """
    digest, done = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while done < len(content):
            count = file.readinto(content[done : done + _HASHED])
            if not count:
                raise _changed(path)
            digest.update(content[done : done + count])
            done += count
    return digest.hexdigest()


def _changed(path: Path) -> StoreError:
    return StoreError(f"{path} changed while it was uploaded", hint="run the command again")


def _md5(content: bytes | memoryview) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _etag_of_parts(etags: Mapping[int, str]) -> str:
    """The ETag that an object of these parts has, where the parts' are MD5s."""
    try:
        digests = b"".join(bytes.fromhex(etags[number].strip('"')) for number in sorted(etags))
    except ValueError:
        return ""
    return f"{_md5(digests)}-{len(etags)}"
