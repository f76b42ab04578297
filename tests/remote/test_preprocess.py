"""Published files become datasets in the store, by whatever way they come, and once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from remote.__main__ import main
from tests.simulators.files import Fault, FileServer, md5
from tests.ups.data import raws
from ups import catalog
from ups.data.fields import Fields
from ups.stores.directory import DirectoryStore

Capture = pytest.CaptureFixture[str]
FILES = {
    "11": ("advection1d", raws.ADVECTION), "12": ("advection1d", raws.ADVECTION_FAST),
    "13": ("darcy2d", raws.DARCY),
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer({name: path for name, (_, path) in FILES.items()}) as opened:
        opened.redirects = True
        monkeypatch.setenv("UPS_DARUS_URL", opened.url)
        yield opened


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{task},{path.name},{name},{md5(path.read_bytes())}" for name, (task, path) in FILES.items()]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["task,file,id,md5", *rows]) + "\n")
    return path


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def arguments(store: DirectoryStore, table: Path, tmp_path: Path) -> list[str]:
    return [
        "preprocess", "--tasks", "advection1d,darcy2d", "--store", store.url, "--table", str(table),
        "--work", str(tmp_path / "work"), "--num-workers", "1", "--json",
    ]  # fmt: skip


def run(arguments: list[str], capsys: Capture, *, code: int = 0) -> list[dict[str, Any]]:
    assert main(arguments) == code
    said = capsys.readouterr()
    if code:
        return [json.loads(said.err)["error"]]
    return [json.loads(line) for line in said.out.splitlines()]


def shas(store: DirectoryStore, task: str = "advection1d") -> dict[str, str]:
    return {split: entry.sha256 for split, entry in catalog.dataset(store, task).splits.items()}


def test_whole_files_become_datasets_and_caches_and_a_second_time_nothing_is_done(
    server: FileServer, store: DirectoryStore, arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    arguments += ["--cache-dim", "64", "--cache-tokens", "64", "--splits", "train,test"]
    *records, done = run(arguments, capsys)
    phases = [(r["phase"], r["state"]) for r in records if r["type"] == "phase"]
    once = [
        (phase, state) for phase in ("fetch", "convert", "precompute") for state in ("started", "finished")
    ]
    assert phases == once * 2
    assert [outcome["added"] for outcome in done["datasets"]] == [
        [raws.ADVECTION.name, raws.ADVECTION_FAST.name], [raws.DARCY.name],
    ]  # fmt: skip
    assert set(done["datasets"][0]["caches"]) == {"train", "test"}
    assert catalog.dataset(store, "darcy2d").state == "verified"
    assert [file for file in (tmp_path / "work").rglob("*") if file.is_file()] == []
    served, before = server.served, shas(store)
    *records, done = run(arguments, capsys)
    assert {r.get("state") for r in records} == {"skipped"}
    assert [outcome["added"] for outcome in done["datasets"]] == [[], []]
    assert (server.served, shas(store)) == (served, before)


def test_a_task_that_cannot_be_cached_says_why_and_stops_nothing(
    server: FileServer, store: DirectoryStore, arguments: list[str], capsys: Capture
) -> None:
    *records, done = run([*arguments, "--cache-dim", "8", "--cache-tokens", "64"], capsys)
    [warning] = [record for record in records if record["type"] == "warning"]
    assert warning["message"].startswith("darcy2d is not cached: a patch of darcy2d has")
    assert [bool(outcome["caches"]) for outcome in done["datasets"]] == [True, False]
    assert catalog.dataset(store, "darcy2d").state == "verified"


def test_parts_are_read_in_place_and_are_the_same_as_of_downloaded_files(
    server: FileServer, store: DirectoryStore, arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    arguments += ["--samples", "4", "--resolution", "64", "--stride", "2"]
    run(arguments, capsys)
    assert not (tmp_path / "work").exists()
    with h5py.File(raws.ADVECTION) as file:
        wanted = file["tensor"][:4, ::2, ::4]
    path = store.local_path(catalog.dataset_key("advection1d", "train"))
    assert path is not None
    fields = Fields.open(path)
    assert fields.states is not None
    rows = fields.source == 0
    assert np.array_equal(fields.states[rows][..., 0], wanted[fields.sample[rows]])
    (first, _) = catalog.dataset(store, "advection1d").provenance
    assert first["selection"] == {"samples": 4, "resolution": 64, "stride": 2}
    assert first["md5"] == md5(raws.ADVECTION.read_bytes())
    partial = shas(store)
    whole = DirectoryStore(tmp_path / "other")
    run([*arguments, "--store", whole.url, "--whole"], capsys)
    assert shas(whole) == partial


def test_more_files_are_added_and_other_parts_are_not_mixed(
    server: FileServer, store: DirectoryStore, arguments: list[str], capsys: Capture
) -> None:
    arguments += ["--tasks", "advection1d", "--samples", "5"]
    run([*arguments, "--limit", "1"], capsys)
    before = server.served
    (*_, done) = run(arguments, capsys)
    assert done["datasets"][0]["added"] == [raws.ADVECTION_FAST.name]
    assert server.served - before < raws.ADVECTION_FAST.stat().st_size
    (error,) = run([*arguments, "--samples", "6"], capsys, code=3)
    assert error["message"] == "the store's dataset of advection1d holds samples 5 of the files"
    assert error["hint"] == "--replace drops it"
    run([*arguments, "--samples", "6", "--replace"], capsys)
    assert {source["samples"] for source in catalog.dataset(store, "advection1d").provenance} == {6}
    before = server.served
    run([*arguments, "--samples", "6", "--replace"], capsys)
    assert server.served == before


def test_a_directory_of_published_files_is_read_where_it_is(
    store: DirectoryStore, arguments: list[str], capsys: Capture
) -> None:
    *records, _ = run([*arguments, "--from", str(raws.AUTHENTIC)], capsys)
    told = {r["task"] for r in records if r["type"] == "progress" and r["unit"] == "bytes"}
    checked = {text for text in told if not text.startswith("transfer ")}
    assert checked == {f"check {path.name}" for _, path in FILES.values()}
    assert raws.ADVECTION.exists()
    assert catalog.dataset(store, "advection1d").state == "verified"


def test_a_dataset_of_other_origin_is_not_added_to(
    server: FileServer, store: DirectoryStore, arguments: list[str], capsys: Capture
) -> None:
    assert main(["make", "advection1d", "--samples", "4", "--store", store.url, "--jobs", "1"]) == 0
    capsys.readouterr()
    (error,) = run(arguments, capsys, code=3)
    assert "was not made of published files" in error["message"]
    assert server.served == 0


@pytest.mark.parametrize("what", ["wrong MD5", "not there", "away"])
def test_what_a_server_does_wrong_leaves_the_store_as_it_was(
    what: str, server: FileServer, store: DirectoryStore, arguments: list[str], capsys: Capture
) -> None:
    arguments += ["--tasks", "advection1d"]
    if what == "wrong MD5":
        content = raws.ADVECTION_FAST.read_bytes()
        server.files["12"] = content[:-1] + bytes([content[-1] ^ 1])
        (error,) = run(arguments, capsys, code=6)
        assert raws.ADVECTION_FAST.name in error["message"]
        assert "has the MD5" in error["message"]
    elif what == "not there":
        del server.files["12"]
        (error,) = run(arguments, capsys, code=4)
    else:
        server.faults.extend([Fault(403)])
        (error,) = run(arguments, capsys, code=6)
        assert error["code"] == "download"
    assert raws.content_of(store) == {}


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--tasks", "advektion1d"], 4, "there is no task"),
        (["--tasks", "darcy2d_mesh"], 4, "no published files of darcy2d_mesh"),
        (["--from", "/nowhere"], 4, "there is no directory /nowhere"),
        (["--table", "/nowhere"], 4, "there is no table /nowhere"),
        (["--cache-dim", "8"], 2, "go together"),
        (["--splits", "train"], 2, "no cache is asked for"),
        (["--resolution", "100", "--samples", "4"], 3, "which 100 does not divide"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    more: list[str], code: int, says: str, server: FileServer, arguments: list[str], capsys: Capture
) -> None:
    (error,) = run([*arguments, *more], capsys, code=code)
    assert says in error["message"]
    assert server.served < raws.ADVECTION.stat().st_size / 10
