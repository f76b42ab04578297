"""Brings objects to this machine: several at once, large ones in ranges, each proven by its sha256.

An object up to the size of a piece is one request and is hashed as it comes. A larger one is fetched in
pieces by whoever has a hand free and goes on after a kill (`ups.stores.part_file`). A file that is there
already is hashed, and kept where it is right. Nothing is synced to the disk: after a power cut the hash
tells. Free of torch.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING

from ups.errors import NotFoundError, StoreError
from ups.store import Download, Progress, file_sha256, free_bytes, store_error
from ups.stores.crew import Crew, Job
from ups.stores.flow import Admission, Pace, Tally
from ups.stores.part_file import JOURNAL, PART, PartFile, journal_path, locked_part, part_path, write_all
from ups.stores.s3_bulk import STREAMED, Answer, Bulk
from ups.stores.s3_errors import CutError, cut_short, persistently, wrong_content
from ups.stores.s3_settings import BucketSettings
from ups.stores.s3_upload import Lanes

if TYPE_CHECKING:  # boto3 takes a while to start, and many transfers never need it
    from ups.stores.s3_control import Control


class Downloader:
    """Downloads from one bucket."""

    def __init__(
        self, settings: BucketSettings, control: "Callable[[], Control]", bulk: Bulk, pace: Pace, lanes: Lanes
    ) -> None:
        self._settings, self._control, self._bulk = settings, control, bulk
        self._pace, self._lanes = pace, lanes

    def download_all(self, files: Sequence[Download], progress: Progress | None) -> None:
        """Fetch the objects; raises NotFoundError, StoreError."""
        sizes = self._control().find_all([file.key for file in files]) if progress is not None else {}
        tally = Tally(sum(info.bytes for info in sizes.values()), progress)
        crew = Crew(self._lanes.lanes)
        batch = _Batch(
            self._settings, self._control, self._bulk, self._pace, tally, crew, self._lanes.part_bytes,
            Admission(self._lanes.part_bytes), _present(files),
        )  # fmt: skip
        try:
            crew.work(partial(batch.file, file) for file in files)
        finally:
            for part in batch.unfinished:
                part.close()


def _present(files: Sequence[Download]) -> set[str]:
    """Make the directories of the targets; what is in them."""
    present: set[str] = set()
    for folder in {file.target.parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
        present.update(map(str, folder.iterdir()))
    return present


@dataclass(frozen=True, slots=True)
class _Batch:
    """One call's objects, and what its jobs share."""

    settings: BucketSettings
    control: "Callable[[], Control]"
    bulk: Bulk
    pace: Pace
    tally: Tally
    crew: Crew
    piece: int
    admission: Admission
    present: Container[str]
    """Paths of what was in the targets' directories before."""
    unfinished: list[PartFile] = field(default_factory=list)
    """Large objects, whether they are complete by now or not."""

    def file(self, file: Download) -> Iterable[Job]:
        """Fetch one object, or begin to."""
        try:
            if str(file.target) in self.present and self._kept(file):
                return ()
            if f"{file.target}{JOURNAL}" in self.present:
                return self._go_on(file)
            return self._begin(file)
        except OSError as error:
            raise store_error(error, file.target) from error

    def _kept(self, file: Download) -> bool:
        """Whether the file is there already."""
        if not file.target.exists() or file_sha256(file.target) != file.sha256:
            return False
        self.tally.add(file.target.stat().st_size)
        return True

    def _go_on(self, file: Download) -> Iterable[Job]:
        """Fetch what is missing of an object that an earlier process began."""
        found = self.control().find(file.key)
        if found is None:
            raise NotFoundError(f"{self.settings.url} has no {file.key}")
        if found.bytes > self.piece:
            return self._large(file, found.bytes, found.etag)
        following = self._begin(file)
        if not following:
            journal_path(file.target).unlink(missing_ok=True)
        return following

    def _begin(self, file: Download) -> Sequence[Job]:
        """Fetch an object with one request; where it is too large for that, say what there is to do."""
        large = persistently(self.settings.patience, lambda: self._small(file))
        return () if large is None else self._large(file, large.size, large.etag)

    def _large(self, file: Download, size: int, etag: str) -> Sequence[Job]:
        part = locked_part(file.target)
        try:
            return _Large.begun(self, file, part, size, etag).jobs()
        except BaseException:
            if not journal_path(file.target).exists():
                part_path(file.target).unlink(missing_ok=True)
            part.close()
            raise

    def _small(self, file: Download) -> Answer | None:
        let_others_in = self.admission.of_unknown_size()
        try:
            answer = self.bulk.get(file.key)
            self.admission.note(min(answer.size, self.piece))
            if answer.size > self.piece:
                return answer
            self._take(file, answer)
            return None
        finally:
            let_others_in()

    def _take(self, file: Download, answer: Answer) -> None:
        """Write an answer, prove it, and give the file its name."""
        digest, got = hashlib.sha256(), 0
        chunks: Iterable[bytes | memoryview]
        chunks = [answer.whole()] if answer.size <= STREAMED else answer.chunks
        with locked_part(file.target) as part:
            try:
                if os.fstat(part.fileno()).st_size:  # ext4 writes a file out at once that was emptied
                    part.truncate()
                for chunk in self.paced(chunks):
                    write_all(part, chunk)
                    digest.update(chunk)
                    got += len(chunk)
                if got != answer.size:
                    raise cut_short(self.settings, file.key, got, answer.size)
                if digest.hexdigest() != file.sha256:
                    raise wrong_content(self.settings, file.key)
                os.replace(f"{file.target}{PART}", file.target)  # noqa: PTH105 - a string is cheaper
            except BaseException as error:
                part_path(file.target).unlink(missing_ok=True)
                if isinstance(error, CutError):
                    self.tally.add(-got)
                raise

    def paced(self, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        """The chunks, no faster than allowed, counted, until somebody stops."""
        for chunk in chunks:
            self.crew.check()
            self.pace.take(len(chunk))
            yield chunk
            self.tally.add(len(chunk))


class _Large:
    """An object that is fetched in pieces."""

    def __init__(self, batch: _Batch, file: Download, part: PartFile) -> None:
        self._batch, self._file, self._part = batch, file, part
        self._left = 0
        self._lock = threading.Lock()

    @classmethod
    def begun(cls, batch: _Batch, file: Download, part: FileIO, size: int, etag: str) -> "_Large":
        """Go on with what is there of it; raises StoreError where there is no room for the rest."""
        opened = PartFile(file.target, part, size, etag)
        batch.unfinished.append(opened)
        missing, free = opened.missing, free_bytes(file.target.parent)
        if missing > free:
            raise StoreError(
                f"{file.target} needs {missing / 1e6:,.0f} MB more, but there are {free / 1e6:,.0f} MB free",
                hint="free some space, or choose another directory",
            )
        batch.tally.add(size - missing)
        return cls(batch, file, opened)

    def jobs(self) -> Sequence[Job]:
        """What is left to do."""
        gaps = self._part.gaps(self._batch.piece)
        self._left = len(gaps)
        if not gaps:
            self._prove()
        return [partial(self._fetch, begin, end) for begin, end in gaps]

    def _fetch(self, begin: int, end: int) -> Iterable[Job]:
        try:
            persistently(self._batch.settings.patience, partial(self._fill_all, begin, end))
        except OSError as error:
            raise store_error(error, self._file.target) from error
        with self._lock:
            self._left -= 1
            complete = self._left == 0
        if complete:
            self._prove()
        return ()

    def _fill_all(self, begin: int, end: int) -> None:
        for gap in self._part.gaps_in(begin, end):
            self._fill(*gap)

    def _fill(self, begin: int, end: int) -> None:
        let_others_in = self._batch.admission.of_size(end - begin)
        try:
            self._receive(begin, end)
        finally:
            let_others_in()

    def _receive(self, begin: int, end: int) -> None:
        answer = self._batch.bulk.get_range(self._file.key, begin, end)
        if (answer.size, answer.etag) != (self._part.size, self._part.version):
            raise self._replaced()
        reached = self._part.write(begin, self._batch.paced(answer.chunks))
        if reached != end:
            raise cut_short(self._batch.settings, self._file.key, reached - begin, end - begin)

    def _replaced(self) -> StoreError:
        self._discard()
        return StoreError(
            f"{self._batch.settings.url}/{self._file.key} was replaced while it was fetched",
            hint="run the command again",
        )

    def _prove(self) -> None:
        """Give the file its name where its hash is right; remove it where it is not."""
        right = self._part.sha256() == self._file.sha256
        if not right:
            self._discard()
            raise wrong_content(self._batch.settings, self._file.key)
        part_path(self._file.target).replace(self._file.target)
        journal_path(self._file.target).unlink(missing_ok=True)

    def _discard(self) -> None:
        journal_path(self._file.target).unlink(missing_ok=True)
        part_path(self._file.target).unlink(missing_ok=True)
