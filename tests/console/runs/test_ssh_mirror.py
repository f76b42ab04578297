import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.errors import UnreachableError
from console.runs.mirror import Mirror
from console.runs.ssh_connection import CutError
from console.runs.transport import LocalTransport
from tests.console.runs.sshd import Door
from tests.console.runs.sshd import door as door
from tests.patience import PATIENCE_S
from ups.events import EventReader, EventType, EventWriter
from ups.rundir import RunDirectory


class Cutting:
    """A transport whose connection breaks: what it was asked for then never arrives."""

    def __init__(self, transport: LocalTransport, cuts: Sequence[bool]) -> None:
        self._transport = transport
        self._cuts = list(cuts)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        asked = getattr(self._transport, name)

        def answer(*arguments: Any, **options: Any) -> Any:
            if self._cuts and self._cuts.pop():
                raise CutError("cut")
            return asked(*arguments, **options)

        return answer


def write_run(remote: Path) -> None:
    """A run with files that its events name, among many that name none."""
    (remote / "rollouts").mkdir(parents=True)
    (remote / "datasets.json").write_text('{"advection1d": {}}')
    (remote / "report.json").write_text('{"splits": {}}')
    with EventWriter(remote / "events.jsonl") as writer:
        for step in range(40):
            writer.write(EventType.METRIC, step=step, values={"loss": 1 / (step + 1)}, task="advection1d")
            if step % 10 == 0:
                (remote / "rollouts" / f"{step}.npz").write_bytes(random.Random(step).randbytes(1000))
                writer.write(EventType.ROLLOUT, task="advection1d", step=step, path=f"rollouts/{step}.npz")
            if step in (15, 35):
                folder = remote / "checkpoints" / f"epoch-{step}"
                folder.mkdir(parents=True)
                for name in ("model.safetensors", "state.json"):
                    (folder / name).write_bytes(random.Random(step).randbytes(5000))
                writer.write(EventType.CHECKPOINT, path=f"checkpoints/epoch-{step}", best=step == 35)
        writer.write(EventType.DONE, status="succeeded", exit_code=0)
    (remote / "run.log").write_bytes(random.Random(5).randbytes(20_000))


def assert_whole(remote: Path, local: Path) -> None:
    """Everything that was promised is there, once."""
    for name in ("events.jsonl", "run.log", "datasets.json", "report.json"):
        assert (local / name).read_bytes() == (remote / name).read_bytes(), name
    for path in (remote / "rollouts").iterdir():
        assert (local / "rollouts" / path.name).read_bytes() == path.read_bytes()
    for path in (remote / "checkpoints" / "epoch-35").iterdir():
        assert (local / "checkpoints" / "epoch-35" / path.name).read_bytes() == path.read_bytes()
    assert [event.seq for event in EventReader(local / "events.jsonl").read()] == list(range(47))
    assert not list(local.rglob("*.part"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.booleans(), max_size=60), forget=st.booleans())
def test_nothing_is_lost_or_doubled_however_often_the_connection_breaks(
    cuts: list[bool], forget: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mirror")
    remote = folder / "box" / "r"
    write_run(remote)
    transport = Cutting(LocalTransport(folder / "box", python="python", marker={}), cuts)
    local = RunDirectory(folder / "mirror")
    mirror = Mirror(transport, "r", local)
    for _ in range(len(cuts) + 1):
        try:
            while mirror.pull():
                pass
        except UnreachableError:
            if forget:  # the console was started anew
                mirror = Mirror(transport, "r", local)
        else:
            break
    assert_whole(remote, local.root)


@pytest.mark.needs_program("sshd")
@pytest.mark.parametrize("seconds", [0.3, 0.7])
def test_a_run_is_mirrored_exactly_once_while_its_connection_is_cut_again_and_again(
    door: Door, tmp_path: Path, seconds: float
) -> None:
    whole = tmp_path / "whole"
    write_run(whole)
    content = (whole / "events.jsonl").read_bytes()
    remote = door.box / "r"
    remote.mkdir(parents=True)
    for path in whole.iterdir():
        if path.name != "events.jsonl":
            path.rename(remote / path.name)
    mirror = Mirror(door.transport(), "r", RunDirectory(tmp_path / "mirror"))
    cuts = random.Random(6)
    position = 0
    with door.server.cut_every(seconds):
        while position < len(content):
            step = cuts.randrange(1, 1500)
            with (remote / "events.jsonl").open("ab") as file:
                file.write(content[position : position + step])
            position += step
            pull(mirror)
        pull(mirror)
    while pull(mirror):
        pass
    assert_whole(remote, tmp_path / "mirror")


@pytest.mark.needs_program("sshd")
def test_a_large_checkpoint_goes_on_where_a_cut_has_left_it(door: Door, tmp_path: Path) -> None:
    remote = door.box / "r"
    (remote / "checkpoints" / "last").mkdir(parents=True)
    content = random.Random(7).randbytes(40_000_000)
    (remote / "checkpoints" / "last" / "model.safetensors").write_bytes(content)
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.CHECKPOINT, path="checkpoints/last", best=True)
    mirror = Mirror(door.transport(), "r", RunDirectory(tmp_path / "mirror"))
    with door.server.cut_every(0.5):
        while pull(mirror):
            pass
    assert (tmp_path / "mirror/checkpoints/last/model.safetensors").read_bytes() == content


@pytest.mark.needs_program("sshd")
def test_looking_again_costs_one_round_trip(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = door.box / "r"
    write_run(remote)
    transport = door.transport()
    mirror = Mirror(transport, "r", RunDirectory(tmp_path / "mirror"))
    mirror.pull()
    asked = []
    execute = transport._connection.execute
    monkeypatch.setattr(transport._connection, "execute", lambda *a, **o: asked.append(a) or execute(*a, **o))
    mirror.pull()
    assert len(asked) == 1


class Slow:
    """A transport over a slow line, by a clock that only it moves."""

    def __init__(self, transport: LocalTransport, bytes_per_s: float) -> None:
        self._transport = transport
        self._rate = bytes_per_s
        self.now = 0.0

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        content = self._transport.read(path, offset, limit)
        self.now += 0.05 + len(content) / self._rate
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.parametrize("megabytes_per_s", [1, 5, 50])
def test_events_keep_coming_while_a_large_checkpoint_is_fetched(
    tmp_path: Path, megabytes_per_s: float
) -> None:
    remote = tmp_path / "box" / "r"
    folder = remote / "checkpoints" / "last"
    folder.mkdir(parents=True)
    content = random.Random(8).randbytes(30_000_000)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "state.json").write_text("{}")
    line = Slow(LocalTransport(tmp_path / "box", python="python", marker={}), megabytes_per_s * 1e6)
    mirror = Mirror(line, "r", RunDirectory(tmp_path / "mirror"), clock=lambda: line.now)
    with EventWriter(remote / "events.jsonl") as writer:
        writer.write(EventType.CHECKPOINT, path="checkpoints/last", best=True)
        before, waits, more = 0.0, [], True
        while more:
            writer.write(EventType.HEARTBEAT)
            more = mirror.pull()
            waits.append(line.now - before)
            before = line.now
    copied = tmp_path / "mirror" / "checkpoints" / "last"
    assert (copied / "model.safetensors").read_bytes() == content
    assert [path.name for path in sorted(copied.iterdir())] == ["model.safetensors", "state.json"]
    assert max(waits[1:]) <= 1.0
    assert line.now < 2.5 * len(content) / (megabytes_per_s * 1e6) + 2  # and the line is used


def test_a_line_longer_than_any_chunk_does_not_stop_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.runs.mirror._CHUNK", 100)
    remote = tmp_path / "box" / "r"
    remote.mkdir(parents=True)
    lines = [json.dumps({"seq": n, "t": 1.0, "type": "metric", "text": "x" * 50 * n}) for n in range(9)]
    (remote / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    mirror = Mirror(
        LocalTransport(tmp_path / "box", python="python", marker={}), "r", RunDirectory(tmp_path / "mirror")
    )
    while mirror.pull():
        pass
    assert (tmp_path / "mirror" / "events.jsonl").read_bytes() == (remote / "events.jsonl").read_bytes()


def pull(mirror: Mirror) -> bool:
    """Until it has got through; whether more is waiting."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            return mirror.pull()
        except UnreachableError:
            continue
    raise AssertionError("never got through")


class Together:
    """A transport that answers only when all who may ask at once have asked."""

    def __init__(self, transport: LocalTransport, together: threading.Barrier) -> None:
        self._transport = transport
        self._together = together

    def pieces(self, *arguments: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            self._together.wait(0.3)
        return self._transport.pieces(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def test_two_that_copy_one_run_at_once_double_no_event(tmp_path: Path) -> None:
    write_run(tmp_path / "box" / "run")
    together = threading.Barrier(2)
    local = RunDirectory(tmp_path / "mirror" / "attempt-1")
    box = Together(LocalTransport(tmp_path / "box", python="python", marker={}), together)
    mirrors = [Mirror(box, "run", local) for _ in range(2)]
    threads = [threading.Thread(target=mirror.pull) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert local.events_path.read_bytes() == (tmp_path / "box/run/events.jsonl").read_bytes()
    assert local.log_path.read_bytes() == (tmp_path / "box/run/run.log").read_bytes()
