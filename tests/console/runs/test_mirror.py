import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.errors import UnreachableError
from console.runs.mirror import Mirror
from console.runs.transport import LocalTransport
from ups.errors import StoreError
from ups.events import EventReader, EventType, EventWriter
from ups.rundir import RunDirectory


def make(tmp_path: Path) -> tuple[Path, Mirror]:
    box = tmp_path / "box"
    remote = box / "runs" / "r"
    remote.mkdir(parents=True, exist_ok=True)
    transport = LocalTransport(box, python=sys.executable, marker={})
    return remote, Mirror(transport, "runs/r", RunDirectory(tmp_path / "mirror"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(min_value=1, max_value=400), min_size=1, max_size=30))
def test_no_event_is_lost_or_doubled_over_any_cuts(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("mirror")
    remote, _ = make(tmp_path)
    with EventWriter(tmp_path / "whole.jsonl") as writer:
        for step in range(60):
            writer.write(EventType.METRIC, step=step, values={"loss": 1 / (step + 1)}, task="advection1d")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    seen = []
    reader = EventReader(tmp_path / "mirror" / "events.jsonl")
    position = 0
    for cut in [*cuts, len(whole)]:
        position = min(len(whole), position + cut)
        (remote / "events.jsonl").write_bytes(whole[:position])
        make(tmp_path)[1].pull()  # another process each time: nothing is remembered but the copy
        mirrored = tmp_path / "mirror" / "events.jsonl"
        assert not mirrored.exists() or mirrored.read_bytes().endswith(b"\n")
        seen.extend(event.seq for event in reader.read())
    assert seen == list(range(60))


def test_files_that_events_name_are_fetched_whole(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    (remote / "rollouts").mkdir()
    (remote / "rollouts" / "advection1d-10.npz").write_bytes(b"x" * 1000)
    (remote / "datasets.json").write_text('{"advection1d": {"train": "0"}}')
    for name in ("epoch-1", "epoch-2"):
        (remote / "checkpoints" / name).mkdir(parents=True)
        (remote / "checkpoints" / name / "model.safetensors").write_bytes(name.encode())
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.ROLLOUT, task="advection1d", step=10, path="rollouts/advection1d-10.npz")
        writer.write(EventType.CHECKPOINT, path="checkpoints/epoch-1", best=True)
        mirror.pull()
        shutil.rmtree(remote / "checkpoints" / "epoch-1")
        writer.write(EventType.CHECKPOINT, path="checkpoints/epoch-2", best=True)
        mirror.pull()
    local = tmp_path / "mirror"
    assert (local / "rollouts" / "advection1d-10.npz").stat().st_size == 1000
    assert (local / "checkpoints" / "epoch-2" / "model.safetensors").read_bytes() == b"epoch-2"
    assert not (local / "checkpoints" / "epoch-1").exists()
    assert (local / "datasets.json").exists()


def test_what_the_stages_have_reached_comes_with_the_checkpoints_that_go_on_from_them(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    with EventWriter(remote / "events.jsonl") as writer:
        for stage, content in (
            ("operator", '{"operator": {"epochs": 1}}'),
            ("control", '{"operator": {"epochs": 2}}'),
        ):
            name = f"{stage}-0001"
            (remote / "checkpoints" / name).mkdir(parents=True)
            (remote / "checkpoints" / name / "state.json").write_text("{}")
            (remote / "stages.json").write_text(content)  # of the same length, and another content
            writer.write(EventType.CHECKPOINT, path=f"checkpoints/{name}", best=True)
            mirror.pull()
            assert (tmp_path / "mirror" / "stages.json").read_text() == content


def test_all_checkpoints_that_the_box_keeps_are_kept(tmp_path: Path) -> None:
    """A stage begins with the best ones of those before it, whichever is the best of all."""
    remote, mirror = make(tmp_path)
    with EventWriter(remote / "events.jsonl") as writer:
        for name, best in (("operator-0002", True), ("diff_residual-0001", True), ("control-0001", False)):
            (remote / "checkpoints" / name).mkdir(parents=True)
            (remote / "checkpoints" / name / "state.json").write_text(name)
            writer.write(EventType.CHECKPOINT, path=f"checkpoints/{name}", best=best)
            mirror.pull()
    assert {path.name for path in (tmp_path / "mirror" / "checkpoints").iterdir()} == {
        "operator-0002", "diff_residual-0001", "control-0001",
    }  # fmt: skip


def test_a_checkpoint_that_was_written_again_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    folder = remote / "checkpoints" / "operator-0001"
    folder.mkdir(parents=True)
    with EventWriter(remote / "events.jsonl") as writer:
        for weights, state in ((b"first", b"vouches for first"), (b"again", b"vouches for again")):
            (folder / "model.safetensors").write_bytes(weights)
            (folder / "state.json").write_bytes(state)
            sha256 = hashlib.sha256(state).hexdigest()
            writer.write(EventType.CHECKPOINT, path="checkpoints/operator-0001", best=True, sha256=sha256)
            mirror.pull()
            copy = tmp_path / "mirror" / "checkpoints" / "operator-0001"
            assert (copy / "model.safetensors").read_bytes() == weights
            assert (copy / "state.json").read_bytes() == state


def test_what_a_stage_has_reached_never_comes_without_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, mirror = make(tmp_path)
    for name in ("operator-0001", "control-0001"):
        (remote / "checkpoints" / name).mkdir(parents=True)
        (remote / "checkpoints" / name / "state.json").write_text("{}")
    (remote / "stages.json").write_text('{"operator": {}, "control": {}}')
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.CHECKPOINT, path="checkpoints/operator-0001", best=True)
    read = mirror.transport.read

    def lost(path: str, offset: int = 0, limit: int = -1) -> bytes:
        if "control-0001" in path:
            raise UnreachableError("the box is gone")
        return read(path, offset, limit)

    monkeypatch.setattr(mirror.transport, "read", lost)
    with pytest.raises(UnreachableError):
        mirror.pull()
    assert not (tmp_path / "mirror" / "stages.json").exists()
    monkeypatch.undo()
    mirror.pull()
    assert (tmp_path / "mirror" / "stages.json").exists()


def test_a_path_outside_of_the_run_is_refused(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.ROLLOUT, task="t", step=1, path="../../secret")
    with pytest.raises(StoreError, match="outside"):
        mirror.pull()


def test_another_file_under_the_same_name_is_not_appended(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.HEARTBEAT)
        mirror.pull()
    before = (tmp_path / "mirror" / "events.jsonl").read_bytes()
    (remote / "events.jsonl").write_bytes(b'{"seq":0,"t":1.0,"type":"heartbeat","of":"another run"}\n' * 3)
    with pytest.raises(StoreError, match="not those that were mirrored"):
        mirror.pull()
    assert (tmp_path / "mirror" / "events.jsonl").read_bytes() == before


def test_the_log_is_copied_byte_by_byte(tmp_path: Path) -> None:
    remote, mirror = make(tmp_path)
    content = b"10%\r20%\r\n\xff not utf-8\nno newline at the end"
    (remote / "run.log").write_bytes(content[:7])
    mirror.pull()
    (remote / "run.log").write_bytes(content)
    mirror.pull()
    assert (tmp_path / "mirror" / "run.log").read_bytes() == content


def test_what_the_run_prunes_while_it_is_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, mirror = make(tmp_path)
    checkpoint = remote / "checkpoints" / "epoch-1"
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "state.json"):
        (checkpoint / name).write_bytes(b"x")
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.CHECKPOINT, path="checkpoints/epoch-1", best=True)
    stat = Path.stat

    def vanishing(path: Path, **options: bool) -> os.stat_result:
        if path.parent == checkpoint:
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    mirror.pull()
    assert not list((tmp_path / "mirror").glob("checkpoints/*/*"))
