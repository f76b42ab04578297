"""The catalog of latent caches: what may be used, and why the rest may not."""

import json
from pathlib import Path

import pytest

from tests.ups.stored import VERSION, Bucket, print_of, put, put_cache, put_dataset
from ups import cache_catalog, catalog
from ups.cache_catalog import CacheEntry, caches, chosen
from ups.errors import NotFoundError, StoreError

A, B = print_of(1), print_of(2)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def folder(bucket: Bucket) -> str:
    """Of a cache that fits its dataset."""
    return put_cache(bucket, {A: put_dataset(bucket)["train"]})


def only(bucket: Bucket) -> CacheEntry:
    (entry,) = caches(bucket)
    return entry


class TestListing:
    def test_says_what_fits_its_dataset(self, bucket: Bucket, folder: str) -> None:
        entry = only(bucket)
        assert (entry.version, entry.task, entry.split, entry.fingerprint) == (
            VERSION, "advection1d", "train", A,
        )  # fmt: skip
        assert (entry.state, entry.note, entry.samples, entry.dtype) == ("verified", "", 8, "float16")
        assert entry.resolution == (32,)
        assert entry.bytes == sum(info.bytes for info in bucket.list(f"{folder}/{A}/"))

    def test_says_what_is_stale(self, bucket: Bucket, folder: str) -> None:
        put_dataset(bucket, seed=1)
        entry = only(bucket)
        assert (entry.state, entry.superseded) == ("stale", True)
        assert entry.note == "the dataset is another one now"
        catalog.delete(bucket, "advection1d")
        entry = only(bucket)
        assert (entry.state, entry.superseded) == ("stale", False)
        assert "not in the store" in entry.note

    def test_says_what_is_incomplete(self, bucket: Bucket, folder: str) -> None:
        bucket.delete(f"{folder}/{A}/shard-00001.safetensors")
        assert only(bucket).state == "incomplete"
        assert "is missing" in only(bucket).note
        bucket.delete(f"{folder}/manifest.json")
        assert only(bucket).state == "incomplete"
        assert "no manifest" in only(bucket).note

    @pytest.mark.parametrize("content", [b"{", b"[]", b'{"caches": {"x": {}}}', b'{"caches": 5}', b"\xff"])
    def test_says_what_is_damaged(self, bucket: Bucket, folder: str, content: bytes) -> None:
        put(bucket, f"{folder}/manifest.json", content)
        assert only(bucket).state == "damaged"

    @pytest.mark.parametrize("name", ["../../../.profile", "/etc/passwd", "", ".", None, "a/b"])
    def test_believes_no_manifest_that_leads_elsewhere(self, bucket: Bucket, folder: str, name: str) -> None:
        manifest = json.loads(bucket.read_bytes(f"{folder}/manifest.json"))
        manifest["caches"][A]["shards"][0]["file"] = name
        put(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())
        assert only(bucket).state == "damaged"
        manifest["caches"] = {"..": manifest["caches"][A]}
        put(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())
        assert only(bucket).state == "damaged"

    def test_says_what_a_newer_version_made(self, bucket: Bucket, folder: str) -> None:
        put(bucket, f"{folder}/manifest.json", b'{"format": 9, "caches": {}}')
        assert (only(bucket).state, "newer version (format 9" in only(bucket).note) == ("newer", True)

    @pytest.mark.parametrize("root", ["pdebench/latent_caches", "latent_caches"])
    def test_says_what_older_scripts_left(self, bucket: Bucket, root: str) -> None:
        for number in range(2):
            put(bucket, f"{root}/old/advection1d_train/sample_{number:05d}.pt", b"123")
        assert (only(bucket).state, only(bucket).bytes, only(bucket).version) == ("legacy", 6, "old")

    def test_passes_over_what_is_no_cache(self, bucket: Bucket) -> None:
        put(bucket, "pdebench/latent_caches/readme.txt", b"hello")
        put(bucket, "pdebench/latent_caches/v/other_train/x", b"{}")
        assert caches(bucket) == []

    def test_is_in_the_order_of_versions_tasks_and_splits(self, bucket: Bucket) -> None:
        for split in ("val", "test", "train"):
            put_cache(bucket, {A: "x"}, split=split)
        put_cache(bucket, {A: "x"}, task="darcy2d")
        found = [(entry.task, entry.split) for entry in caches(bucket)]
        assert found == [
            ("advection1d", "train"), ("advection1d", "val"), ("advection1d", "test"), ("darcy2d", "train"),
        ]  # fmt: skip

    def test_counts_the_columns_as_a_part(self, bucket: Bucket, folder: str) -> None:
        bucket.delete(f"{folder}/{A}/columns.safetensors")
        assert only(bucket).state == "incomplete"

    def test_does_without_columns_where_the_manifest_names_none(self, bucket: Bucket, folder: str) -> None:
        manifest = json.loads(bucket.read_bytes(f"{folder}/manifest.json"))
        del manifest["caches"][A]["columns"]
        put(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())
        assert (only(bucket).state, len(only(bucket).files)) == ("verified", 2)

    def test_says_what_an_older_version_made(self, bucket: Bucket, folder: str) -> None:
        manifest = json.loads(bucket.read_bytes(f"{folder}/manifest.json"))
        manifest["caches"][A]["recipe"]["format"] = 0
        put(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())
        assert (only(bucket).state, "format 0" in only(bucket).note) == ("stale", True)


class TestChoosing:
    def test_takes_a_version_or_some_of_its_tasks(self, bucket: Bucket, folder: str) -> None:
        put_cache(bucket, {A: "x"}, task="darcy2d")
        assert len(chosen(caches(bucket), VERSION)) == 2
        assert [entry.task for entry in chosen(caches(bucket), VERSION, ["darcy2d"])] == ["darcy2d"]

    def test_of_what_is_not_there_is_not_found(self, bucket: Bucket, folder: str) -> None:
        with pytest.raises(NotFoundError, match="no cache nothing"):
            chosen(caches(bucket), "nothing")
        with pytest.raises(NotFoundError, match="nothing of burgers1d") as missing:
            chosen(caches(bucket), VERSION, ["advection1d", "burgers1d"])
        assert f"caches build {VERSION} burgers1d" in missing.value.hint


class TestVerify:
    def test_reads_every_byte(self, bucket: Bucket, folder: str) -> None:
        told: list[tuple[int, int]] = []
        found = cache_catalog.verify(bucket, only(bucket), lambda *progress: told.append(progress))
        assert found.state == "verified"
        assert told[-1] == (found.bytes, found.bytes)

    def test_finds_a_flipped_bit(self, bucket: Bucket, folder: str) -> None:
        key = f"{folder}/{A}/shard-00001.safetensors"
        content = bytearray(bucket.read_bytes(key))
        content[-1] ^= 1
        put(bucket, key, bytes(content))
        assert only(bucket).state == "verified"
        found = cache_catalog.verify(bucket, only(bucket), lambda *_: None)
        assert (found.state, "shard-00001" in found.note) == ("damaged", True)


class TestDelete:
    def test_removes_a_cache_and_nothing_else(self, bucket: Bucket, folder: str) -> None:
        put_cache(bucket, {A: "x"}, task="darcy2d")
        cache_catalog.delete(bucket, chosen(caches(bucket), VERSION, ["advection1d"]))
        assert [entry.task for entry in caches(bucket)] == ["darcy2d"]
        assert not list(bucket.list(f"{folder}/"))
        assert catalog.dataset(bucket, "advection1d").state == "verified"

    def test_takes_the_manifest_first(
        self, bucket: Bucket, folder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []
        monkeypatch.setattr(bucket, "delete_all", lambda keys: seen.append(only(bucket).note))
        cache_catalog.delete(bucket, caches(bucket))
        assert "no manifest" in seen[0]


class TestWritingManifests:
    def test_names_what_was_fetched_alone(self, bucket: Bucket, tmp_path: Path) -> None:
        sha256 = put_dataset(bucket)["train"]
        put_cache(bucket, {A: sha256, B: "another"})
        usable = [entry for entry in caches(bucket) if entry.state == "verified"]
        cache_catalog.write_manifests(bucket, usable, lambda entry: tmp_path)
        assert set(json.loads((tmp_path / "manifest.json").read_text())["caches"]) == {A}

    def test_refuses_where_the_cache_was_replaced_meanwhile(self, bucket: Bucket, folder: str) -> None:
        entry = only(bucket)
        put_cache(bucket, {B: "another"})
        with pytest.raises(StoreError, match="replaced"):
            cache_catalog.write_manifests(bucket, [entry], lambda entry: bucket.root)


def test_reads_what_builders_write() -> None:
    from ups.data import projection

    assert cache_catalog.FORMAT == projection.FORMAT
