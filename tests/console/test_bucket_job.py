"""The main job with a bucket as the store: the laptop, the box and B2 share nothing but keys and HTTP."""

import json
from pathlib import Path

import pytest

from tests.laptop import Laptop, is_checkpoint_of
from tests.simulators.b2 import REGION, B2Server, Key
from ups.store import ObjectStore, Upload, open_store

PREFIX = "team/physics"


@pytest.fixture
def key(b2_server: B2Server) -> Key:
    """A key that sees one prefix of a bucket."""
    return b2_server.new_key(b2_server.new_bucket(), prefix=f"{PREFIX}/")


@pytest.fixture
def environment(b2_server: B2Server, key: Key) -> dict[str, str]:
    return {
        "B2_KEY_ID": key.key_id,
        "B2_APP_KEY": key.secret,
        "B2_BUCKET": key.bucket,
        "B2_PREFIX": PREFIX,
        "B2_S3_ENDPOINT": b2_server.url,
        "B2_S3_REGION": REGION,
    }


@pytest.fixture
def bucket(environment: dict[str, str], key: Key) -> ObjectStore:
    return open_store(f"s3://{key.bucket}/{PREFIX}", environment)


@pytest.fixture
def office(
    laptop: Laptop, laptop_store: Path, bucket: ObjectStore, environment: dict[str, str], tmp_path: Path
) -> Laptop:
    """A laptop whose store is the bucket, filled with two datasets."""
    files = [path for path in laptop_store.rglob("*") if path.is_file()]
    bucket.upload_all([Upload(path, path.relative_to(laptop_store).as_posix()) for path in files])
    del laptop.environment["UPS_STORE"]
    laptop.environment |= {**environment, "UPS_SCRATCH": str(tmp_path / "scratch")}
    return laptop


def test_a_run_takes_its_data_from_the_bucket_and_leaves_its_results_there(
    office: Laptop, bucket: ObjectStore, key: Key
) -> None:
    rows = {row["task"]: row for row in office.json("datasets")}
    assert {task for task, row in rows.items() if row["state"] == "verified"} == {"advection1d", "darcy2d"}

    lines = [json.loads(line) for line in office.run("launch", str(office.config), "--json").splitlines()]
    run, last = lines[0]["run"], [line for line in lines if "seq" in line][-1]
    assert (last["type"], last["status"]) == ("done", "succeeded")
    assert office.json("report", run)["splits"]["test"]["tasks"]["darcy2d"]["one_step"] > 0

    where = f"runs/{run}/attempt-1/"
    published = {info.key.removeprefix(where) for info in bucket.list(where)}
    assert {"run.yaml", "events.jsonl", "run.log", "report.json"} <= published
    assert any(name.startswith("checkpoints/") for name in published)
    mirror = office.home / "runs" / run / "attempt-1"
    assert bucket.read_bytes(f"{where}events.jsonl") == (mirror / "events.jsonl").read_bytes()

    told = [path.read_bytes() for path in office.home.rglob("*") if path.is_file()]
    assert not any(key.secret.encode() in content for content in told), "a key was written down"


def test_a_cache_is_built_in_the_bucket_and_the_next_run_trains_from_it(
    office: Laptop, bucket: ObjectStore
) -> None:
    office.json("caches", "build", "upt_64d_64tok", "darcy2d", "--dtype", "float32")
    told = office.run("launch", str(office.config), "--precompute", "--cache-dtype", "float32", "--dry-run")
    assert "darcy2d: cache upt_64d_64tok is there" in told
    assert "advection1d: cache upt_64d_64tok is built before the training" in told
    told = office.run("launch", str(office.config), "--precompute", "--dry-run")
    assert "darcy2d: cache upt_64d_64tok is built before the training: dtype float32" in told
    (cached,) = {(row["version"], row["task"]) for row in office.json("caches")}
    assert cached == ("upt_64d_64tok", "darcy2d")
    asked = ("--cache-version", "upt_64d_64tok", "--cache-dtype", "float32")
    run = json.loads(office.run("launch", str(office.config), *asked, "--json").splitlines()[0])["run"]
    assert [row["status"] for row in office.json("runs")] == ["succeeded"]
    assert "upt_64d_64tok" in office.run("logs", run) + office.run("events", run)
    assert {row["task"] for row in office.json("caches")} == {"advection1d", "darcy2d"}


def test_tearing_down_in_mid_run_leaves_its_checkpoint_in_the_bucket(
    office: Laptop, bucket: ObjectStore
) -> None:
    run = office.launch("--set", "stages.operator.epochs=400")
    office.wait_for(run, is_checkpoint_of(1))
    office.run("destroy", "--all", "--yes")
    assert office.processes() == []
    where = f"runs/{run}/attempt-1/"
    assert any(info.key.startswith(f"{where}checkpoints/") for info in bucket.list(where))
    last = json.loads(bucket.read_bytes(f"{where}events.jsonl").splitlines()[-1])
    assert last["status"] == "stopped"


def test_a_wrong_key_is_refused_before_anything_is_launched(office: Laptop) -> None:
    office.environment["B2_APP_KEY"] = "K004wrong"
    child = office.start("launch", str(office.config), "--json")
    _, errors = child.communicate(timeout=120)
    error = json.loads(errors.splitlines()[-1])["error"]
    assert child.returncode in (5, 6)
    assert "B2_APP_KEY" in error["message"] + error["hint"]
    assert "K004wrong" not in errors
    assert office.json("fleet") == []


def test_a_launch_does_not_ask_for_a_cache_and_for_none(laptop: Laptop) -> None:
    laptop.run(
        "launch", str(laptop.config), "--no-precompute", "--cache-version", "upt_64d_64tok", exit_code=2
    )
