"""What is in the store, what it costs, and what can be done with it, as the operations answer."""

import time
from pathlib import Path

import pytest

from console.fleet.model import InstanceState
from console.home import Home
from console.operations import Operations
from tests.console.buckets import BucketOperations, write_run
from tests.console.fleet.test_ledger import intend
from tests.ups.stored import VERSION, Bucket, print_of, put, put_cache, put_dataset
from ups.errors import DataError, NotFoundError, UsageError

A, B = print_of(1), print_of(2)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def operations(tmp_path: Path, bucket: Bucket) -> BucketOperations:
    return BucketOperations(Home(tmp_path / "home"), bucket)


class TestInventory:
    def test_tells_everything_from_one_list(self, operations: BucketOperations, bucket: Bucket) -> None:
        hashes = put_dataset(bucket)
        put_cache(bucket, {A: hashes["train"]})
        put(bucket, "holiday/beach.jpg", b"12345")
        write_run(operations.home, "1124-aaaa", hashes)
        write_run(operations.home, "1123-bbbb", {"train": "another"})
        bucket.asked.clear()
        found = operations.inventory()
        assert bucket.asked["list"] == 1
        row = next(row for row in found.datasets if row.task == "advection1d")
        assert (row.state, row.runs, row.used_by, row.resolution) == ("verified", ("1124-aaaa",), 1, (32,))
        assert row.usd_per_month == pytest.approx(row.bytes * 6e-12)
        assert row.modified == pytest.approx(time.time(), abs=60)
        (cache,) = found.caches
        assert (cache.state, cache.resolution) == ("verified", (32,))
        assert cache.usd_per_month == pytest.approx(cache.bytes * 6e-12)
        assert cache.saves_seconds is not None
        assert found.usage.areas["other"].bytes == 5
        assert found.usage.bytes == sum(info.bytes for info in bucket.list())
        assert found.usage.free_egress_bytes == 3 * found.usage.bytes

    def test_of_a_directory_names_no_dollars(self, tmp_path: Path) -> None:
        operations = Operations(Home(tmp_path / "home"))
        found = operations.inventory()
        assert (found.usage.usd_per_month, found.usage.free_egress_bytes) == (None, None)
        assert {row.usd_per_month for row in found.datasets} == {None}
        assert len(found.datasets) == 15

    def test_says_when_a_cache_has_paid(self, operations: BucketOperations, bucket: Bucket) -> None:
        hashes = put_dataset(bucket)
        put_cache(bucket, {A: hashes["train"]})
        (before,) = operations.caches()
        assert before.runs_to_pay is not None
        assert before.runs_to_pay > 0
        assert not before.has_paid
        for number in range(before.runs_to_pay):
            write_run(operations.home, f"r{number}", hashes, f"cache_version: {VERSION}")
        (after,) = operations.caches()
        assert (len(after.runs), after.has_paid) == (before.runs_to_pay, True)

    def test_says_nothing_of_the_worth_of_what_is_stale(
        self, operations: BucketOperations, bucket: Bucket
    ) -> None:
        put_dataset(bucket)
        put_cache(bucket, {A: "another"})
        (row,) = operations.caches()
        assert (row.state, row.saves_seconds, row.has_paid) == ("stale", None, False)


class TestFetching:
    def test_a_dataset_comes_under_plain_names(
        self, operations: BucketOperations, bucket: Bucket, tmp_path: Path
    ) -> None:
        put_dataset(bucket)
        told: list[tuple[str, int, int]] = []
        done = operations.fetch_data(
            ["advection1d"], tmp_path / "here", progress=lambda *progress: told.append(progress)
        )
        assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
            "advection1d_test.h5", "advection1d_train.h5", "advection1d_val.h5",
        ]  # fmt: skip
        assert len(done.fetched) == 3
        assert told[-1] == ("fetch advection1d, kB", 3, 3)
        again = operations.fetch_data(["advection1d"], tmp_path / "here")
        assert (again.fetched, len(again.kept)) == ((), 3)

    def test_what_nothing_vouches_for_is_refused(
        self, operations: BucketOperations, bucket: Bucket, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFoundError):
            operations.fetch_data(["advection1d"], tmp_path / "here")
        put_dataset(bucket, state="writing")
        with pytest.raises(DataError, match="being replaced"):
            operations.fetch_data(["advection1d"], tmp_path / "here")
        put_cache(bucket, {A: "another"})
        with pytest.raises(DataError, match="stale"):
            operations.fetch_caches(VERSION, [], tmp_path / "here")
        assert not (tmp_path / "here").exists()

    def test_a_cache_comes_as_it_lies_in_the_store(
        self, operations: BucketOperations, bucket: Bucket, tmp_path: Path
    ) -> None:
        put_cache(bucket, {A: put_dataset(bucket)["train"], B: "another"})
        operations.fetch_caches(VERSION, ["advection1d"], tmp_path / "here")
        folder = tmp_path / "here" / VERSION / "advection1d_train"
        assert sorted(path.name for path in folder.iterdir()) == [A, "manifest.json"]
        assert len(list((folder / A).iterdir())) == 3

    def test_another_file_of_that_name_stays(
        self, operations: BucketOperations, bucket: Bucket, tmp_path: Path
    ) -> None:
        put_dataset(bucket)
        (tmp_path / "advection1d_val.h5").write_text("mine")
        with pytest.raises(UsageError):
            operations.fetch_data(["advection1d"], tmp_path)
        operations.fetch_data(["advection1d"], tmp_path, replace=True)
        assert (tmp_path / "advection1d_val.h5").read_text() != "mine"


class TestDeleting:
    def test_names_the_living_runs_that_would_miss_it(
        self, operations: BucketOperations, bucket: Bucket
    ) -> None:
        hashes = put_dataset(bucket)
        for run in ("1124-aaaa", "1123-bbbb"):
            write_run(operations.home, run, hashes, f"cache_version: {VERSION}")
        entry = intend(operations.ledger, run="1124-aaaa")
        operations.ledger.move(entry.label, InstanceState.REQUESTED, "asked")
        assert operations.living_users(tasks=["advection1d"]) == ["1124-aaaa"]
        assert operations.living_users(tasks=[], version=VERSION) == ["1124-aaaa"]
        assert operations.living_users(tasks=["darcy2d"]) == []
        assert operations.living_users(tasks=[], version="another") == []

    def test_a_cache_leaves_the_others(self, operations: BucketOperations, bucket: Bucket) -> None:
        put_cache(bucket, {A: put_dataset(bucket)["train"]})
        put_cache(bucket, {A: put_dataset(bucket, "darcy2d")["train"]}, task="darcy2d")
        operations.delete_caches(VERSION, ["darcy2d"])
        assert [row.task for row in operations.caches()] == ["advection1d"]
        with pytest.raises(NotFoundError):
            operations.delete_caches(VERSION, ["darcy2d"])


class TestGarbage:
    def test_is_found_first_and_deleted_then(self, operations: BucketOperations, bucket: Bucket) -> None:
        put_cache(bucket, {A: put_dataset(bucket)["train"]}, unnamed=[B], days_ago=2)
        rows = operations.find_garbage()
        assert {row.key.split("/")[-2] for row in rows} == {B}
        assert len(operations.find_garbage(least_age_s=1e9)) == 0
        before = {info.key for info in bucket.list()}
        assert operations.collect_garbage(rows) == rows
        assert {info.key for info in bucket.list()} == before - {row.key for row in rows}

    def test_spares_the_runtime_of_a_run_on_this_laptop(
        self, operations: BucketOperations, bucket: Bucket
    ) -> None:
        put(bucket, f"runtime/{A}.whl", b"wheel", days_ago=2)
        assert len(operations.find_garbage()) == 1
        write_run(operations.home, "1124-aaaa", {}, f"runtime: {A}")
        assert operations.find_garbage() == []
