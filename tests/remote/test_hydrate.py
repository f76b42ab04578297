"""A run computes with the very bytes that it pins, or not at all."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remote.failures import StopRequested
from remote.files import sole_fetcher
from remote.hydrate import JUDGED, Datasets, Hydrator, groups
from remote.verified import VerifiedFiles
from tests.patience import PATIENCE_S
from tests.remote.conftest import MakeRun, pins_of, wait_for, write_dataset
from ups.catalog import dataset_key, manifest_key
from ups.data.outline import Outline
from ups.data.split import open_split
from ups.errors import NotFoundError, StoreError
from ups.rundir import RunDirectory
from ups.store import file_sha256
from ups.stores import directory
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
        for name, datasets in (("r1", {}), ("r2", {"advection1d": {}})):
            with pytest.raises(StoreError, match="pins no dataset of advection1d"):
                hydrate(make_run(name, datasets=datasets), store)


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

    def test_what_an_interrupted_download_has_left_needs_no_room(
        self, make_run: MakeRun, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, bucket = make_run(), Bucket(store.root)
        pins = pins_of(store)["advection1d"]
        sizes = {split: bucket.find(dataset_key("advection1d", split)) for split in pins}
        total = sum(info.bytes for info in sizes.values() if info is not None)
        part = run.root.parent / "data" / f"{pins['train']}.h5.part"
        part.parent.mkdir()
        part.write_bytes(b"x" * 8192)
        monkeypatch.setattr("remote.hydrate.free_bytes", lambda path: total - 8192)
        hydrate(run, bucket)
        part.unlink()
        for file in part.parent.glob("*.h5"):
            file.unlink()
        with pytest.raises(StoreError, match="no space left"):
            hydrate(run, bucket)

    def test_runs_beside_one_another_fetch_in_turn(self, make_run: MakeRun, store: DirectoryStore) -> None:
        first, second = make_run("r1"), make_run("r2")
        bucket, others = Bucket(store.root), Bucket(store.root)
        waited: list[int] = []
        with ThreadPoolExecutor() as pool:
            with sole_fetcher(first.root.parent / "data", lambda: None):
                # as a process that fetches the same would: the files are there when it is done
                done = pool.submit(
                    Hydrator(second.read_spec(), others, second).hydrate,
                    lambda task, done, total: waited.append(done),
                )
                wait_for(lambda: bool(waited))
                for split, sha256 in pins_of(store)["advection1d"].items():
                    key = dataset_key("advection1d", split)
                    bucket.download(key, first.root.parent / "data" / f"{sha256}.h5", sha256=sha256)
            found = done.result(timeout=PATIENCE_S)
        assert others.downloads == []
        assert Hydrator(second.read_spec(), others, second).ready() == found

    def test_a_request_to_stop_interrupts(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)

        def stop(*_: object) -> None:
            raise StopRequested

        told: Callable[..., None] = stop
        with pytest.raises(StopRequested):
            Hydrator(run.read_spec(), bucket, run).hydrate(told)
        assert list((run.root.parent / "data").iterdir()) == []

    def test_a_disk_that_fills_up_on_the_way_leaves_nothing_half_written(
        self, make_run: MakeRun, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, bucket = make_run(), Bucket(store.root)
        copy, files = directory._copy, itertools.count()

        def full(source: BinaryIO, target: BinaryIO, *rest: Any) -> None:
            if next(files):
                target.write(source.read(1000))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            copy(source, target, *rest)

        monkeypatch.setattr("ups.stores.directory._copy", full)
        with pytest.raises(StoreError, match="no space left") as caught:
            hydrate(run, bucket)
        assert caught.value.exit_code == 6
        (whole,) = (run.root.parent / "data").iterdir()
        assert whole.stem == pins_of(store)["advection1d"]["train"]
        monkeypatch.undo()
        assert len(hydrate(run, bucket)[0]["advection1d"]) == 3

    def test_a_manifest_of_a_newer_version_is_named(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run = make_run()
        manifest = json.loads(store.read_bytes(manifest_key("advection1d")))
        store.write_bytes(manifest_key("advection1d"), json.dumps({**manifest, "format": 2}).encode())
        with pytest.raises(StoreError, match="format 2, this version reads 1") as caught:
            hydrate(run, Bucket(store.root))
        assert caught.value.exit_code == 6
        assert not (run.root.parent / "data").exists()

    def test_only_what_is_asked_for_comes(self, make_run: MakeRun, store: DirectoryStore) -> None:
        run, bucket = make_run(), Bucket(store.root)
        found = Hydrator(run.read_spec(), bucket, run, splits=JUDGED).hydrate(Progress())
        assert set(found["advection1d"]) == {"val", "test"}
        assert [Path(key).name for key in bucket.downloads] == ["advection1d_val.h5", "advection1d_test.h5"]


class TestInGroups:
    """Two tasks, of which one joins the training later."""

    @pytest.fixture
    def bucket(self, two_tasks: DirectoryStore) -> Bucket:
        return Bucket(two_tasks.root)

    def test_those_that_training_needs_first_come_first(
        self, make_joint_run: MakeRun, bucket: Bucket
    ) -> None:
        run, progress = make_joint_run(), Progress()
        first, late = groups(run.read_spec().config)
        assert (first, late) == (["darcy2d"], ["advection1d"])
        hydrator = Hydrator(run.read_spec(), bucket, run)
        found = hydrator.hydrate(progress, first)
        assert set(found) == {"darcy2d"}
        assert hydrator.ready(first) == found
        assert hydrator.ready() is None
        hydrator.hydrate(progress, late)
        names = [Path(key).name.partition("_")[0] for key in bucket.downloads]
        assert names == ["darcy2d"] * 3 + ["advection1d"] * 3
        ready = hydrator.ready()
        assert ready is not None
        assert set(ready) == {"advection1d", "darcy2d"}
        done = [done for _, done, _ in progress.calls]
        (total,) = {total for _, _, total in progress.calls}
        assert total == sum(path.stat().st_size for files in ready.values() for path in files.values())
        assert done == sorted(done)
        assert done[-1] == total

    def test_what_is_to_come_is_known_beforehand(self, make_joint_run: MakeRun, bucket: Bucket) -> None:
        run = make_joint_run()
        hydrator = Hydrator(run.read_spec(), bucket, run)
        hydrator.hydrate(Progress(), ["darcy2d"])
        places, outlines = hydrator.places(), hydrator.outlines(Progress())
        assert not places["advection1d"]["train"].exists()
        found = hydrator.hydrate(Progress())
        assert found == places
        assert outlines == hydrator.outlines(Progress())
        assert outlines["advection1d"] == Outline.of(open_split(found["advection1d"]["train"]))

    def test_room_is_needed_for_all_tasks(
        self, make_joint_run: MakeRun, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_joint_run()
        sizes = {info.key: info.bytes for info in bucket.list("pdebench/full/") if info.key.endswith(".h5")}
        monkeypatch.setattr("remote.hydrate.free_bytes", lambda path: sum(sizes.values()) - 1)
        hydrator = Hydrator(run.read_spec(), bucket, run)
        with pytest.raises(StoreError, match=r"no space left in .*data for advection1d, darcy2d"):
            hydrator.hydrate(Progress(), ["darcy2d"])
        assert bucket.downloads == []
        monkeypatch.setattr("remote.hydrate.free_bytes", lambda path: sum(sizes.values()))
        hydrator.hydrate(Progress(), ["darcy2d"])

    def test_late_task_that_cannot_come_is_told_at_once(
        self, make_joint_run: MakeRun, bucket: Bucket
    ) -> None:
        run = make_joint_run()
        bucket.delete(manifest_key("advection1d"))
        bucket.delete(dataset_key("advection1d", "train"))
        with pytest.raises(StoreError, match="advection1d cannot be used"):
            Hydrator(run.read_spec(), bucket, run).hydrate(Progress(), ["darcy2d"])
        assert bucket.downloads == []

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(0, 5), max_size=6))
    def test_interruptions_cost_only_what_was_on_its_way(
        self, make_joint_run: MakeRun, bucket: Bucket, interrupted_after: list[int]
    ) -> None:
        """However often it is interrupted, no file comes twice, and the end is the same."""
        run = make_joint_run(f"r{time.monotonic_ns()}")
        shutil.rmtree(run.root.parent / "data", ignore_errors=True)
        hydrator = Hydrator(run.read_spec(), bucket, run)
        whole: set[str] = set()
        for calls in [*interrupted_after, None]:
            bucket.downloads.clear()
            left = itertools.count(calls, -1) if calls is not None else itertools.repeat(1)

            def stop(*_: object, left: Iterator[int] = left) -> None:
                if next(left) <= 0:
                    raise StopRequested

            with contextlib.suppress(StopRequested):
                for group in groups(run.read_spec().config):
                    hydrator.hydrate(stop, group)
            assert not whole & {Path(key).stem for key in bucket.downloads}
            here = {path.name for path in (run.root.parent / "data").glob("*")}
            assert not [name for name in here if not name.endswith(".h5")]
            whole = {
                f"{task}_{split}"
                for task, splits in hydrator.pins.items()
                for split, sha256 in splits.items()
                if f"{sha256}.h5" in here
            }
        ready = hydrator.ready()
        assert ready is not None
        assert len(whole) == 6
        for task, splits in ready.items():
            for split, path in splits.items():
                assert file_sha256(path) == hydrator.pins[task][split]
