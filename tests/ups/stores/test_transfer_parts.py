"""The pieces that transfers are made of: threads, caps, and what is noted of an interruption."""

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from ups.errors import StoreError
from ups.store import Upload
from ups.stores.crew import Crew, Job, StoppedError
from ups.stores.flow import Budget
from ups.stores.part_file import PartFile, journal_path, locked_part, part_path
from ups.stores.s3 import S3Store
from ups.stores.s3_journal import Begun, Source, Stored, UploadJournal


class TestCrew:
    def test_does_all_jobs_and_what_follows_from_them(self) -> None:
        done: list[int] = []
        lock = threading.Lock()

        def job(number: int) -> Iterable[Job]:
            with lock:
                done.append(number)
            return [lambda: job(10 * number)] if number < 100 else ()

        Crew(3).work([lambda: job(1), lambda: job(2), lambda: job(3)])
        assert sorted(done) == [1, 2, 3, 10, 20, 30, 100, 200, 300]

    def test_finishes_what_is_begun_before_it_begins_more(self) -> None:
        order: list[str] = []

        def begin(name: str) -> Iterable[Job]:
            order.append(name)
            return [lambda: finish(name)]

        def finish(name: str) -> Iterable[Job]:
            order.append(f"{name}, done")
            return ()

        Crew(1).work([lambda: begin("a"), lambda: begin("b")])
        assert order == ["a", "a, done", "b", "b, done"]

    def test_ends_with_the_first_error_and_stops_the_others(self) -> None:
        crew, begun = Crew(2), threading.Event()
        done: list[int] = []

        def fail() -> Iterable[Job]:
            begun.wait(PATIENCE_S)
            raise StoreError("full")

        def long() -> Iterable[Job]:
            begun.set()
            while True:
                crew.check()

        def later() -> Iterable[Job]:
            done.append(1)
            return ()

        with pytest.raises(StoreError, match="full"):
            crew.work([long, fail, later])
        assert done == []
        with pytest.raises(StoppedError):
            crew.check()


def test_a_budget_lets_one_in_that_is_larger_than_all_of_it() -> None:
    budget = Budget(10)
    give_back = budget.take(1000)
    waiting = threading.Thread(target=lambda: budget.take(1)(), daemon=True)
    waiting.start()
    assert waiting.is_alive()
    give_back()
    waiting.join(5)
    assert not waiting.is_alive()


class TestJournal:
    def test_remembers_until_all_is_done(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x")
        source = Source.of(tmp_path / "file")
        stored = Stored(source, "sha", "etag")
        journal = UploadJournal(tmp_path / "uploads.jsonl")
        journal.note_batch("call")
        journal.note_begun("large", Begun(source, "id", 5, 1e18))
        journal.note_begun("small", Begun(source, "id", 5, 1e18))
        journal.note_stored("small", stored)
        journal.close(done=False)
        again = UploadJournal(tmp_path / "uploads.jsonl")
        assert again.stored == {"small": stored}
        assert again.begun == {"large": Begun(source, "id", 5, 1e18)}
        assert again.batches == {"call"}
        again.close(done=True)
        empty = UploadJournal(tmp_path / "uploads.jsonl")
        assert (empty.stored, empty.begun, empty.batches) == ({}, {}, set())
        empty.close(done=True)

    def test_survives_a_torn_line(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x")
        stored = Stored(Source.of(tmp_path / "file"), "sha", "etag")
        journal = UploadJournal(tmp_path / "uploads.jsonl")
        journal.note_stored("a", stored)
        journal.close(done=False)
        with (tmp_path / "uploads.jsonl").open("a") as file:
            file.write('{"key": "b", "pa')
        torn = UploadJournal(tmp_path / "uploads.jsonl")
        torn.note_stored("c", stored)
        torn.close(done=False)
        again = UploadJournal(tmp_path / "uploads.jsonl")
        assert again.stored == {"a": stored, "c": stored}
        again.close(done=False)

    def test_is_not_emptied_under_another_upload(self, tmp_path: Path) -> None:
        first, second = (UploadJournal(tmp_path / "uploads.jsonl") for _ in range(2))
        second.note_batch("call")
        first.close(done=True)
        assert (tmp_path / "uploads.jsonl").stat().st_size > 0
        second.close(done=True)
        assert (tmp_path / "uploads.jsonl").stat().st_size == 0


class TestPartFile:
    def test_is_of_one_process_at_a_time(self, tmp_path: Path) -> None:
        file = locked_part(tmp_path / "target")
        with pytest.raises(StoreError, match="another process"):
            locked_part(tmp_path / "target")
        file.close()
        locked_part(tmp_path / "target").close()

    def test_drops_what_was_of_another_object(self, tmp_path: Path) -> None:
        target = tmp_path / "target"
        part = PartFile(target, locked_part(target), 10, "one")
        part.write(0, iter([b"12345"]))
        part.close()
        same = PartFile(target, locked_part(target), 10, "one")
        assert same.gaps(4) == [(5, 8), (8, 10)]
        same.close()
        other = PartFile(target, locked_part(target), 10, "two")
        assert other.missing == 10
        other.write(5, iter([b"67", b"890"]))
        other.write(0, iter([b"12345"]))
        assert other.sha256() == hashlib.sha256(b"1234567890").hexdigest()
        other.close()
        assert part_path(target).read_bytes() == b"1234567890"
        assert journal_path(target).exists()


def test_a_file_that_changes_while_it_is_sent_is_not_stored(b2_store: S3Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(11 * 1024 * 1024))

    def changing(done: int, total: int) -> None:
        source.write_bytes(bytes(done))

    with pytest.raises(StoreError, match="changed"):
        b2_store.upload_all([Upload(source, "a")], progress=changing)
    assert b2_store.find("a") is None
