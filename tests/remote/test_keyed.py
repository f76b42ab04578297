"""What the store lacks comes by `DATASET_KEY`: from a folder of the bucket, or from a W&B artifact."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from remote import artifact
from remote.failures import StopRequested
from remote.hydrate import Datasets, Hydrator
from remote.keyed import by_split
from tests.remote.conftest import MakeRun, pins_of
from tests.remote.test_pipeline import done_of, drive, events_of, published
from tests.simulators.wandb_account import artifact_folder, simulate_wandb
from ups.catalog import dataset_key
from ups.dataset_keys import KEY_VARIABLE
from ups.errors import DataError, NotFoundError, StoreError
from ups.rundir import RunDirectory
from ups.store import file_sha256
from ups.stores.directory import DirectoryStore

KEY = "advection1d_full_v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"darcy2d_v3, {KEY} ,")
    for name in ("WANDB_API_KEY", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def empty(tmp_path: Path) -> DirectoryStore:
    """A store that lacks the task."""
    (tmp_path / "bucket").mkdir()
    return DirectoryStore(tmp_path / "bucket")


@pytest.fixture
def account(tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The artifact's folder in a W&B account."""
    for name, value in simulate_wandb(tmp_path / "wandb").items():
        monkeypatch.setenv(name, value)
    folder = artifact_folder(tmp_path / "wandb", f"{KEY}:latest")
    copy_splits(store, folder, "Adv_{split}_v1.h5")
    return folder


def copy_splits(store: DirectoryStore, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        shutil.copy(store.root / dataset_key("advection1d", split), folder / name.format(split=split))


def hydrate(run: RunDirectory, store: DirectoryStore) -> Datasets:
    told: list[tuple[str, int, int]] = []
    found = Hydrator(run.read_spec(), store, run).hydrate(lambda *values: told.append(values))
    assert told[-1][1] == told[-1][2]
    return found


def assert_hydrated(run: RunDirectory, found: Datasets, store: DirectoryStore) -> None:
    """All files are those of the first store, named by their hashes, and nothing else was left."""
    expected = pins_of(store)["advection1d"]
    data = run.root.parent / "data"
    assert found == {"advection1d": {split: data / f"{sha256}.h5" for split, sha256 in expected.items()}}
    assert {split: file_sha256(path) for split, path in found["advection1d"].items()} == expected
    assert sorted(path.name for path in data.iterdir()) == sorted(f"{name}.h5" for name in expected.values())


def test_split_of_a_file_is_a_word_of_its_name() -> None:
    names = ["a/b1d_train.h5", "b1d-VALID-2.hdf5", "test.h5", "trainer_x.h5", "test.txt", "README"]
    assert by_split(names) == {"train": ["a/b1d_train.h5"], "val": ["b1d-VALID-2.hdf5"], "test": ["test.h5"]}


@pytest.mark.parametrize("folder", [f"pdebench/{KEY}", KEY])
@pytest.mark.parametrize("pinned", [True, False])
def test_folder_of_the_bucket(
    make_run: MakeRun, store: DirectoryStore, empty: DirectoryStore, folder: str, *, pinned: bool
) -> None:
    copy_splits(store, empty.root / folder, "advection_{split}.h5")
    run = make_run() if pinned else make_run(datasets={})
    assert_hydrated(run, hydrate(run, empty), store)


def test_artifact(make_run: MakeRun, store: DirectoryStore, empty: DirectoryStore, account: Path) -> None:
    run = make_run()
    assert_hydrated(run, hydrate(run, empty), store)


def test_what_nothing_pins_is_kept_to(
    make_run: MakeRun, store: DirectoryStore, empty: DirectoryStore, account: Path
) -> None:
    run = make_run(datasets={})
    found = hydrate(run, empty)
    hydrator = Hydrator(run.read_spec(), empty, run)
    assert hydrator.pins == pins_of(store)
    shutil.rmtree(account)  # whatever becomes of the artifact
    assert hydrator.hydrate(lambda *_: None) == found
    assert hydrator.ready() == found


def test_dataset_of_the_store_comes_first(make_run: MakeRun, store: DirectoryStore, account: Path) -> None:
    run = make_run(datasets={})
    assert hydrate(run, store)["advection1d"]["val"] == store.root / dataset_key("advection1d", "val")
    assert Hydrator(run.read_spec(), store, run).pins == pins_of(store)


def test_other_bytes_than_the_run_pins_are_refused(
    make_run: MakeRun, store: DirectoryStore, empty: DirectoryStore, account: Path
) -> None:
    run = make_run()
    file = account / "Adv_val_v1.h5"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StoreError, match=f"the val split of {KEY} does not have the sha256"):
        hydrate(run, empty)
    assert list((run.root.parent / "data").iterdir()) == []


@pytest.mark.parametrize("wrong", ["values", "split", "no file", "several"])
def test_file_that_cannot_be_used_is_refused(
    make_run: MakeRun, empty: DirectoryStore, account: Path, wrong: str
) -> None:
    run, file = make_run(datasets={}), account / "Adv_test_v1.h5"
    match = {
        "values": "not finite", "split": "is the val split", "no file": "no readable|no HDF5",
        "several": "several files of the test split",
    }[wrong]  # fmt: skip
    if wrong == "values":
        with h5py.File(file, "r+") as content:
            content["states"][0, 0] = np.nan
    elif wrong == "split":
        shutil.copy(account / "Adv_val_v1.h5", file)
    elif wrong == "no file":
        file.write_bytes(b"<html>")
    else:
        shutil.copy(file, account / "another_test.h5")
    with pytest.raises(DataError, match=match):
        hydrate(run, empty)
    assert list((run.root.parent / "data").iterdir()) == []
    assert not (run.root / "datasets.json").exists()


def test_too_large_an_artifact_is_told_before_it_comes(
    make_run: MakeRun, empty: DirectoryStore, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.keyed.free_bytes", lambda path: 10)
    with pytest.raises(StoreError, match=f"no space left in .* for {KEY}"):
        hydrate(make_run(), empty)


def test_without_a_key_the_error_says_what_was_tried(make_run: MakeRun, empty: DirectoryStore) -> None:
    with pytest.raises(NotFoundError) as caught:
        hydrate(make_run(), empty)
    message = caught.value.message
    assert f"the dataset in {empty.url}: the store holds no dataset of advection1d" in message
    assert f"the folders pdebench/{KEY}/ and {KEY}/ of the store: there is none" in message
    assert f"the W&B artifact {KEY}: there is no WANDB_API_KEY" in message
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("WANDB_MODE", "offline", "WANDB_MODE is offline"),
        ("WANDB_API_KEY", "wrong", "API key verification failed"),
        ("WANDB_PROJECT", "other", f"artifact team/other/{KEY}:latest not found"),
    ],
)
def test_artifact_that_does_not_come_is_one_clear_error(
    make_run: MakeRun, empty: DirectoryStore, account: Path, monkeypatch: pytest.MonkeyPatch,
    variable: str, value: str, why: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotFoundError, match="there are no data of advection1d") as caught:
        hydrate(make_run(), empty)
    assert why in caught.value.message


def test_task_without_a_key_is_as_without_any(
    make_run: MakeRun, empty: DirectoryStore, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "darcy2d_v1")
    with pytest.raises(NotFoundError, match="the store holds no dataset of advection1d"):
        hydrate(make_run(), empty)
    with pytest.raises(StoreError, match="pins no dataset of advection1d"):
        hydrate(make_run("r2", datasets={}), empty)


def test_download_that_stalls_is_given_up(tmp_path: Path, account: Path) -> None:
    (account / ".stall").touch()
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(NotFoundError, match="nothing came for"):
        artifact.download(KEY, target, lambda done, total: None, silence_s=0.5)


def test_request_to_stop_ends_a_download(tmp_path: Path, account: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise StopRequested

    (account / ".stall").touch()
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StopRequested):
        artifact.download(KEY, target, stop)


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_wandb_itself_is_not_waited_for_for_ever(
    tmp_path: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", refusing)
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(NotFoundError, match=f"the W&B artifact {KEY}:latest: "):
        artifact.download(KEY, target, lambda done, total: None, silence_s=8)
    assert list(target.iterdir()) == []


def test_record_that_is_damaged_counts_as_none(make_run: MakeRun, store: DirectoryStore) -> None:
    run = make_run(datasets={})
    (run.root / "datasets.json").write_text('["x"]')
    assert Hydrator(run.read_spec(), store, run).pins == {}
    hydrate(run, store)
    assert json.loads((run.root / "datasets.json").read_text()) == pins_of(store)


def test_whole_run_on_what_nothing_pins(
    make_run: MakeRun, store: DirectoryStore, empty: DirectoryStore
) -> None:
    copy_splits(store, empty.root / KEY, "{split}.h5")
    run = make_run(datasets={}, store=empty.url)
    assert drive(run, DATASET_KEY=KEY) == 0
    assert done_of(run)["status"] == "succeeded"
    report = json.loads(run.report_path.read_text())
    assert report["data_sha256"] == pins_of(store)
    assert json.loads(published(run, empty, "datasets.json")) == pins_of(store)


def test_whole_run_without_data_says_what_was_tried(make_run: MakeRun, empty: DirectoryStore) -> None:
    run = make_run(datasets={}, store=empty.url)
    assert drive(run, DATASET_KEY=KEY) == 4
    (error,) = [event.fields for event in events_of(run) if event.type == "error"]
    assert error["message"].startswith("there are no data of advection1d. Tried the dataset in dir:")
    assert f"W&B artifact {KEY}: there is no WANDB_API_KEY" in error["message"]
