"""Garbage collection: what nothing refers to goes, and nothing else ever does."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ups.stored import VERSION, print_of, put, put_cache, put_dataset
from ups import cache_catalog, catalog, garbage
from ups.garbage import Rules, Why
from ups.listing import sweep
from ups.stores.directory import DirectoryStore

A, B, C = (print_of(n) for n in (1, 2, 3))
FILES = ("columns.safetensors", "shard-00000.safetensors", "shard-00001.safetensors")
WHEEL = f"runtime/{'cd' * 32}.whl"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def found(store: DirectoryStore, **rules: object) -> dict[str, Why]:
    return {item.key: item.why for item in garbage.find(sweep(store, unfinished=True), Rules(**rules))}  # type: ignore[arg-type]


def keys(store: DirectoryStore) -> set[str]:
    return {info.key for info in store.list()}


def collect(store: DirectoryStore, rules: Rules) -> None:
    garbage.collect(store, {item.key for item in garbage.find(sweep(store, unfinished=True), rules)}, rules)


class TestShards:
    def test_that_no_manifest_names_go(self, store: DirectoryStore) -> None:
        folder = put_cache(store, {A: "x"}, unnamed=[B], days_ago=2)
        assert found(store) == {f"{folder}/{B}/{name}": Why.UNNAMED for name in FILES}
        before = keys(store)
        collect(store, Rules())
        assert keys(store) == {key for key in before if B not in key}

    def test_of_a_build_that_was_cut_short_go(self, store: DirectoryStore) -> None:
        folder = put_cache(store, {}, unnamed=[A], days_ago=2)
        store.delete(f"{folder}/manifest.json")
        assert len(found(store)) == len(FILES)

    def test_of_a_build_that_goes_on_stay(self, store: DirectoryStore) -> None:
        folder = put_cache(store, {}, unnamed=[A], days_ago=2)
        put(store, f"{folder}/{A}/shard-00002.safetensors", b"just written")
        assert found(store) == {}
        assert len(found(store, least_age_s=0.0)) == len(FILES) + 1

    @pytest.mark.parametrize(
        "manifest", [b"{", b"[]", b'{"format": 9, "caches": {}}', b'{"caches": {"x": {}}}', b'{"caches": 5}']
    )
    def test_stay_where_the_manifest_is_not_understood(self, store: DirectoryStore, manifest: bytes) -> None:
        folder = put_cache(store, {A: "x"}, unnamed=[B], days_ago=2)
        put(store, f"{folder}/manifest.json", manifest)
        assert found(store, stale=True) == {}

    def test_that_became_a_cache_meanwhile_stay(self, store: DirectoryStore) -> None:
        put_cache(store, {}, unnamed=[A], days_ago=2)
        shown = set(found(store))
        put_cache(store, {A: "x"}, days_ago=2)
        assert garbage.collect(store, shown, Rules()) == []
        assert [entry.state for entry in cache_catalog.caches(store)] == ["stale"]

    def test_that_were_not_shown_stay(self, store: DirectoryStore) -> None:
        put_cache(store, {}, unnamed=[A, B], days_ago=2)
        shown = {key for key in found(store) if A in key}
        assert {item.key for item in garbage.collect(store, shown, Rules())} == shown
        assert len(found(store)) == len(FILES)


class TestSupersededCaches:
    def test_go_only_on_request_and_leave_the_others(self, store: DirectoryStore) -> None:
        hashes = put_dataset(store)
        folder = put_cache(store, {A: hashes["train"], B: "another dataset"}, days_ago=2)
        assert found(store) == {}
        assert set(found(store, stale=True).values()) == {Why.SUPERSEDED}
        collect(store, Rules(stale=True))
        (entry,) = cache_catalog.caches(store)
        assert (entry.fingerprint, entry.state) == (A, "verified")
        assert not [key for key in keys(store) if key.startswith(f"{folder}/{B}/")]

    def test_take_the_manifest_with_them_where_it_names_no_other(self, store: DirectoryStore) -> None:
        put_dataset(store)
        folder = put_cache(store, {B: "another dataset"}, days_ago=2)
        collect(store, Rules(stale=True))
        assert not list(store.list(folder))

    @pytest.mark.parametrize("state", ["writing", "no dataset"])
    def test_stay_while_no_verified_dataset_has_taken_the_place(
        self, store: DirectoryStore, state: str
    ) -> None:
        if state == "writing":
            put_dataset(store, state="writing")
        put_cache(store, {B: "another dataset"}, days_ago=2)
        assert found(store, stale=True) == {}


class TestLeftovers:
    HIDDEN = "pdebench/full/advection1d/.tmp-advection1d_train.h5"

    def test_beside_a_complete_dataset_go(self, store: DirectoryStore) -> None:
        put_dataset(store)
        put(store, self.HIDDEN, b"new", days_ago=2)
        assert found(store) == {self.HIDDEN: Why.LEFTOVER}
        collect(store, Rules())
        assert catalog.dataset(store, "advection1d").state == "verified"
        assert found(store) == {}

    @pytest.mark.parametrize("changes", [{"state": "writing"}, {"format": 2}])
    def test_that_the_next_writer_needs_stay(self, store: DirectoryStore, changes: dict[str, Any]) -> None:
        put_dataset(store, **changes)
        put(store, self.HIDDEN, b"new", days_ago=2)
        half = "pdebench/full/advection1d/.tmp-0123456789abcdef"
        put(store, half, b"half of something", days_ago=2)
        assert found(store) == {half: Why.LEFTOVER}

    def test_that_are_young_stay(self, store: DirectoryStore) -> None:
        put_dataset(store)
        put(store, self.HIDDEN, b"new")
        assert found(store) == {}

    def test_in_a_folder_of_shards_go(self, store: DirectoryStore) -> None:
        folder = put_cache(store, {A: "x"}, days_ago=2)
        put(store, f"{folder}/{A}/.tmp-12", b"half", days_ago=2)
        assert found(store) == {f"{folder}/{A}/.tmp-12": Why.LEFTOVER}

    def test_of_somebody_else_stay(self, store: DirectoryStore) -> None:
        put(store, "holiday/.tmp-12", b"half", days_ago=2)
        put(store, ".tmp-work-x/segment", b"half", days_ago=2)
        assert found(store) == {}


class TestRuntimes:
    def test_that_no_run_names_go(self, store: DirectoryStore) -> None:
        put(store, WHEEL, b"wheel", days_ago=2)
        put(store, "runtime/mine.whl", b"not ours", days_ago=2)
        assert found(store) == {WHEEL: Why.RUNTIME}

    def test_that_a_run_names_stay(self, store: DirectoryStore) -> None:
        put(store, WHEEL, b"wheel", days_ago=2)
        assert found(store, run_specs=(f"runtime: {'cd' * 32}",)) == {}
        put(store, "runs/1124-aaaa/attempt-1/run.yaml", f"runtime: {'cd' * 32}".encode())
        assert found(store) == {}

    def test_that_are_young_stay(self, store: DirectoryStore) -> None:
        put(store, WHEEL, b"wheel")
        assert found(store) == {}


# --- whatever a store holds -------------------------------------------------------------------


@dataclass(frozen=True)
class CacheFolder:
    task: str
    split: str
    manifest: str
    """good, none, damaged or newer."""
    fingerprints: dict[int, tuple[str, float]]
    """number → (named, superseded or unnamed; days ago)."""


FOLDERS = st.builds(
    CacheFolder,
    task=st.sampled_from(["advection1d", "darcy2d"]),
    split=st.sampled_from(["train", "val"]),
    manifest=st.sampled_from(["good", "good", "none", "damaged", "newer"]),
    fingerprints=st.dictionaries(
        st.integers(1, 4),
        st.tuples(st.sampled_from(["named", "superseded", "unnamed"]), st.sampled_from([0.0, 2.0])),
        min_size=1,
    ),
)


def fill(store: DirectoryStore, folders: list[CacheFolder]) -> tuple[set[str], set[str]]:
    """Returns the keys that may never go, and those that may with `stale`."""
    hashes = put_dataset(store)
    sacred: set[str] = set()
    superseded: set[str] = set()
    for wanted in {(f.task, f.split): f for f in folders}.values():
        sha256 = {"named": hashes[wanted.split], "superseded": "other"}
        named = {print_of(n): sha256[kind] for n, (kind, _) in wanted.fingerprints.items() if kind in sha256}
        loose = [print_of(n) for n, (kind, _) in wanted.fingerprints.items() if kind == "unnamed"]
        path = put_cache(store, named, unnamed=loose, task=wanted.task, split=wanted.split)
        for number, (kind, days) in wanted.fingerprints.items():
            for info in list(store.list(f"{path}/{print_of(number)}/")):
                put(store, info.key, store.read_bytes(info.key), days_ago=days)
                if wanted.manifest == "good" and kind == "superseded" and wanted.task == "advection1d":
                    superseded.add(info.key)
                elif (wanted.manifest == "good" and kind != "unnamed") or days == 0.0:
                    sacred.add(info.key)
        match wanted.manifest:
            case "none":
                store.delete(f"{path}/manifest.json")
            case "damaged" | "newer":
                content = b"{" if wanted.manifest == "damaged" else b'{"format": 7, "caches": {}}'
                put(store, f"{path}/manifest.json", content)
                sacred |= {info.key for info in store.list(path)}
    put(store, "holiday/beach.jpg", b"foreign", days_ago=900)
    put(store, f"pdebench/latent_caches/{VERSION}/advection1d_test/sample_00000.pt", b"old", days_ago=900)
    sacred |= {key for key in keys(store) if not key.startswith(("pdebench/latent_caches/", "runtime/"))}
    return sacred, superseded


@settings(max_examples=60, deadline=None)
@given(folders=st.lists(FOLDERS, max_size=4), stale=st.booleans())
def test_nothing_that_is_referred_to_or_not_understood_ever_goes(
    folders: list[CacheFolder], stale: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        store = DirectoryStore(Path(root))
        sacred, superseded = fill(store, folders)
        usable = {e.fingerprint for e in cache_catalog.caches(store) if e.state == "verified"}
        collect(store, Rules(stale=stale))
        left = keys(store)
        assert sacred <= left
        assert stale or superseded <= left
        assert f"pdebench/latent_caches/{VERSION}/advection1d_test/sample_00000.pt" in left
        entries = cache_catalog.caches(store)
        assert {entry.fingerprint for entry in entries if entry.state == "verified"} == usable
        assert "incomplete" not in {entry.state for entry in entries if entry.fingerprint}
        assert garbage.find(sweep(store, unfinished=True), Rules(stale=stale)) == []
