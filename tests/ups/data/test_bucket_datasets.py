"""Datasets are made, added to and replaced in a bucket as in a directory."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.ups.data import raws
from ups import catalog
from ups.data.convert import import_raw, make
from ups.errors import DataError
from ups.store import ObjectStore, Progress
from ups.stores.directory import DirectoryStore
from ups.stores.s3 import S3Store


def hashes(store: ObjectStore, task: str = "advection1d") -> dict[str, str]:
    return {split: entry.sha256 for split, entry in catalog.dataset(store, task).splits.items()}


def is_whole(store: ObjectStore, task: str = "advection1d") -> bool:
    """Every byte of the dataset is what its manifest says."""
    return catalog.verify(store, task, lambda *_: None).state == "verified"


def test_a_bucket_holds_what_a_directory_would(b2_store: S3Store, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make(b2_store, "advection1d", samples=10, transfer=lambda *what: told.append(what))
    make(directory := DirectoryStore(tmp_path / "store"), "advection1d", samples=10)
    assert is_whole(b2_store)
    assert hashes(b2_store) == hashes(directory)
    assert [info.key for info in b2_store.list()] == [info.key for info in directory.list()]
    total = catalog.dataset(b2_store, "advection1d").bytes
    assert told[-1] == (total, total)


def test_more_is_added_to_what_a_bucket_holds(b2_store: S3Store, tmp_path: Path) -> None:
    import_raw(b2_store, "advection1d", [raws.ADVECTION])
    fetched: list[tuple[int, int]] = []
    result = import_raw(
        b2_store, "advection1d", [raws.ADVECTION_FAST], transfer=lambda *what: fetched.append(what)
    )
    assert result.samples == {"train": 16, "val": 2, "test": 2}
    directory = DirectoryStore(tmp_path / "store")
    import_raw(directory, "advection1d", [raws.ADVECTION, raws.ADVECTION_FAST])
    assert hashes(b2_store) == hashes(directory)
    assert fetched
    assert not list((tmp_path / "scratch").rglob("*.h5"))
    assert not import_raw(b2_store, "advection1d", [raws.ADVECTION]).changed


def test_a_damaged_dataset_in_a_bucket_is_not_added_to(b2_store: S3Store) -> None:
    import_raw(b2_store, "advection1d", [raws.ADVECTION])
    key = catalog.dataset_key("advection1d", "train")
    content = bytearray(b2_store.read_bytes(key))
    content[-1] ^= 1
    b2_store.write_bytes(key, bytes(content))
    with pytest.raises(Exception, match="sha256"):
        import_raw(b2_store, "advection1d", [raws.ADVECTION_FAST])


class _Failing:
    """A bucket whose n-th change fails, as if the process had been killed there."""

    def __init__(self, store: S3Store, fail_at: int) -> None:
        self._store, self._left = store, fail_at

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt

    def write_bytes(self, key: str, content: bytes) -> None:
        self._count()
        self._store.write_bytes(key, content)

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        self._count()
        self._store.move(source, key, progress=progress)

    def rename(self, key: str, new_key: str) -> None:
        self._count()
        self._store.rename(key, new_key)


@pytest.mark.parametrize("step", [0, 2, 3, 4, 6, 7])
def test_a_swap_that_was_interrupted_is_finished(b2_store: S3Store, step: int) -> None:
    import_raw(b2_store, "advection1d", [raws.ADVECTION])
    old = hashes(b2_store)
    with suppress(KeyboardInterrupt):
        import_raw(_Failing(b2_store, step), "advection1d", [raws.ADVECTION_FAST])  # type: ignore[arg-type]
    if step <= 3:  # three files sent, and no manifest yet
        assert hashes(b2_store) == old
        assert is_whole(b2_store)
    else:
        with pytest.raises(DataError, match="writing"):
            catalog.pins(b2_store, ["advection1d"])
    import_raw(b2_store, "advection1d", [raws.ADVECTION_FAST])
    assert is_whole(b2_store)
    assert len(catalog.dataset(b2_store, "advection1d").provenance) == 2
    names = {info.key.rpartition("/")[2] for info in b2_store._control().objects("")}
    assert names == {"manifest.json", *(f"advection1d_{split}.h5" for split in ("train", "val", "test"))}
