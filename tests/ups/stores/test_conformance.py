"""What every store does, whatever it is made of."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from ups.errors import NotFoundError, StoreError
from ups.store import Download, ObjectStore, Upload
from ups.stores.directory import DirectoryStore

LARGE = 12 * 1024 * 1024 + 12345
"""Three parts in a bucket, the last one odd."""


@pytest.fixture(params=["directory", "b2", "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    opened: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return opened


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestListing:
    def test_is_by_prefix_and_in_order(self, store: ObjectStore) -> None:
        for key in ("b/2", "b/1", "a", "bc/1", "b-", "b/0/x"):
            store.write_bytes(key, key.encode())
        assert [info.key for info in store.list()] == ["a", "b-", "b/0/x", "b/1", "b/2", "bc/1"]
        assert [info.key for info in store.list("b/2")] == ["b/2"]
        assert [info.key for info in store.list("bc")] == ["bc/1"]
        assert list(store.list("nothing/here")) == []

    def test_says_how_large_and_how_old(self, store: ObjectStore, tmp_path: Path) -> None:
        store.write_bytes("folder/object", b"12345")
        (info,) = store.list("folder/")
        assert (info.key, info.bytes) == ("folder/object", 5)
        assert abs(info.modified - written(tmp_path / "now", b"").stat().st_mtime) < 60
        found = store.find("folder/object")
        assert found is not None
        assert (found.key, found.bytes, found.etag) == ("folder/object", 5, info.etag)

    def test_has_an_etag_that_changes_with_the_content(self, store: ObjectStore) -> None:
        store.write_bytes("object", b"one")
        (before,) = store.list("object")
        store.write_bytes("object", b"two")
        (after,) = store.list("object")
        assert before.etag != after.etag

    def test_leaves_out_what_is_unfinished(self, store: ObjectStore) -> None:
        store.write_bytes("folder/.tmp-new", b"half")
        store.write_bytes("folder/object", b"whole")
        assert [info.key for info in store.list("folder/")] == ["folder/object"]
        assert store.read_bytes("folder/.tmp-new") == b"half"

    def test_of_more_than_a_page_is_whole(self, rclone_store: ObjectStore, tmp_path: Path) -> None:
        store = rclone_store
        source = written(tmp_path / "source", b"x")
        store.upload_all([Upload(source, f"many/{index:04d}") for index in range(1005)])
        assert [info.key for info in store.list("many/")] == [f"many/{index:04d}" for index in range(1005)]
        store.delete_all([info.key for info in store.list("many/")])
        assert list(store.list("many/")) == []


class TestObjects:
    @pytest.mark.parametrize("content", [b"", b"content"])
    @pytest.mark.parametrize("key", ["object", "a folder/ümlaut #1?&+%20.txt"])
    def test_come_back_as_they_were(
        self, store: ObjectStore, tmp_path: Path, key: str, content: bytes
    ) -> None:
        store.write_bytes(key, content)
        assert store.read_bytes(key) == content
        store.download(key, tmp_path / "target", sha256=sha256(content))
        assert (tmp_path / "target").read_bytes() == content
        assert [info.key for info in store.list()] == [key]

    def test_that_are_missing_are_not_found(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="a/b"):
            store.read_bytes("a/b")
        with pytest.raises(NotFoundError, match="a/b"):
            store.read_range("a/b", 0, 1)
        with pytest.raises(NotFoundError, match="a/b"):
            store.download("a/b", tmp_path / "target", sha256="")
        assert list(tmp_path.glob("target*")) == []
        assert store.find("a/b") is None
        assert store.local_path("a/b") is None
        store.delete("a/b")

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../outside", "a//b", "a/"])
    def test_have_keys_inside_of_the_store(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(StoreError, match="key"):
            store.write_bytes(key, b"")
        with pytest.raises(StoreError, match="key"):
            store.read_bytes(key)

    def test_are_read_in_ranges(self, store: ObjectStore) -> None:
        store.write_bytes("object", b"0123456789")
        assert store.read_range("object", 2, 5) == b"234"
        assert store.read_range("object", 8, 20) == b"89"
        assert store.read_range("object", 20, 30) == b""
        assert store.read_range("object", 5, 5) == b""

    def test_are_replaced(self, store: ObjectStore) -> None:
        store.write_bytes("object", b"old")
        store.write_bytes("object", b"new")
        assert store.read_bytes("object") == b"new"

    def test_are_deleted(self, store: ObjectStore) -> None:
        for key in ("a", "b/c", "b/d"):
            store.write_bytes(key, b"")
        store.delete("a")
        store.delete_all(["b/c", "b/absent"])
        assert [info.key for info in store.list()] == ["b/d"]

    def test_are_renamed_over_others(self, store: ObjectStore) -> None:
        store.write_bytes("a/new", b"new")
        store.write_bytes("a/object", b"old")
        store.rename("a/new", "a/object")
        assert store.read_bytes("a/object") == b"new"
        assert [info.key for info in store.list()] == ["a/object"]


class TestTransfers:
    @pytest.mark.parametrize("size", [0, 100_000, LARGE])
    def test_keep_every_byte_and_state_its_sha256(
        self, store: ObjectStore, tmp_path: Path, size: int
    ) -> None:
        content = os.urandom(size)
        up: list[tuple[int, int]] = []
        digest = store.upload(
            written(tmp_path / "source", content), "a/b", progress=lambda *told: up.append(told)
        )
        assert digest == sha256(content)
        down: list[tuple[int, int]] = []
        store.download("a/b", tmp_path / "target", sha256=digest, progress=lambda *told: down.append(told))
        assert (tmp_path / "target").read_bytes() == content
        if size:
            assert up[-1] == down[-1] == (size, size)
            assert [done for done, _ in up] == sorted(done for done, _ in up)
        assert sorted(path.name for path in tmp_path.glob("t*")) == ["target"]

    @pytest.mark.parametrize("size", [100, LARGE])
    def test_of_other_content_than_stated_never_appear(
        self, store: ObjectStore, tmp_path: Path, size: int
    ) -> None:
        store.upload(written(tmp_path / "source", bytes(size)), "object")
        target = written(tmp_path / "target", b"as it was")
        for _ in range(2):  # nothing of the first time is used by the second
            with pytest.raises(StoreError, match="sha256"):
                store.download("object", target, sha256=sha256(b"other"))
        assert target.read_bytes() == b"as it was"
        assert [path.name for path in tmp_path.glob("target*")] == ["target"]

    def test_of_many_keep_their_order(self, store: ObjectStore, tmp_path: Path) -> None:
        contents = [os.urandom(1000 + index) for index in range(30)] + [os.urandom(LARGE)]
        files = [
            Upload(written(tmp_path / f"source-{index}", content), f"many/{index}")
            for index, content in enumerate(contents)
        ]
        told: list[tuple[int, int]] = []
        digests = store.upload_all(files, progress=lambda *what: told.append(what))
        assert digests == tuple(map(sha256, contents))
        total = sum(map(len, contents))
        assert told[-1] == (total, total)
        targets = [tmp_path / "in" / "folders" / f"target-{index}" for index in range(len(contents))]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        told.clear()
        store.download_all(
            [Download(f.key, t, d) for f, t, d in zip(files, targets, digests, strict=True)],
            progress=lambda *what: told.append(what),
        )
        assert [target.read_bytes() for target in targets] == contents
        assert told[-1] == (total, total)

    def test_of_none_do_nothing(self, store: ObjectStore) -> None:
        assert store.upload_all([]) == ()
        store.download_all([])

    def test_of_many_say_which_one_is_missing(self, store: ObjectStore, tmp_path: Path) -> None:
        store.write_bytes("there", b"x")
        with pytest.raises(NotFoundError, match="absent"):
            store.download_all(
                [Download("there", tmp_path / "1", sha256(b"x")), Download("absent", tmp_path / "2", "")]
            )


class TestWorking:
    def test_in_a_staging_directory_ends_in_the_store(self, store: ObjectStore) -> None:
        with store.staging() as folder:
            path = written(folder / "file", b"content")
            store.move(path, "a/object")
            assert not path.exists()
        assert not folder.exists()
        assert store.read_bytes("a/object") == b"content"
        assert [info.key for info in store.list()] == ["a/object"]

    def test_in_a_workspace_goes_on_after_an_interruption(self, store: ObjectStore) -> None:
        with suppress(KeyboardInterrupt), store.workspace("work") as folder:
            written(folder / "half", b"")
            raise KeyboardInterrupt
        with store.workspace("work") as again:
            assert (again / "half").exists()
            assert store.shared_workspace("work") == again
            with pytest.raises(StoreError, match="another process"), store.workspace("work"):
                pass
        assert not again.exists()

    def test_in_workspaces_that_nobody_needs_is_discarded(self, store: ObjectStore) -> None:
        for name in ("darcy-1", "darcy-2", "burgers-1"):
            with suppress(KeyboardInterrupt), store.workspace(name):
                raise KeyboardInterrupt
        store.discard_workspaces("darcy-", but="darcy-2")
        left = [name for name in ("darcy-1", "darcy-2", "burgers-1") if store.shared_workspace(name).exists()]
        assert left == ["darcy-2", "burgers-1"]

    def test_exclusively_is_for_one_at_a_time(self, store: ObjectStore) -> None:
        with store.exclusive():
            store.write_bytes("object", b"")
        with store.exclusive():
            assert store.read_bytes("object") == b""
