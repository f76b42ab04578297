"""Results reach the store whole, once, and the log and events last."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from remote.publish import Publisher, content_sha256
from tests.remote.conftest import MakeRun
from ups.errors import StoreError
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256
from ups.stores.directory import DirectoryStore
from ups.stores.s3 import S3Store

PREFIX = "runs/r1/attempt-1/"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Recorder:
    """What was announced as published."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.hashes: dict[str, str] = {}

    def __call__(self, path: str, where: str, sha256: str) -> None:
        assert where.endswith(f"{PREFIX}{path}")
        self.paths.append(path)
        self.hashes[path] = sha256


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    made = make_run()
    for name, content in {
        "checkpoints/operator-0002/state.json": "{}",
        "checkpoints/operator-0002/model.safetensors": "weights",
        "checkpoints/.partial-operator-0003/model.safetensors": "half",
        "rollouts/advection1d-6.npz": "frames",
        "report.json": "{}",
        "run.log": "line\n",
        "events.jsonl": '{"seq":0,"t":0,"type":"run"}\n',
    }.items():
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return made


def publish(run: RunDirectory, store: ObjectStore) -> Recorder:
    recorder = Recorder()
    Publisher(store, run.read_spec(), run, recorder).publish(lambda done, total: None)
    return recorder


def stored(store: ObjectStore) -> dict[str, bytes]:
    return {info.key.removeprefix(PREFIX): store.read_bytes(info.key) for info in store.list(PREFIX)}


def test_everything_whole_is_published_the_log_and_events_last(
    run: RunDirectory, store: DirectoryStore
) -> None:
    recorder = publish(run, store)
    assert recorder.paths == [
        "run.yaml", "checkpoints/operator-0002/model.safetensors", "checkpoints/operator-0002/state.json",
        "rollouts/advection1d-6.npz", "report.json", "run.log", "events.jsonl",
    ]  # fmt: skip
    assert set(stored(store)) == set(recorder.paths)
    for path, sha256 in recorder.hashes.items():
        assert file_sha256(run.root / path) == sha256


def test_publishing_again_sends_nothing(run: RunDirectory, store: DirectoryStore) -> None:
    publish(run, store)
    assert publish(run, store).paths == []


def test_a_bucket_takes_it_all_and_again_only_what_changed(run: RunDirectory, b2_store: S3Store) -> None:
    recorder = publish(run, b2_store)
    assert {name: sha256(content) for name, content in stored(b2_store).items()} == recorder.hashes
    assert publish(run, b2_store).paths == []
    b2_store.write_bytes(f"{PREFIX}rollouts/advection1d-6.npz", b"cut")
    run.report_path.write_text('{"a": 1}')
    assert publish(run, b2_store).paths == ["rollouts/advection1d-6.npz", "report.json"]


def test_only_what_changed_is_sent_again(run: RunDirectory, store: DirectoryStore) -> None:
    publish(run, store)
    run.report_path.write_text('{"a": 1}')
    assert publish(run, store).paths == ["report.json"]
    assert stored(store)["report.json"] == b'{"a": 1}'


def test_what_the_store_has_lost_is_sent_again(run: RunDirectory, store: DirectoryStore) -> None:
    publish(run, store)
    store.delete(f"{PREFIX}rollouts/advection1d-6.npz")
    store.write_bytes(f"{PREFIX}report.json", b"cut")
    assert publish(run, store).paths == ["rollouts/advection1d-6.npz", "report.json"]


def test_a_superseded_checkpoint_goes_once_the_new_one_is_there(
    run: RunDirectory, store: DirectoryStore
) -> None:
    publish(run, store)
    (run.checkpoints / "operator-0002").rename(run.checkpoints / "operator-0004")
    publish(run, store)
    names = {name for name in stored(store) if name.startswith("checkpoints/")}
    assert names == {"checkpoints/operator-0004/model.safetensors", "checkpoints/operator-0004/state.json"}


def test_what_a_killed_process_sent_without_noting_it_goes_as_well(
    run: RunDirectory, store: DirectoryStore
) -> None:
    stale = f"{PREFIX}checkpoints/operator-0001/model.safetensors"
    store.write_bytes(stale, b"sent, and then its process was killed")
    publish(run, store)
    assert store.find(stale) is None
    assert store.find(f"{PREFIX}checkpoints/operator-0002/model.safetensors") is not None


def test_a_line_that_is_being_written_is_left_out(run: RunDirectory, store: DirectoryStore) -> None:
    with run.events_path.open("a") as file:
        file.write('{"seq":1,"t":')
    publish(run, store)
    assert stored(store)["events.jsonl"] == b'{"seq":0,"t":0,"type":"run"}\n'


def test_a_store_that_keeps_other_bytes_is_found_out(run: RunDirectory, store: DirectoryStore) -> None:
    class Lossy(DirectoryStore):
        def upload(self, source: Path, key: str, **options: object) -> str:
            self.write_bytes(key, b"")
            return file_sha256(source)

    with pytest.raises(StoreError, match="does not hold"):
        publish(run, Lossy(store.root))


def test_the_hash_of_a_checkpoint_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = content_sha256(tmp_path / "a")
    assert content_sha256(tmp_path / "a") == first
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert content_sha256(tmp_path / "a") != first


class Counting(DirectoryStore):
    """Notes what is really sent."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sent: list[str] = []

    def upload(self, source: Path, key: str, **options: Any) -> str:
        self.sent.append(key.removeprefix(PREFIX))
        return super().upload(source, key, **options)

    def copy(self, key: str, new_key: str) -> None:
        DirectoryStore(self.root).copy(key, new_key)


def next_checkpoint(run: RunDirectory) -> None:
    """Training goes on: the companions of the operator change, the operator does not."""
    made = run.checkpoints / "operator-0003"
    shutil.copytree(run.checkpoints / "operator-0002", made)
    (made / "state.json").write_text('{"epoch": 3}')
    (made / "companions.safetensors").write_text("new")
    shutil.rmtree(run.checkpoints / "operator-0002")


CHANGED = ["checkpoints/operator-0003/companions.safetensors", "checkpoints/operator-0003/state.json"]


def test_an_unchanged_file_of_the_next_checkpoint_is_not_sent_again(
    run: RunDirectory, store: DirectoryStore
) -> None:
    counting = Counting(store.root)
    Publisher(counting, run.read_spec(), run, Recorder()).publish_checkpoints()
    next_checkpoint(run)
    counting.sent.clear()
    Publisher(counting, run.read_spec(), run, Recorder()).publish_checkpoints()
    assert counting.sent == CHANGED
    assert [name for name in stored(store) if name.startswith("checkpoints/")] == [
        CHANGED[0], "checkpoints/operator-0003/model.safetensors", CHANGED[1],
    ]  # fmt: skip
    assert stored(store)["checkpoints/operator-0003/model.safetensors"] == b"weights"


def test_nor_to_a_bucket(run: RunDirectory, b2_store: S3Store) -> None:
    publisher = Publisher(b2_store, run.read_spec(), run, Recorder())
    publisher.publish_checkpoints()
    next_checkpoint(run)
    assert publisher.publish_checkpoints() == len(CHANGED)
    assert stored(b2_store)["checkpoints/operator-0003/model.safetensors"] == b"weights"


def test_a_checkpoint_that_training_removes_while_it_is_sent_arrives_whole(
    run: RunDirectory, store: DirectoryStore
) -> None:
    class Slow(DirectoryStore):
        def upload(self, source: Path, key: str, **options: Any) -> str:
            shutil.rmtree(run.checkpoints / "operator-0002", ignore_errors=True)
            return super().upload(source, key, **options)

    Publisher(Slow(store.root), run.read_spec(), run, Recorder()).publish_checkpoints()
    assert stored(store) == {
        "checkpoints/operator-0002/model.safetensors": b"weights",
        "checkpoints/operator-0002/state.json": b"{}",
    }
    assert not (run.root / ".publishing").exists()
