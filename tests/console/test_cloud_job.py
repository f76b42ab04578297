"""The main job on rented machines: a provider's API, real sshds and a bucket on loopback."""

import json
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from console.fleet import processes
from console.home import Home
from tests.laptop import Laptop
from tests.simulators.cloud import Cloud, end_guard

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud") as cloud:
        yield cloud


@pytest.fixture
def renter(tmp_path: Path, laptop_store: Path, cloud: Cloud) -> Iterator[Laptop]:
    """A laptop with accounts, whose bucket has the data."""
    laptop = Laptop(tmp_path, laptop_store)
    laptop.environment.pop("UPS_STORE")
    laptop.environment |= cloud.environment
    _fill(laptop, laptop_store)
    yield laptop
    end_guard(Home(laptop.home))


def _fill(laptop: Laptop, source: Path) -> None:
    """Copy the datasets of a directory store into the laptop's bucket."""
    from ups.store import open_store

    bucket = open_store(_store_url(laptop), laptop.environment)
    origin = open_store(f"dir:{source}")
    found = sorted(origin.list("pdebench/"), key=lambda info: info.key.endswith("manifest.json"))
    for info in found:
        path = origin.local_path(info.key)
        assert path is not None
        bucket.upload(path, info.key)


def _store_url(laptop: Laptop) -> str:
    return f"s3://{laptop.environment['B2_BUCKET']}"


class Witness:
    """Looks at every process's arguments while something runs."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets
        self._end = threading.Event()
        self.found: set[str] = set()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            for pid in psutil.pids():
                try:
                    words = " ".join(psutil.Process(pid).cmdline())
                except psutil.Error:
                    continue
                self.found |= {words for secret in self._secrets if secret in words}

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def _secrets(cloud: Cloud, laptop: Laptop) -> list[str]:
    instances = [row.key for row in [*cloud.vast.world.instances.values(), *cloud.vast.world.gone.values()]]
    account = [laptop.environment[name] for name in ("VAST_API_KEY", "VULTR_API_KEY", "B2_APP_KEY")]
    return [*account, *instances]


@pytest.mark.parametrize(("provider", "more"), [("vast", ()), ("vultr", ("--no-smoke",))])
def test_a_rented_box_trains_publishes_and_is_gone(
    provider: str, more: tuple[str, ...], renter: Laptop, cloud: Cloud
) -> None:
    with Witness(_secrets(cloud, renter)) as witness:
        lines = renter.run(
            "launch", str(renter.config), "--provider", provider, "--budget", "5", *more, "--json"
        )
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["status"] for event in events if event["type"] == "done"] == ["succeeded"]
    tried = [event["state"] for event in events if event["type"] == "phase" and event["phase"] == "smoke"]
    assert tried == ([] if more else ["started", "finished"])
    assert cloud.alive() == []

    (run,) = renter.json("runs")
    assert run["status"] == "succeeded"
    assert set(run["one_step"]) == {"advection1d", "darcy2d"}
    (row,) = [row for row in renter.json("fleet") if row["kind"] == "ours"]
    assert row["state"] == "destroyed"
    assert row["provider"] == provider
    _assert_published(renter, run["run"])
    _assert_no_secret_leaked(cloud, renter, witness)
    assert processes.marked("UPS_INSTANCE", row["label"]) == []


def test_two_rented_boxes_train_one_model_and_both_are_gone(renter: Laptop, cloud: Cloud) -> None:
    lines = renter.run(
        "launch", str(renter.config), "--provider", "vultr", "--instances", "2", "--budget", "5",
        "--no-smoke", "--json",
    )  # fmt: skip
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["status"] for event in events if event["type"] == "done"] == ["succeeded"]
    assert [event["world_size"] for event in events if event["type"] == "run"] == [2]
    assert cloud.alive() == []
    rows = [row for row in renter.json("fleet") if row["kind"] == "ours"]
    assert [row["state"] for row in rows] == ["destroyed", "destroyed"]
    (run,) = renter.json("runs")
    _assert_published(renter, run["run"])
    for row in rows:
        assert processes.marked("UPS_INSTANCE", row["label"]) == []


def _assert_published(laptop: Laptop, run: str) -> None:
    from ups.store import open_store

    bucket = open_store(_store_url(laptop), laptop.environment)
    names = {info.key.removeprefix(f"runs/{run}/attempt-1/") for info in bucket.list(f"runs/{run}/")}
    assert {"run.yaml", "events.jsonl", "run.log", "report.json"} <= names
    assert any(name.startswith("checkpoints/") for name in names)


def _assert_no_secret_leaked(cloud: Cloud, laptop: Laptop, witness: Witness) -> None:
    secrets = _secrets(cloud, laptop)
    assert witness.found == set()
    for request in cloud.vast.requests:
        assert not any(secret in f"{request.path} {request.body}" for secret in secrets)
    for top in (laptop.home, cloud.boxes.workdir(), cloud.boxes.workdir().parent):
        for path in top.rglob("*"):
            if path.is_file() and not path.is_symlink() and "site-packages" not in path.parts:
                content = path.read_bytes()
                if any(secret.encode() in content for secret in secrets):
                    assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
                    assert path.suffix not in {".log", ".jsonl", ".db"}, path
    with sqlite3.connect(laptop.home / "ledger.db") as ledger:
        dump = "\n".join(ledger.iterdump())
    assert not any(secret in dump for secret in secrets)


def test_machines_whose_gpus_are_dead_are_given_back_at_once(renter: Laptop, cloud: Cloud) -> None:
    del renter.environment["UPS_REMOTE_DEVICE"]
    renter.run("launch", str(renter.config), "--provider", "vast", "--detach", exit_code=5)
    assert cloud.alive() == []
    (run,) = renter.json("runs")
    said = renter.run("logs", run["run"])
    assert "that machine will not do: 1 GPU is wanted, and the machine has none" in said
    assert "sending the runtime" not in said
    assert {row["state"] for row in renter.json("fleet")} == {"destroyed"}
