"""A run that converts published files: told in its events, gone on with after a kill, published."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remote.__main__ import main
from tests.patience import PATIENCE_S
from tests.remote.conftest import start, wait_for
from tests.simulators.files import FileServer, md5
from tests.ups.data import raws
from ups import catalog
from ups.data.preprocessing import preprocess_job
from ups.events import Event, EventReader
from ups.rundir import RunDirectory, RunSpec, no_training, render_spec
from ups.store import file_sha256
from ups.stores.directory import DirectoryStore

FILES = {"11": raws.ADVECTION, "12": raws.ADVECTION_FAST, "13": raws.DARCY}
TASKS = {"11": "advection1d", "12": "advection1d", "13": "darcy2d"}
ASKED = {"cache_dim": 64, "cache_tokens": 64, "splits": ("train", "test"), "num_workers": 1}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(FILES) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{TASKS[name]},{path.name},{name},{md5(path.read_bytes())}" for name, path in FILES.items()]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["task,file,id,md5", *rows]) + "\n")
    return path


MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path, server: FileServer, store: DirectoryStore, table: Path) -> MakeRun:
    def make(**changes: Any) -> RunDirectory:
        tasks = ("advection1d", "darcy2d")
        job = preprocess_job(tasks, base=server.url, table=table, **{**ASKED, **changes})
        spec = RunSpec(
            run="p1", name="preprocess", created=0.0, config=no_training(tasks), tasks=tasks, stages=(),
            seed=0, store=store.url, datasets={}, code_version="0", config_sha256="0", preprocess=job,
        )  # fmt: skip
        directory = RunDirectory(tmp_path / "box" / "p1")
        directory.root.mkdir(parents=True)
        directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
        return directory

    return make


def drive(run: RunDirectory) -> "subprocess.Popen[str]":
    return start("-m", "remote", "run", str(run.root), log=run.log_path)


def finish(run: RunDirectory, code: int = 0) -> None:
    assert drive(run).wait(timeout=120) == code, run.log_path.read_text()


def events_of(run: RunDirectory) -> list[Event]:
    return EventReader(run.events_path).read()


def contents(store: DirectoryStore) -> dict[str, str]:
    """Key → sha256 of every dataset and cache; what vouches for them holds times."""
    found = (info.key for top in ("pdebench/", "latent") for info in store.list(top))
    paths = {key: store.local_path(key) for key in found if not key.endswith(".json")}
    return {key: file_sha256(path) for key, path in paths.items() if path is not None}


@pytest.fixture
def expected(
    tmp_path: Path, server: FileServer, table: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """What the same request makes in one go, without a run."""
    other = DirectoryStore(tmp_path / "other")
    arguments = [
        "preprocess", "--tasks", "advection1d,darcy2d", "--store", other.url, "--table", str(table),
        "--from", server.url, "--work", str(tmp_path / "work"), "--num-workers", "1", "--cache-dim", "64",
        "--cache-tokens", "64", "--splits", "train,test",
    ]  # fmt: skip
    assert main(arguments) == 0
    capsys.readouterr()
    found = contents(other)
    assert sum(key.endswith(".h5") for key in found) == 6
    assert len(found) > 6
    return found


def test_it_tells_what_it_does_and_publishes_itself(
    make_run: MakeRun, store: DirectoryStore, expected: dict[str, str]
) -> None:
    run = make_run()
    finish(run)
    events = events_of(run)
    assert [event.seq for event in events] == list(range(len(events)))
    assert (events[0].type, events[0].fields["phases"]) == ("run", ["preprocess", "publish"])
    assert events[0].fields["stages"] == []
    phases = [(e.fields["phase"], e.fields["state"]) for e in events if e.type == "phase"]
    assert phases == [
        (phase, state) for phase in ("preprocess", "publish") for state in ("started", "finished")
    ]
    told = {e.fields["task"] for e in events if e.type == "progress" and e.fields["phase"] == "preprocess"}
    assert {f"check {path.name}" for path in FILES.values()} <= told
    where = {e.fields["path"]: e.fields["sha256"] for e in events if e.type == "published"}
    entry = catalog.dataset(store, "darcy2d")
    assert where[catalog.dataset_key("darcy2d", "test")] == entry.splits["test"].sha256
    assert events[-1].fields["status"] == "succeeded"
    first, second = events[-1].fields["summary"]["datasets"]
    assert (first["task"], len(first["added"]), second["task"]) == ("advection1d", 2, "darcy2d")
    assert contents(store) == expected
    assert store.read_bytes("runs/p1/attempt-1/events.jsonl") == run.events_path.read_bytes()
    assert not (run.root / "raw").exists()
    again = len(events)
    finish(run)
    assert len(events_of(run)) == again


def test_killed_anywhere_it_goes_on_and_makes_the_same_bytes(
    make_run: MakeRun, server: FileServer, store: DirectoryStore, expected: dict[str, str]
) -> None:
    run = make_run()
    server.bytes_per_second = raws.ADVECTION.stat().st_size / 2
    before = server.served
    process = drive(run)
    wait_for(lambda: server.served - before > raws.ADVECTION.stat().st_size / 2)
    _kill(process)
    server.bytes_per_second = None
    process = drive(run)
    wait_for(lambda: store.find(catalog.manifest_key("advection1d")) is not None)
    _kill(process)
    finish(run)
    events = events_of(run)
    assert [event.type for event in events].count("run") == 1
    assert events[-1].fields["status"] == "succeeded"
    assert contents(store) == expected
    total = sum(path.stat().st_size for path in FILES.values())
    assert server.served - before < 1.5 * total


def test_asked_to_stop_it_stops_and_leaves_nothing_half_done(
    make_run: MakeRun, server: FileServer, store: DirectoryStore
) -> None:
    run = make_run()
    server.bytes_per_second = raws.ADVECTION.stat().st_size / 20
    process = drive(run)
    wait_for(lambda: server.served > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_S) == 0
    assert events_of(run)[-1].fields["status"] == "stopped"
    assert contents(store) == {}


def test_a_file_that_is_not_there_fails_the_run_with_its_name(make_run: MakeRun, server: FileServer) -> None:
    run = make_run()
    del server.files["12"]
    finish(run, 4)
    (error,) = [event.fields for event in events_of(run) if event.type == "error"]
    assert raws.ADVECTION_FAST.name in error["message"]
    assert events_of(run)[-1].fields["status"] == "failed"


def _kill(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE_S)
