"""One sweep over a store, and the manifests that it remembers."""

import json
from pathlib import Path

import pytest

from tests.ups.stored import Bucket, print_of, put, put_cache, put_dataset
from ups import cache_catalog, catalog
from ups.layout import Area
from ups.listing import ManifestMemory, Usage, sweep

KEY = catalog.manifest_key("advection1d")


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    bucket = Bucket(tmp_path / "bucket")
    hashes = put_dataset(bucket)
    put_dataset(bucket, "darcy2d")
    put_cache(bucket, {print_of(1): hashes["train"]})
    bucket.asked.clear()
    return bucket


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "manifests.json"


def states(bucket: Bucket, memory: Path | None = None) -> list[str]:
    listing = sweep(bucket, memory=ManifestMemory(memory))
    datasets = catalog.datasets_in(listing)
    caches = cache_catalog.caches_in(listing, datasets)
    return [*(entry.state for entry in datasets), *(entry.state for entry in caches)]


class TestASweep:
    def test_lists_once_for_datasets_and_caches(self, bucket: Bucket) -> None:
        assert states(bucket) == ["verified"] * 3
        assert bucket.asked == {"list": 1, "read": 3}

    def test_counts_what_is_not_ours(self, bucket: Bucket) -> None:
        put(bucket, "holiday/beach.jpg", b"12345")
        put(bucket, "runs/1124-aaaa/attempt-1/run.yaml", b"run: x")
        put(bucket, "runs/1124-aaaa/attempt-1/checkpoints/run.yaml", b"no")
        listing = sweep(bucket)
        assert listing.usage[Area.OTHER] == Usage(1, 5)
        assert listing.usage[Area.RUNS] == Usage(2, 8)
        assert listing.bytes == sum(info.bytes for info in bucket.list())
        assert [info.key for info in listing.run_specs] == ["runs/1124-aaaa/attempt-1/run.yaml"]

    def test_of_nothing_finds_nothing(self, tmp_path: Path) -> None:
        listing = sweep(Bucket(tmp_path / "none"))
        assert (listing.folders, listing.bytes, set(listing.usage)) == ({}, 0, set(Area))


class TestTheMemory:
    def test_spares_reading_what_has_not_changed(self, bucket: Bucket, memory: Path) -> None:
        before = states(bucket, memory)
        bucket.asked.clear()
        assert states(bucket, memory) == before
        assert bucket.asked == {"list": 1}

    def test_reads_what_has_changed(self, bucket: Bucket, memory: Path) -> None:
        states(bucket, memory)
        put_dataset(bucket, seed=1)
        bucket.asked.clear()
        assert states(bucket, memory) == ["verified", "verified", "stale"]
        assert bucket.asked["read"] == 1

    def test_forgets_what_was_deleted(self, bucket: Bucket, memory: Path) -> None:
        states(bucket, memory)
        bucket.delete(KEY)
        assert states(bucket, memory) == ["unverified", "verified", "stale"]
        assert KEY not in json.loads(memory.read_text())["manifests"]

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1, "store": 3}', "\0"])
    def test_that_is_damaged_is_not_used(self, bucket: Bucket, memory: Path, content: str) -> None:
        states(bucket, memory)
        memory.write_text(content)
        bucket.asked.clear()
        assert states(bucket, memory) == ["verified"] * 3
        assert bucket.asked["read"] == 3

    def test_whose_content_was_changed_is_not_used(self, bucket: Bucket, memory: Path) -> None:
        states(bucket, memory)
        memory.write_text(memory.read_text().replace("complete", "writing!"))
        assert states(bucket, memory) == ["verified"] * 3

    def test_of_another_store_is_not_used(self, bucket: Bucket, memory: Path, tmp_path: Path) -> None:
        states(bucket, memory)
        other = Bucket(tmp_path / "other")
        put_dataset(other, state="writing")
        assert states(other, memory) == ["writing"]
        bucket.asked.clear()
        assert states(bucket, memory) == ["verified"] * 3
        assert bucket.asked["read"] == 3

    def test_does_not_keep_what_was_replaced_while_it_was_read(self, bucket: Bucket, memory: Path) -> None:
        class Busy(Bucket):
            """Every manifest is replaced between being listed and being read."""

            def read_bytes(self, key: str) -> bytes:
                put(self, key, super().read_bytes(key))
                return super().read_bytes(key)

        states(Busy(bucket.root), memory)
        assert json.loads(memory.read_text())["manifests"] == {}

    def test_that_cannot_be_written_is_done_without(self, bucket: Bucket, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert states(bucket, tmp_path / "file" / "manifests.json") == ["verified"] * 3
