"""The catalog over a bucket that answers as Backblaze's do: few requests, nothing on the disk."""

import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.buckets import OpenStore, b2_settings
from tests.simulators.b2 import B2Server
from tests.ups.stored import VERSION, print_of, put, put_cache, put_dataset
from ups import cache_catalog, catalog, garbage
from ups.errors import StoreError
from ups.fetching import Wanted, fetch
from ups.garbage import Rules
from ups.layout import Area
from ups.listing import ManifestMemory, sweep
from ups.store import ObjectStore
from ups.stores.s3 import S3Store

A, B = print_of(1), print_of(2)


@pytest.fixture
def bucket(b2_store: S3Store) -> S3Store:
    hashes = put_dataset(b2_store)
    put_cache(b2_store, {A: hashes["train"]}, unnamed=[B])
    put(b2_store, "holiday/beach.jpg", b"12345")
    return b2_store


def states(bucket: ObjectStore, memory: Path | None = None) -> list[str]:
    listing = sweep(bucket, memory=ManifestMemory(memory))
    entries = catalog.datasets_in(listing)
    caches = cache_catalog.caches_in(listing, entries)
    return [*(entry.state for entry in entries), *(entry.state for entry in caches)]


def test_a_sweep_finds_everything_and_a_second_one_reads_nothing(
    bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "manifests.json"
    assert states(bucket, memory) == ["verified", "verified"]
    with monkeypatch.context() as patch:
        patch.delattr(S3Store, "read_bytes")
        assert states(bucket, memory) == ["verified", "verified"]
    put_dataset(bucket, seed=1)
    assert states(bucket, memory) == ["verified", "stale"]
    assert sweep(bucket).usage[Area.OTHER].objects == 1


def test_verifying_streams_and_finds_a_flipped_bit(bucket: S3Store) -> None:
    assert catalog.verify(bucket, "advection1d", lambda *_: None).state == "verified"
    key = catalog.dataset_key("advection1d", "val")
    put(bucket, key, bucket.read_bytes(key)[::-1])
    assert catalog.verify(bucket, "advection1d", lambda *_: None).state == "damaged"
    (entry,) = cache_catalog.caches(bucket)
    assert cache_catalog.verify(bucket, entry, lambda *_: None).state == "verified"


def test_fetching_brings_what_the_manifest_says(bucket: S3Store, tmp_path: Path) -> None:
    entry = catalog.dataset(bucket, "advection1d")
    wanted = [Wanted(s.key, s.bytes, s.sha256, tmp_path / Path(s.key).name) for s in entry.splits.values()]
    assert len(fetch(bucket, wanted, replace=False).fetched) == 3
    assert len(fetch(bucket, wanted, replace=False).kept) == 3


def test_an_old_darcy_with_inputs_alone_is_told_by_a_few_ranges(bucket: S3Store) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["nu"] = np.zeros((16, 64, 64), np.float32)
    put(bucket, "full/darcy2d/darcy2d_train.h5", content.getvalue())
    assert "only the inputs" in catalog.dataset(bucket, "darcy2d").note


def test_garbage_goes_and_nothing_else(bucket: S3Store) -> None:
    before = {info.key for info in bucket.list()}
    hidden = "pdebench/full/advection1d/.tmp-advection1d_val.h5"
    put(bucket, hidden, b"half")
    rules = Rules(least_age_s=-60.0)
    shown = {item.key for item in garbage.find(sweep(bucket, unfinished=True), rules)}
    assert shown == {hidden, *(key for key in before if B in key)}
    garbage.collect(bucket, shown, rules)
    assert {info.key for info in bucket.list()} == before - shown
    assert list(bucket.unfinished()) == []
    assert states(bucket) == ["verified", "verified"]


def test_deleting_leaves_the_rest(bucket: S3Store) -> None:
    cache_catalog.delete(bucket, cache_catalog.chosen(cache_catalog.caches(bucket), VERSION))
    assert states(bucket) == ["verified"]
    catalog.delete(bucket, "advection1d")
    assert [info.key for info in bucket.list()] == ["holiday/beach.jpg"]


def test_a_key_that_may_not_list_is_one_clear_error(b2_server: B2Server, open_bucket: OpenStore) -> None:
    key = b2_server.new_key(b2_server.new_bucket(), prefix="pre/fix/", rights=("readFiles", "writeFiles"))
    with pytest.raises(StoreError) as refused:
        sweep(open_bucket(b2_settings(b2_server, key)))
    assert refused.value.hint
