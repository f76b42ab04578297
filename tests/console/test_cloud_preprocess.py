"""Published files become datasets in the bucket on a rented machine, which is gone afterwards."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.fleet import processes
from console.home import Home
from tests.laptop import Laptop
from tests.simulators.cloud import Cloud, end_guard
from tests.simulators.files import FileServer, md5
from tests.ups.data import raws

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]

WHAT = ("preprocess", "--tasks", "darcy2d", "--num-workers", "1")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud") as cloud:
        yield cloud


@pytest.fixture
def renter(tmp_path: Path, cloud: Cloud) -> Iterator[Laptop]:
    """A laptop with accounts and an empty bucket, which knows one published file."""
    laptop = Laptop(tmp_path, tmp_path / "nothing")
    laptop.environment.pop("UPS_STORE")
    laptop.environment |= cloud.environment
    row = f"darcy2d,{raws.DARCY.name},13,{md5(raws.DARCY.read_bytes())}"
    (tmp_path / "table.csv").write_text(f"task,file,id,md5\n{row}\n")
    yield laptop
    end_guard(Home(laptop.home))


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "table.csv")


def test_a_rented_box_converts_caches_and_is_gone(
    renter: Laptop, cloud: Cloud, table: str, tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    shutil.copy(raws.DARCY, folder)
    rented = ("--provider", "vast", "--auto-stop", "--budget", "5")
    caches = ("--cache-dim", "64", "--cache-tokens", "64")
    asked = (*WHAT, "--table", table, "--from", str(folder), *caches, *rented, "--note", "first")
    text, errors = renter.start(*asked).communicate(timeout=240)
    assert f"check {raws.DARCY.name}  ━" in errors
    assert "✓ preprocess darcy2d: added 1 of 1 files" in text
    assert text.splitlines()[-1].startswith("darcy2d: verified, ")
    assert cloud.alive() == []

    (dataset,) = [row for row in renter.json("datasets") if row["state"] == "verified"]
    assert dataset["task"] == "darcy2d"
    assert {row["split"] for row in renter.json("caches")} == {"train", "val", "test"}
    (run,) = renter.json("runs")
    assert (run["status"], run["config"], run["note"]) == ("succeeded", "preprocess", "first")
    (instance,) = [row for row in renter.json("fleet") if row["kind"] == "ours"]
    assert instance["state"] == "destroyed"
    assert processes.marked("UPS_INSTANCE", instance["label"]) == []


def test_what_failed_on_one_box_goes_on_on_another(renter: Laptop, cloud: Cloud, table: str) -> None:
    right = raws.DARCY.read_bytes()
    with FileServer({"13": right[:-1] + bytes([right[-1] ^ 1])}) as server:
        child = renter.start(*WHAT, "--table", table, "--from", server.url, "--provider", "vultr", "--json")
        said, errors = child.communicate(timeout=240)
        assert child.returncode == 7, errors
        assert "has the MD5" in json.loads(errors.splitlines()[-1])["error"]["message"]
        assert cloud.alive() == []
        run = json.loads(said.splitlines()[0])["run"]
        server.files["13"] = right
        *events, answer = [json.loads(line) for line in renter.run("resume", run, "--json").splitlines()]
    assert [event["status"] for event in events if event["type"] == "done"] == ["failed", "succeeded"]
    assert [row["state"] for row in answer["datasets"]] == ["verified"]
    assert cloud.alive() == []
    (row,) = renter.json("runs")
    assert (row["status"], row["attempts"]) == ("succeeded", 2)


def test_files_of_a_server_are_counted_before_paying(renter: Laptop, cloud: Cloud, table: str) -> None:
    with FileServer({"13": raws.DARCY}) as server:
        rented = ("--table", table, "--from", server.url, "--provider", "vast", "--dry-run")
        told = renter.json(*WHAT, *rented)
        assert any("0.4 MB are downloaded" in check["text"] for check in told["checks"])
        (spec,) = [step["text"] for step in told["steps"] if step["title"] == "run.yaml"]
        assert md5(raws.DARCY.read_bytes()) in spec
        error = _refused(renter, *rented, "--disk", "8", exit_code=6)
        assert "a disk of 12 GB" in error["message"]
        assert error["hint"].startswith("--disk 12")
        del server.files["13"]
        assert raws.DARCY.name in _refused(renter, *rented, exit_code=4)["message"]
    assert cloud.alive() == []


def test_a_store_that_no_box_can_reach_is_refused(renter: Laptop, table: str, tmp_path: Path) -> None:
    renter.environment["UPS_STORE"] = f"dir:{tmp_path / 'here'}"
    error = _refused(renter, "--table", table, "--provider", "vast", exit_code=6)
    assert "a rented box cannot write to dir:" in error["message"]
    assert renter.json("fleet") == []


def test_what_is_asked_wrongly_is_told_before_anything_is_rented(renter: Laptop, table: str) -> None:
    rented = ("--table", table, "--provider", "vast")
    assert "task" in _refused(renter, *rented, "--tasks", "darcy3d", exit_code=4)["message"]
    assert "whole path" in _refused(renter, *rented, "--from", "published", exit_code=2)["message"]
    assert "--work" in _refused(renter, *rented, "--work", "raw", exit_code=2)["message"]
    assert "go together" in _refused(renter, *rented, "--cache-dim", "64", exit_code=2)["message"]
    assert "rented" in _refused(renter, "--table", table, "--dry-run", exit_code=2)["message"]
    assert renter.json("fleet") == []


def _refused(laptop: Laptop, *arguments: str, exit_code: int) -> dict[str, str]:
    child = laptop.start(*WHAT, *arguments, "--json")
    _, errors = child.communicate(timeout=120)
    assert child.returncode == exit_code, errors
    found: dict[str, str] = json.loads(errors.splitlines()[-1])["error"]
    return found
