"""A setting comes from the flag, else the environment, else `.env`, else the config, and is said to."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from console.cli import app
from tests.laptop import CONFIG
from ups.data.convert import make
from ups.store import open_store

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"dir:{tmp_path_factory.mktemp('variables')}"
    store = open_store(url)
    for task in ("advection1d", "darcy2d"):
        make(store, task, samples=3)
    return url


@pytest.fixture(autouse=True)
def _desk(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UPS_STORE", data)
    Path("tiny.yaml").write_text(CONFIG)
    Path("configs").symlink_to(CONFIGS)


def ups(*arguments: str, capsys: pytest.CaptureFixture[str], exit_code: int = 0) -> Any:
    """The JSON that a command answers with, or of its error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ups-console", *arguments, "--json"])
        with pytest.raises(SystemExit) as left:
            app.main()
    said = capsys.readouterr()
    assert left.value.code == exit_code, said
    return json.loads(said.out) if exit_code == 0 else json.loads(said.err.splitlines()[-1])["error"]


def origins(preflight: Any) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["value"], row["origin"]) for row in preflight["given"]}


def spec_of(preflight: Any) -> Any:
    (step,) = [step for step in preflight["steps"] if step["title"] == "run.yaml"]
    return yaml.safe_load(step["text"])


def test_the_flag_then_the_environment_then_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text(
        'export TRAIN_CONFIG=" tiny.yaml, ,"\r\nDISK_GB=100\r\nGPU_PREF=A100\r\nIMAGE=a/b:c # mine\r\n'
        "TRAIN_EXTRA_ARGS='--batch-size 2 --epochs 3 --stage operator'\r\nRESET_CACHE=1\r\n"
        "TORCHINDUCTOR_DISABLE=1\r\n"
    )
    monkeypatch.setenv("GPU_PREF", "H100")
    monkeypatch.setenv("DISK_GB", "200")
    found = ups("launch", "--disk", "300", "--set", "stages.operator.epochs=2", "--dry-run", capsys=capsys)
    assert origins(found) == {
        "CONFIG": ("tiny.yaml", "TRAIN_CONFIG, .env, line 1"),
        "--disk": ("300", "command line"),
        "--gpu": ("H100", "GPU_PREF, environment"),
        "--image": ("a/b:c", "IMAGE, .env, line 4"),
        "--extra-args": ("--batch-size 2 --epochs 3 --stage operator", "TRAIN_EXTRA_ARGS, .env, line 5"),
        "--reset-cache": ("", "RESET_CACHE, .env, line 6"),
        "--set": ("stages.operator.epochs=2", "command line"),
        "TORCHINDUCTOR_DISABLE": ("1", ".env, line 7"),
    }
    spec = spec_of(found)
    assert spec["config"]["training"]["batch_size"] == 2
    assert spec["config"]["stages"]["operator"]["epochs"] == 2
    assert spec["variables"] == {"TORCHINDUCTOR_DISABLE": "1", "RESET_CACHE": "1"}


def test_a_flag_switches_off_what_a_variable_switches_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRECOMPUTE_LATENT", "1")
    monkeypatch.setenv("RESET_CACHE", "1")
    assert spec_of(ups("launch", "tiny.yaml", "--dry-run", capsys=capsys))["precompute"] is True
    off = spec_of(
        ups("launch", "tiny.yaml", "--no-precompute", "--keep-cache", "--dry-run", capsys=capsys)
    )  # fmt: skip
    assert (off["precompute"], off["variables"]) == (False, {})
    monkeypatch.setenv("PRECOMPUTE_LATENT", "0")
    asked = ups("launch", "tiny.yaml", "--cache-version", "upt_64d_64tok", "--dry-run", capsys=capsys)
    assert spec_of(asked)["cache_version"] == "upt_64d_64tok"


def test_each_split_is_judged_by_its_own_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVAL_CONFIG", "configs/eval_pdebench_scale_ttc.yaml")
    monkeypatch.setenv("EVAL_TEST_CONFIG", "configs/eval_pdebench_scale_test_ttc.yaml,")
    judged = spec_of(ups("launch", "tiny.yaml", "--dry-run", capsys=capsys))["evaluations"]
    assert {split: by["ttc"]["enabled"] for split, by in judged.items()} == {"val": True, "test": True}


@pytest.mark.parametrize(
    ("name", "value", "exit_code", "message"),
    [
        ("DISK_GB", "much", 3, "DISK_GB (environment): 'much'"),
        ("RESET_CACHE", "perhaps", 3, "RESET_CACHE (environment) must be 1 or 0"),
        ("PRECOMPUTE_LATENT", "2", 3, "PRECOMPUTE_LATENT (environment) must be 1 or 0"),
        ("TORCHINDUCTOR_DISABLE", "maybe", 3, "TORCHINDUCTOR_DISABLE (environment) must be 1 or 0"),
        ("TRAIN_EXTRA_ARGS", "--bacth 3", 3, "TRAIN_EXTRA_ARGS: unknown: --bacth"),
        ("TRAIN_EXTRA_ARGS", "training.batch_sise=3", 3, "unknown key training.batch_sise"),
        ("EVAL_CONFIG", "nowhere.yaml", 3, "there is no config nowhere.yaml"),
        ("EVAL_TEST_CONFIG", "configs/local_2task.yaml", 3, "local_2task.yaml"),
        ("DATASET_KEY", "heat9d_v1", 3, "DATASET_KEY: 'heat9d_v1' begins with no task"),
        ("FALLBACK_GPU", "H200", 2, "FALLBACK_GPU"),
        ("ENV_FILE", "nowhere", 4, "ENV_FILE: there is no file nowhere"),
    ],
)
def test_a_wrong_value_is_one_clear_error(
    name: str, value: str, exit_code: int, message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    found = ups("launch", "tiny.yaml", "--dry-run", capsys=capsys, exit_code=exit_code)
    assert message in str(found)


def test_a_malformed_file_is_one_error_that_shows_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("B2_KEY_ID=k\nB2_APP_KEY='sEcReT\n")
    error = ups("launch", "tiny.yaml", "--dry-run", capsys=capsys, exit_code=3)
    assert error["message"] == ".env, line 2: a quote is opened and not closed"
    assert "sEcReT" not in str(error)


def test_without_a_config_it_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "TRAIN_CONFIG" in ups("launch", "--dry-run", capsys=capsys, exit_code=2)["message"]


def test_without_bucket_and_key_it_says_what_it_will_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    Path("tiny.yaml").write_text(CONFIG + "logging: {wandb: {enabled: true}}\n")
    texts = [check["text"] for check in ups("launch", "tiny.yaml", "--dry-run", capsys=capsys)["checks"]]
    assert f"store {data} (UPS_STORE, environment)" in texts
    assert "no W&B key: metrics stay offline and are synced later" in texts
    monkeypatch.delenv("UPS_STORE")
    monkeypatch.setenv("B2_KEY_ID", "k")
    Path("tiny.yaml").write_text(CONFIG)
    error = ups("launch", "tiny.yaml", "--dry-run", capsys=capsys, exit_code=4)
    assert "the store holds no dataset" in error["message"]
