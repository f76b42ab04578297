"""A run computes with the very bytes that it pins, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from remote.failures import StopRequested
from remote.hydrate import Datasets, Hydrator
from remote.verified import VerifiedFiles
from tests.remote.conftest import MakeRun, pins_of, write_dataset
from ups.catalog import dataset_key, manifest_key
from ups.errors import NotFoundError, StoreError
from ups.rundir import RunDirectory
from ups.store import file_sha256
from ups.stores.directory import DirectoryStore


class Bucket(DirectoryStore):
    """A directory that behaves as a bucket: nothing in it is a local file."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.downloads: list[str] = []

    def local_path(self, key: str) -> Path | None:
        return None

    def download(self, key: str, target: Path, **options: object) -> None:
        self.downloads.append(key)
        super().download(key, target, **options)  # type: ignore[arg-type]


class Progress:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, task: str, done: int, total: int) -> None:
        self.calls.append((task, done, total))


def hydrate(run: RunDirectory, store: DirectoryStore) -> tuple[Datasets, Progress]:
    progress = Progress()
    return Hydrator(run.read_spec(), store, run).hydrate(progress), progress


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose content was hashed."""
    files: list[Path] = []
    verify = VerifiedFiles.verify

    def counting(self: VerifiedFiles, file: Path, progress: Callable[[int], None]) -> str:
        files.append(file)
        return verify(self, file, progress)

    monkeypatch.setattr(VerifiedFiles, "verify", counting)
    return files


class TestInPlace:
    def test_files_of_a_directory_store_are_used_where_they_are(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        found, progress = hydrate(make_run(), store)
        assert found["advection1d"]["train"] == store.root / dataset_key("advection1d", "train")
        assert set(found["advection1d"]) == {"train", "val", "test"}
        total = sum(path.stat().st_size for path in found["advection1d"].values())
        assert progress.calls[-1] == ("advection1d", total, total)
        assert [done for _, done, _ in progress.calls] == sorted(done for _, done, _ in progress.calls)

    def test_a_resume_does_not_hash_again(
        self, make_run: MakeRun, store: DirectoryStore, hashed: list[Path]
    ) -> None:
        run = make_run()
        hydrate(run, store)
        assert len(hashed) == 3
        hydrate(run, store)
        assert Hydrator(run.read_spec(), store, run).ready() is not None
        assert len(hashed) == 3

    def test_a_touched_file_is_hashed_again(
        self, make_run: MakeRun, store: DirectoryStore, hashed: list[Path]
    ) -> None:
        run = make_run()
        hydrate(run, store)
        (store.root / dataset_key("advection1d", "val")).touch()
        assert Hydrator(run.read_spec(), store, run).ready() is None
        hydrate(run, store)
        assert [path.name for path in hashed[3:]] == ["advection1d_val.h5"]

    def test_a_damaged_memory_of_hashes_only_costs_time(
        self, make_run: MakeRun, store: DirectoryStore, hashed: list[Path]
    ) -> None:
        run = make_run()
        hydrate(run, store)
        (run.root / "verified.json").write_text('{"x": 1, ')
        hydrate(run, store)
        assert len(hashed) == 6


class TestRefusing:
    def test_another_dataset(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        write_dataset(store, seed=5)
        with pytest.raises(StoreError, match=r"another sha256 than run\.yaml pins"):
            hydrate(run, store)

    def test_changed_bytes_under_the_same_manifest(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        path = store.root / dataset_key("advection1d", "test")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(StoreError, match="being replaced") as caught:
            hydrate(run, store)
        assert "launch the run anew" in caught.value.hint

    def test_a_dataset_that_is_being_written(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        manifest = json.loads(store.read_bytes(manifest_key("advection1d")))
        store.write_bytes(manifest_key("advection1d"), json.dumps({**manifest, "state": "writing"}).encode())
        with pytest.raises(StoreError, match="being written"):
            hydrate(run, store)

    def test_a_dataset_that_is_not_there(self, make_run: MakeRun, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="advection1d"):
            hydrate(make_run(), DirectoryStore(tmp_path / "empty"))

    def test_a_task_without_pins(self, make_run: MakeRun, store: DirectoryStore) -> None:
        with pytest.raises(StoreError, match="pins no dataset of advection1d"):
            hydrate(make_run(datasets={}), store)


class TestFetching:
    def test_files_of_a_bucket_are_named_by_their_hash(
        self, make_run: MakeRun, store: DirectoryStore
    ) -> None:
        run, bucket = make_run(), Bucket(store.root)
        found, progress = hydrate(run, bucket)
        for split, path in found["advection1d"].items():
            sha256 = pins_of(store)["advection1d"][split]
            assert path == run.root.parent / "data" / f"{sha256}.h5"
            assert file_sha256(path) == sha256
        assert progress.calls[-1][1] == progress.calls[-1][2]

    def test_what_was_fetched_is_not_fetched_again(self, make_run: MakeRun, store: DirectoryStore) -> None:
        bucket = Bucket(store.root)
        hydrate(make_run("r1"), bucket)
        hydrate(make_run("r2"), bucket)  # another run on the same box
        assert len(bucket.downloads) == 3

    def test_what_was_fetched_needs_no_store_any_more(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)
        hydrate(run, bucket)
        write_dataset(store, seed=5)  # the bucket's dataset is another one now
        found, _ = hydrate(run, bucket)
        assert len(found["advection1d"]) == 3

    def test_a_damaged_copy_is_fetched_anew(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)
        found, _ = hydrate(run, bucket)
        found["advection1d"]["val"].write_bytes(b"damaged")
        again, _ = hydrate(run, bucket)
        assert file_sha256(again["advection1d"]["val"]) == pins_of(store)["advection1d"]["val"]
        assert len(bucket.downloads) == 4

    def test_wrong_bytes_never_get_the_name(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)
        path = store.root / dataset_key("advection1d", "train")
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        with pytest.raises(StoreError):
            hydrate(run, bucket)
        assert list((run.root.parent / "data").iterdir()) == []

    def test_a_full_disk_is_told_beforehand(
        self, make_run: MakeRun, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("remote.hydrate.free_bytes", lambda path: 10)
        with pytest.raises(StoreError, match=r"no space left in .*data"):
            hydrate(make_run(), Bucket(store.root))

    def test_a_request_to_stop_interrupts(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)

        def stop(*_: object) -> None:
            raise StopRequested

        told: Callable[..., None] = stop
        with pytest.raises(StopRequested):
            Hydrator(run.read_spec(), bucket, run).hydrate(told)
        assert list((run.root.parent / "data").iterdir()) == []
