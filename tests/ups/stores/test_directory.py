"""The directory store: atomic, hidden while unfinished, errors in the user's words."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from ups.errors import ConfigError, NotFoundError, StoreError
from ups.store import Download, Upload, free_bytes, open_store
from ups.stores import directory as store_module
from ups.stores import workspaces
from ups.stores.directory import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TestObjects:
    def test_are_listed_by_prefix_in_order(self, store: DirectoryStore) -> None:
        for key in ("b/2", "b/1", "a", "bc/1"):
            store.write_bytes(key, key.encode())
        assert [info.key for info in store.list("b/")] == ["b/1", "b/2"]
        assert [info.key for info in store.list("b")] == ["b/1", "b/2", "bc/1"]
        assert [(info.key, info.bytes) for info in store.list()] == [
            ("a", 1), ("b/1", 3), ("b/2", 3), ("bc/1", 4),
        ]  # fmt: skip

    def test_of_a_store_that_does_not_exist_are_none(self, store: DirectoryStore) -> None:
        assert list(store.list("pdebench/full/")) == []
        assert not store.root.exists()

    def test_that_are_missing_are_not_found(self, store: DirectoryStore, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="a/b"):
            store.read_bytes("a/b")
        with pytest.raises(NotFoundError, match="a/b"):
            store.download("a/b", tmp_path / "target", sha256="")
        assert store.local_path("a/b") is None
        store.delete("a/b")

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../outside"])
    def test_have_keys_inside_of_the_store(self, store: DirectoryStore, key: str) -> None:
        with pytest.raises(StoreError, match="key"):
            store.write_bytes(key, b"")

    def test_are_replaced_whole_or_not_at_all(
        self, store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.write_bytes("object", b"old")
        source = tmp_path / "source"
        source.write_bytes(b"new")

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(store_module.os, "fsync", full)
        with pytest.raises(StoreError, match="no space left"):
            store.upload(source, "object")
        assert store.read_bytes("object") == b"old"
        assert [path.name for path in store.root.iterdir()] == ["object"]

    def test_are_uploaded_with_the_sha256_of_what_was_stored(
        self, store: DirectoryStore, tmp_path: Path
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(100_000))
        told: list[tuple[int, int]] = []
        digest = store.upload(source, "folder/object", progress=lambda *what: told.append(what))
        assert digest == sha256(store.read_bytes("folder/object"))
        assert told[-1] == (100_000, 100_000)

    def test_are_downloaded_only_with_the_right_sha256(self, store: DirectoryStore, tmp_path: Path) -> None:
        store.write_bytes("object", b"content")
        target = tmp_path / "target"
        with pytest.raises(StoreError, match="sha256"):
            store.download("object", target, sha256=sha256(b"other"))
        assert not target.exists()
        store.download("object", target, sha256=sha256(b"content"))
        assert target.read_bytes() == b"content"

    def test_in_a_directory_that_may_not_be_written_are_a_store_error(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(store_module.os, "open", refuse)
        with pytest.raises(StoreError, match="may not be written") as refused:
            store.write_bytes("object", b"")
        assert "permissions" in refused.value.hint


class TestStaging:
    def test_vanishes_with_what_was_not_moved(self, store: DirectoryStore) -> None:
        with store.staging() as folder:
            (folder / "kept").write_bytes(b"kept")
            (folder / "left").write_bytes(b"left")
            store.move(folder / "kept", "a/kept")
            assert [info.key for info in store.list()] == ["a/kept"]
        assert [path.name for path in store.root.iterdir()] == ["a"]

    def test_leaves_no_empty_store_behind(self, store: DirectoryStore) -> None:
        with pytest.raises(ZeroDivisionError), store.staging():
            raise ZeroDivisionError
        assert not store.root.exists()

    def test_removes_what_dead_processes_left_but_not_the_living(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspaces, "_NEWBORN_SECONDS", 0.0)
        orphan = store.root / ".tmp-orphan"
        orphan.mkdir(parents=True)
        (orphan / "large").write_bytes(b"x")
        with store.staging() as living, store.staging() as other:
            assert not orphan.exists()
            assert living.is_dir()
            assert other.is_dir()

    def test_that_is_new_is_not_swept_before_its_owner_locks_it(self, store: DirectoryStore) -> None:
        newborn = store.root / ".tmp-newborn"
        newborn.mkdir(parents=True)
        with store.staging():
            assert newborn.is_dir()

    def test_moved_over_an_object_replaces_it(self, store: DirectoryStore) -> None:
        store.write_bytes("object", b"old")
        store.write_bytes("next", b"new")
        store.rename("next", "object")
        assert store.read_bytes("object") == b"new"
        assert store.local_path("next") is None

    def test_in_a_store_that_may_not_be_written_is_a_store_error(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(workspaces.tempfile, "mkdtemp", refuse)
        with pytest.raises(StoreError, match="may not be written"), store.staging():
            pass


def test_one_writer_waits_for_the_other(store: DirectoryStore) -> None:
    order = []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with store.exclusive():
            entered.set()
            leave.wait(PATIENCE_S)
            order.append("first")

    def second() -> None:
        with DirectoryStore(store.root).exclusive():
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    entered.wait(PATIENCE_S)
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["first", "second"]


class TestOpening:
    def test_takes_a_directory(self, tmp_path: Path) -> None:
        found = open_store(f"dir:{tmp_path}")
        assert found.url == f"dir:{tmp_path}"

    @pytest.mark.parametrize("url", ["", "dir:", "/path", "ftp://host"])
    def test_refuses_what_it_does_not_know(self, url: str) -> None:
        with pytest.raises(ConfigError) as refused:
            open_store(url)
        assert "dir:/path" in refused.value.hint


def test_free_space_is_that_of_the_nearest_directory(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.1)


class TestManyObjects:
    def test_go_there_and_back_with_one_progress_over_all(
        self, store: DirectoryStore, tmp_path: Path
    ) -> None:
        contents = {f"many/{index}": bytes([index]) * (1000 + index) for index in range(5)}
        sources = [tmp_path / str(index) for index in range(5)]
        for source, content in zip(sources, contents.values(), strict=True):
            source.write_bytes(content)
        told: list[tuple[int, int]] = []

        hashes = store.upload_all(
            [Upload(source, key) for source, key in zip(sources, contents, strict=True)],
            progress=lambda done, total: told.append((done, total)),
        )
        assert hashes == tuple(map(sha256, contents.values()))
        assert told[-1] == (5010, 5010)
        assert told == sorted(told)

        targets = [tmp_path / "back" / str(index) for index in range(5)]
        targets[0].parent.mkdir()
        store.download_all(
            [Download(key, target, sha) for key, target, sha in zip(contents, targets, hashes, strict=True)],
            progress=lambda done, total: told.append((done, total)),
        )
        assert [target.read_bytes() for target in targets] == list(contents.values())
        assert told[-1] == (5010, 5010)

        store.delete_all(list(contents)[1:])
        assert [info.key for info in store.list()] == ["many/0"]

    def test_are_found_and_read_in_parts(self, store: DirectoryStore) -> None:
        store.write_bytes("a/b", b"0123456789")
        found = store.find("a/b")
        assert found is not None
        assert (found.key, found.bytes) == ("a/b", 10)
        assert found == next(store.list("a/"))
        assert store.find("a") is None
        assert store.read_range("a/b", 3, 6) == b"345"
        assert store.read_range("a/b", 8, 20) == b"89"
        with pytest.raises(NotFoundError, match="a/c"):
            store.read_range("a/c", 0, 1)

    def test_have_another_etag_once_they_change(self, store: DirectoryStore) -> None:
        store.write_bytes("a", b"1")
        before = next(store.list()).etag
        store.write_bytes("a", b"2")
        assert next(store.list()).etag != before
