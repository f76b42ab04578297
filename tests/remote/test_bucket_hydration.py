"""A run's data come from a bucket as from anywhere."""

from pathlib import Path

import pytest

from remote.hydrate import Hydrator, groups
from tests.remote.conftest import MakeRun
from tests.remote.test_keyed import KEY, copy_splits
from ups.dataset_keys import KEY_VARIABLE
from ups.store import ObjectStore, Upload, file_sha256
from ups.stores.directory import DirectoryStore


def copied(source: DirectoryStore, bucket: ObjectStore, below: str = "") -> None:
    """Every object of a directory store, in a bucket."""
    bucket.upload_all([Upload(source.root / info.key, below + info.key) for info in source.list()])


def test_datasets_of_a_bucket_come_in_groups(
    make_joint_run: MakeRun, two_tasks: DirectoryStore, b2_store: ObjectStore
) -> None:
    copied(two_tasks, b2_store)
    run = make_joint_run()
    hydrator = Hydrator(run.read_spec(), b2_store, run)
    told: list[int] = []
    for group in groups(run.read_spec().config):
        found = hydrator.hydrate(lambda task, done, total: told.append(done), group)
        assert set(found) == set(group)
    ready = hydrator.ready()
    assert ready is not None
    for task, files in ready.items():
        assert {split: file_sha256(path) for split, path in files.items()} == hydrator.pins[task]
    assert told == sorted(told)
    assert told[-1] == sum(path.stat().st_size for files in ready.values() for path in files.values())
    assert sorted(path.suffix for path in (run.root.parent / "data").iterdir()) == [".h5"] * 6


def test_folder_of_a_bucket_is_found_by_its_key(
    make_run: MakeRun,
    store: DirectoryStore,
    b2_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = DirectoryStore(tmp_path / "folder")
    copy_splits(store, folder.root / KEY, "{split}.h5")
    copied(folder, b2_store, "pdebench/")
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    run = make_run(datasets={})
    found = Hydrator(run.read_spec(), b2_store, run).hydrate(lambda *_: None)
    assert set(found["advection1d"]) == {"train", "val", "test"}
