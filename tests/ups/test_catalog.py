"""The catalog: what may be trusted, and why the rest may not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.ups.data import raws
from tests.ups.stored import Bucket
from ups import catalog
from ups.data.convert import import_raw
from ups.errors import DataError, NotFoundError
from ups.stores.directory import DirectoryStore
from ups.tasks import TASK_SPECS


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    found = DirectoryStore(tmp_path / "store")
    import_raw(found, "advection1d", [raws.ADVECTION])
    return found


def path_of(store: DirectoryStore, split: str, task: str = "advection1d") -> Path:
    path = store.local_path(catalog.dataset_key(task, split))
    assert path is not None
    return path


def mtime(path: Path) -> float:
    return path.stat().st_mtime


def change_manifest(store: DirectoryStore, **changes: Any) -> None:
    key = catalog.manifest_key("advection1d")
    store.write_bytes(key, json.dumps(json.loads(store.read_bytes(key)) | changes).encode())


def test_a_dataset_is_what_its_manifest_says(store: DirectoryStore) -> None:
    (entry,) = catalog.datasets(store)
    assert entry == catalog.dataset(store, "advection1d")
    assert (entry.task, entry.state, entry.note) == ("advection1d", "verified", "")
    train = entry.splits["train"]
    assert (train.samples, train.shape, train.dt) == (8, (8, 41, 256, 1), 0.05)
    assert entry.resolution == (256,)
    assert entry.modified == max(path_of(store, "train").parent.glob("*"), key=mtime).stat().st_mtime
    assert train.bytes == path_of(store, "train").stat().st_size
    assert entry.bytes == sum(path_of(store, split).stat().st_size for split in catalog.SPLITS)
    assert entry.parameters == {"beta": (0.4,)}
    assert entry.provenance[0]["name"] == raws.ADVECTION.name


def test_datasets_are_in_the_order_of_the_tasks(store: DirectoryStore) -> None:
    import_raw(store, "reaction_diffusion2d", [raws.REACTION_DIFFUSION])
    import_raw(store, "burgers1d", [raws.BURGERS])
    tasks = [entry.task for entry in catalog.datasets(store)]
    assert tasks == ["advection1d", "burgers1d", "reaction_diffusion2d"]


def test_an_empty_store_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = replace(TASK_SPECS["shallow_water2d"], has_solver=False)
    monkeypatch.setitem(TASK_SPECS, without.name, without)
    empty = DirectoryStore(tmp_path / "none")
    assert catalog.datasets(empty) == []
    with pytest.raises(NotFoundError, match="burgers1d") as missing:
        catalog.dataset(empty, "burgers1d")
    assert "data make burgers1d" in missing.value.hint
    with pytest.raises(NotFoundError) as missing:
        catalog.dataset(empty, "shallow_water2d")
    assert "data make" not in missing.value.hint
    assert "data import shallow_water2d" in missing.value.hint


def test_foreign_objects_are_no_datasets(store: DirectoryStore) -> None:
    store.write_bytes("pdebench/full/advection1d/notes.txt", b"mine")
    store.write_bytes("pdebench/full/unknown_task/unknown_task_train.h5", b"")
    store.write_bytes("pdebench/latent_caches/v/advection1d_train/manifest.json", b"{}")
    assert [entry.task for entry in catalog.datasets(store)] == ["advection1d"]


class TestPins:
    def test_are_the_hashes_of_the_manifest(self, store: DirectoryStore) -> None:
        entry = catalog.dataset(store, "advection1d")
        assert catalog.pins(store, ["advection1d"]) == {
            "advection1d": {split: entry.splits[split].sha256 for split in ("train", "val", "test")}
        }

    def test_of_a_missing_dataset_are_not_found(self, store: DirectoryStore) -> None:
        with pytest.raises(NotFoundError, match="darcy2d"):
            catalog.pins(store, ["advection1d", "darcy2d"])

    def test_are_refused_while_it_is_written(self, store: DirectoryStore) -> None:
        change_manifest(store, state="writing")
        assert catalog.dataset(store, "advection1d").state == "writing"
        with pytest.raises(DataError, match="being replaced"):
            catalog.pins(store, ["advection1d"])

    @pytest.mark.parametrize("split", ["train", "val", "test"])
    def test_are_refused_where_a_split_is_missing(self, store: DirectoryStore, split: str) -> None:
        path_of(store, split).unlink()
        entry = catalog.dataset(store, "advection1d")
        assert entry.state == "incomplete"
        assert split in entry.note
        with pytest.raises(DataError, match=f"the {split} split is missing"):
            catalog.pins(store, ["advection1d"])

    def test_are_refused_where_a_file_has_another_size(self, store: DirectoryStore) -> None:
        with path_of(store, "val").open("ab") as file:
            file.write(b"more")
        assert catalog.dataset(store, "advection1d").state == "damaged"
        with pytest.raises(DataError, match="advection1d_val"):
            catalog.pins(store, ["advection1d"])

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b'{"format": 1}', b'{"format": "x"}'])
    def test_are_refused_where_the_manifest_is_damaged(self, store: DirectoryStore, content: bytes) -> None:
        store.write_bytes(catalog.manifest_key("advection1d"), content)
        assert catalog.dataset(store, "advection1d").state == "damaged"
        with pytest.raises(DataError, match="manifest"):
            catalog.pins(store, ["advection1d"])

    def test_are_refused_where_the_manifest_leads_elsewhere(self, store: DirectoryStore) -> None:
        splits = json.loads(store.read_bytes(catalog.manifest_key("advection1d")))["splits"]
        splits["val"]["file"] = "../darcy2d/darcy2d_val.h5"
        change_manifest(store, splits=splits)
        assert catalog.dataset(store, "advection1d").state == "damaged"

    def test_are_refused_where_a_newer_version_made_it(self, store: DirectoryStore) -> None:
        store.write_bytes(catalog.manifest_key("advection1d"), b'{"format": 2, "state": "complete"}')
        entry = catalog.dataset(store, "advection1d")
        assert (entry.state, entry.bytes > 0) == ("newer", True)
        assert "made by a newer version (format 2" in entry.note
        with pytest.raises(DataError, match="newer version") as refused:
            catalog.pins(store, ["advection1d"])
        assert "update ups-console" in refused.value.hint

    def test_are_refused_without_a_manifest(self, store: DirectoryStore) -> None:
        store.delete(catalog.manifest_key("advection1d"))
        entry = catalog.dataset(store, "advection1d")
        assert entry.state == "unverified"
        assert set(entry.splits) == {"train", "val", "test"}
        with pytest.raises(DataError, match="no manifest"):
            catalog.pins(store, ["advection1d"])


class TestOldBuckets:
    def test_at_the_root_are_listed_as_unverified(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        store.write_bytes("full/burgers1d/burgers1d_train.h5", b"old")
        (entry,) = catalog.datasets(store)
        assert (entry.task, entry.state) == ("burgers1d", "unverified")
        assert entry.splits["train"].key == "full/burgers1d/burgers1d_train.h5"
        assert "val and test" in entry.note

    def test_with_the_inputs_of_darcy_alone_are_told_apart(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        path = store.root / catalog.dataset_key("darcy2d", "train")
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            file["nu"] = np.zeros((4, 8, 8), np.float32)
        assert "only the inputs" in catalog.dataset(store, "darcy2d").note
        assert "only the inputs" in catalog.dataset(Bucket(store.root), "darcy2d").note
        with h5py.File(path, "a") as file:
            file["targets"] = np.zeros((4, 8, 8), np.float32)
        assert "only the inputs" not in catalog.dataset(store, "darcy2d").note
        assert "only the inputs" not in catalog.dataset(Bucket(store.root), "darcy2d").note

    def test_with_what_is_no_hdf5_are_listed(self, tmp_path: Path) -> None:
        bucket = Bucket(tmp_path)
        bucket.write_bytes(catalog.dataset_key("darcy2d", "train"), b"no HDF5")
        (entry,) = catalog.datasets(bucket)
        assert (entry.state, "only the inputs" in entry.note) == ("unverified", False)

    def test_beside_new_datasets_are_passed_over(self, store: DirectoryStore) -> None:
        store.write_bytes("full/advection1d/advection1d_train.h5", b"old")
        (entry,) = catalog.datasets(store)
        assert (entry.state, entry.splits["train"].key) == (
            "verified", "pdebench/full/advection1d/advection1d_train.h5",
        )  # fmt: skip


class TestVerify:
    def test_reads_every_byte(self, store: DirectoryStore) -> None:
        told: list[tuple[str, int, int]] = []
        entry = catalog.verify(store, "advection1d", lambda *what: told.append(what))
        assert entry.state == "verified"
        assert told[-1][1:] == (entry.bytes, entry.bytes)

    def test_streams_from_a_bucket(self, store: DirectoryStore) -> None:
        bucket = Bucket(store.root)
        assert catalog.verify(bucket, "advection1d", silent).state == "verified"
        assert bucket.asked["range"] >= 3

    def test_finds_a_flipped_bit(self, store: DirectoryStore) -> None:
        path = path_of(store, "test")
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        assert catalog.dataset(store, "advection1d").state == "verified"
        entry = catalog.verify(store, "advection1d", silent)
        assert entry.state == "damaged"
        assert "advection1d_test.h5" in entry.note

    def test_says_what_else_is_wrong(self, store: DirectoryStore) -> None:
        path_of(store, "test").unlink()
        assert catalog.verify(store, "advection1d", silent).state == "incomplete"


class TestDelete:
    def test_removes_the_dataset_and_nothing_else(self, store: DirectoryStore) -> None:
        import_raw(store, "darcy2d", [raws.DARCY])
        catalog.delete(store, "advection1d")
        assert [entry.task for entry in catalog.datasets(store)] == ["darcy2d"]
        assert not list(store.list("pdebench/full/advection1d/"))
        assert catalog.verify(store, "darcy2d", silent).state == "verified"

    def test_takes_the_manifest_first(self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        monkeypatch.setattr(
            store, "delete_all", lambda keys: seen.append(catalog.dataset(store, "advection1d").state)
        )
        catalog.delete(store, "advection1d")
        assert seen == ["unverified"]

    def test_leaves_no_hidden_file_behind(self, store: DirectoryStore) -> None:
        hidden = store.root / "pdebench/full/advection1d/.tmp-advection1d_train.h5"
        hidden.write_bytes(b"half")
        catalog.delete(store, "advection1d")
        assert not hidden.exists()

    def test_works_on_what_is_damaged(self, store: DirectoryStore) -> None:
        store.write_bytes(catalog.manifest_key("advection1d"), b"{")
        catalog.delete(store, "advection1d")
        assert list(store.list()) == []

    def test_of_nothing_is_not_found(self, store: DirectoryStore) -> None:
        with pytest.raises(NotFoundError):
            catalog.delete(store, "darcy2d")
