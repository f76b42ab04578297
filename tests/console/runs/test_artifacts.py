import json
from pathlib import Path

import pytest

from console.runs.artifacts import recall
from ups.errors import StoreError
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256, open_store

PREFIX = "runs/1130-abcd/attempt-1"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(f"dir:{tmp_path / 'store'}")


@pytest.fixture
def mirror(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "home" / "attempt-1")
    directory.root.mkdir(parents=True)
    return directory


def published(store: ObjectStore, tmp_path: Path, *, sha256: str | None = None) -> RunDirectory:
    """What a box has published: a checkpoint, the stages so far, and its events."""
    box = RunDirectory(tmp_path / "box")
    folder = box.checkpoints / "operator-0007"
    folder.mkdir(parents=True)
    model = folder / "model.safetensors"
    model.write_bytes(b"weights")
    files = {"model.safetensors": {"sha256": sha256 or file_sha256(model)}}
    (folder / "state.json").write_text(json.dumps({"files": files}))
    box.stages_path.write_text('{"operator": {}}')
    with EventWriter(box.events_path) as events:
        for step in range(5):
            events.write(EventType.METRIC, step=step, values={"loss": 1.0})
    for path in box.root.rglob("*"):
        if path.is_file():
            store.upload(path, f"{PREFIX}/{path.relative_to(box.root).as_posix()}")
    return box


def test_what_the_box_published_comes_back_whole(
    store: ObjectStore, mirror: RunDirectory, tmp_path: Path
) -> None:
    box = published(store, tmp_path)
    first = box.events_path.read_bytes().splitlines(keepends=True)[0]
    mirror.events_path.write_bytes(first)

    assert recall(store, mirror, PREFIX) == ["operator-0007"]

    copy = mirror.checkpoints / "operator-0007"
    assert (copy / "model.safetensors").read_bytes() == b"weights"
    assert mirror.stages_path.read_text() == box.stages_path.read_text()
    assert mirror.events_path.read_bytes() == box.events_path.read_bytes()
    assert recall(store, mirror, PREFIX) == []


def test_a_mirror_that_knows_more_keeps_it(store: ObjectStore, mirror: RunDirectory, tmp_path: Path) -> None:
    box = published(store, tmp_path)
    more = box.events_path.read_bytes() + b'{"seq": 5, "t": 2.0, "type": "heartbeat"}\n'
    mirror.events_path.write_bytes(more)
    recall(store, mirror, PREFIX)
    assert mirror.events_path.read_bytes() == more


def test_a_checkpoint_that_is_not_what_was_published_is_not_used(
    store: ObjectStore, mirror: RunDirectory, tmp_path: Path
) -> None:
    published(store, tmp_path, sha256="0" * 64)
    with pytest.raises(StoreError):
        recall(store, mirror, PREFIX)
    assert not (mirror.checkpoints / "operator-0007" / "state.json").exists()


def test_a_state_that_names_files_elsewhere_is_refused(store: ObjectStore, mirror: RunDirectory) -> None:
    state = {"files": {"../../../etc/passwd": {"sha256": "0" * 64}}}
    store.write_bytes(f"{PREFIX}/checkpoints/operator-0001/state.json", json.dumps(state).encode())
    with pytest.raises(StoreError, match="outside"):
        recall(store, mirror, PREFIX)
