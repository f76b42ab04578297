"""The commands over what is in the store: tables, totals, exit codes, and what they ask before deleting."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import OpenStore, b2_settings
from tests.console.cli.test_cli import COMMAND, error_of, ups
from tests.simulators.b2 import REGION, B2Server
from tests.ups.stored import VERSION, print_of, put, put_cache, put_dataset
from ups.stores.directory import DirectoryStore

A, B = print_of(1), print_of(2)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """Where the command finds it: in the home."""
    store = DirectoryStore(tmp_path / "ups-home" / "store")
    put_cache(store, {A: put_dataset(store)["train"]}, unnamed=[B], days_ago=2)
    put(store, "holiday/beach.jpg", b"12345")
    return store


def answer(*arguments: str, exit_code: int = 0) -> Any:
    done = ups(*arguments, "--json")
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def ups_typing(word: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert COMMAND
    return subprocess.run(
        [COMMAND, *arguments], input=word, capture_output=True, text=True, env=os.environ, timeout=120,
        check=False,
    )  # fmt: skip


def test_datasets_and_caches_say_resolution_and_age_and_the_total(store: DirectoryStore) -> None:
    (row,) = [row for row in answer("datasets") if row["task"] == "advection1d"]
    assert (row["state"], row["resolution"], row["usd_per_month"]) == ("verified", [32], None)
    assert row["bytes"] == sum(split["bytes"] for split in row["splits"].values())
    (cache,) = answer("caches")
    assert (cache["state"], cache["fingerprint"], cache["dtype"]) == ("verified", A, "float16")
    text = ups("datasets").stdout
    assert "5 B of it not ours (1 object)" in text
    assert "$" not in text
    text = ups("caches").stdout
    assert f"{VERSION}: saves a run" in text
    assert "$" not in text


def test_a_bucket_says_what_it_costs(b2_server: B2Server, open_bucket: OpenStore) -> None:
    key = b2_server.new_key(b2_server.new_bucket(), prefix="pre/fix/")
    store = open_bucket(b2_settings(b2_server, key))
    put_cache(store, {A: put_dataset(store)["train"]})
    environment = {
        "UPS_STORE": store.url, "B2_S3_ENDPOINT": b2_server.url, "B2_S3_REGION": REGION,
        "B2_KEY_ID": key.key_id, "B2_APP_KEY": key.secret,
    }  # fmt: skip
    done = ups("caches", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "$/month" in done.stdout
    assert f"{VERSION}: saves a run under 1 s and <$0.01, took <$0.01 to make" in done.stdout
    usage = json.loads(ups("store", "--json", environment=environment).stdout)
    assert usage["usd_per_month"] == pytest.approx(usage["bytes"] * 6e-12)
    assert usage["free_egress_bytes"] == 3 * usage["bytes"]
    assert key.secret not in done.stdout + done.stderr


def test_the_store_is_summed_up(store: DirectoryStore) -> None:
    usage = answer("store")
    assert usage["areas"]["other"] == {"objects": 1, "bytes": 5}
    assert usage["bytes"] == sum(info.bytes for info in store.list())


def test_what_is_fetched_is_verified_and_kept(store: DirectoryStore, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    done = answer("data", "fetch", "advection1d", "--to", str(folder))
    assert (len(done["fetched"]), len(list(folder.iterdir()))) == (3, 3)
    assert len(answer("data", "fetch", "advection1d", "--to", str(folder))["kept"]) == 3
    (folder / "advection1d_val.h5").write_text("mine")
    refused = ups("data", "fetch", "advection1d", "--to", str(folder), "--json")
    assert (refused.returncode, error_of(refused)["code"]) == (2, "usage")
    answer("caches", "fetch", VERSION, "--to", str(folder))
    assert (folder / VERSION / "advection1d_train" / "manifest.json").is_file()


def test_verifying_what_is_damaged_fails_and_still_answers(store: DirectoryStore) -> None:
    assert answer("data", "verify") == {"advection1d": "verified"}
    path = store.root / "pdebench/full/advection1d/advection1d_val.h5"
    path.write_bytes(path.read_bytes()[::-1])
    assert answer("data", "verify", "advection1d", exit_code=6) == {"advection1d": "damaged"}
    shard = store.root / f"pdebench/latent_caches/{VERSION}/advection1d_train/{A}/shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[::-1])
    (verdict,) = answer("caches", "verify", VERSION, exit_code=6)
    assert verdict["state"] == "damaged"


def test_deleting_asks_for_the_name(store: DirectoryStore) -> None:
    done = ups_typing("yes\n", "data", "delete", "advection1d")
    assert (done.returncode, "nothing was deleted" in done.stderr) == (2, True)
    assert "this deletes the dataset advection1d, 2.2 kB, from dir:" in done.stderr
    assert ups_typing("", "data", "delete", "advection1d").returncode == 130
    done = ups_typing(f"{VERSION}\n", "caches", "delete", VERSION)
    assert done.returncode == 0, done.stderr
    assert answer("caches") == []
    assert ups_typing("advection1d\n", "data", "delete", "advection1d").returncode == 0
    assert {info.key for info in store.list()} == {"holiday/beach.jpg"}


def test_garbage_is_listed_and_goes_only_with_yes(store: DirectoryStore) -> None:
    before = {info.key for info in store.list()}
    found = answer("data", "gc")
    assert ({Path(row["key"]).parent.name for row in found["garbage"]}, found["deleted"]) == ({B}, False)
    text = ups("data", "gc").stdout
    assert f"{B[:12]}…" in text
    assert "nothing is deleted without --yes" in text
    assert {info.key for info in store.list()} == before
    assert answer("data", "gc", "--older-than", "100")["garbage"] == []
    assert answer("data", "gc", "--yes")["deleted"] is True
    assert {info.key for info in store.list()} == {key for key in before if B not in key}
    assert ups("data", "gc").stdout == "nothing\n"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["data", "fetch", "darcy2d"], 4, "no dataset of darcy2d"),
        (["data", "fetch", "darcy3d"], 4, "darcy3d"),
        (["data", "fetch"], 2, "TASKS"),
        (["data", "verify", "darcy2d"], 4, "no dataset of darcy2d"),
        (["caches", "fetch", "none"], 4, "no cache none"),
        (["caches", "verify", "none"], 4, "no cache none"),
        (["caches", "delete", "none", "--yes"], 4, "no cache none"),
        (["caches", "delete", VERSION, "darcy2d", "--yes"], 4, "nothing of darcy2d"),
        (["data", "gc", "--older-than", "-1"], 2, "older-than"),
    ],
)
def test_what_is_not_there_is_one_error(
    store: DirectoryStore, arguments: list[str], exit_code: int, says: str
) -> None:
    done = ups(*arguments, "--json")
    assert done.returncode == exit_code
    assert says in error_of(done)["message"]


def test_terms_of_storage_that_are_none_name_the_key(tmp_path: Path) -> None:
    home = tmp_path / "ups-home"
    home.mkdir()
    (home / "config.toml").write_text("[storage]\nusd_per_tb_month = 'six'\n")
    done = ups("datasets", "--json")
    assert done.returncode == 3
    assert "storage.usd_per_tb_month" in error_of(done)["message"]
