"""What names the store, and how the keys to it travel."""

import json
import os
import sys
from pathlib import Path

import pytest

from console.home import Home
from console.runs import runtime
from console.settings import read_settings
from ups.errors import ConfigError

KEYS = {"B2_KEY_ID": "004key", "B2_APP_KEY": "K004secret", "B2_S3_ENDPOINT": "s3.us-west-004.backblazeb2.com"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "home")


@pytest.mark.parametrize(
    ("variables", "url", "origin"),
    [
        ({}, "dir:{home}/store", "default"),
        ({"B2_BUCKET": "data"}, "s3://data", "B2_BUCKET"),
        ({"B2_BUCKET": "data", "B2_PREFIX": "/a/b/"}, "s3://data/a/b", "B2_BUCKET"),
        ({"B2_BUCKET": "data", "UPS_STORE": "s3://other/x"}, "s3://other/x", "UPS_STORE"),
        ({"B2_BUCKET": "data", "UPS_STORE": "dir:/here"}, "dir:/here", "UPS_STORE"),
        (KEYS, "dir:{home}/store", "default"),
    ],
)
def test_the_store_is_named_by_a_bucket_or_a_url(
    home: Home, variables: dict[str, str], url: str, origin: str
) -> None:
    settings = read_settings(home, environment=variables)
    assert settings.store_url == url.format(home=home.root)
    assert settings.store_origin == origin


def test_a_key_without_a_bucket_is_a_warning(home: Home) -> None:
    (warning,) = read_settings(home, environment=KEYS).warnings
    assert "B2_KEY_ID and B2_APP_KEY" in warning
    assert "B2_BUCKET" in warning
    assert read_settings(home, environment={**KEYS, "B2_BUCKET": "data"}).warnings == ()
    assert read_settings(home, environment={"B2_BUCKET": "data"}).warnings == ()


def test_keys_of_a_dotenv_file_open_the_store_and_are_shown_nowhere(home: Home, tmp_path: Path) -> None:
    lines = [f"export {name}='{value}'\r\n" for name, value in KEYS.items()]
    (tmp_path / ".env").write_text("".join([*lines, "B2_BUCKET=data\n"]))
    settings = read_settings(home, environment={})
    assert settings.store_url == "s3://data"
    assert settings.store_environment == KEYS
    assert "K004secret" not in repr(settings)


def test_keys_reach_the_runtime_by_its_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "remote"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import json, os, sys\nprint(json.dumps({'argv': sys.argv[1:], 'key': os.environ['B2_APP_KEY']}))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    record = runtime.call(["make", "--store", "s3://data"], lambda record: None, environment=KEYS)
    assert record["key"] == "K004secret"
    assert "K004secret" not in json.dumps(record["argv"])
    assert "B2_APP_KEY" not in os.environ


SIMULATED = {"VAST_API_KEY": "key", "VAST_URL": "http://127.0.0.1:8080"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:80/"])
def test_a_simulated_provider_may_be_hurried(home: Home, url: str) -> None:
    assert read_settings(home, environment=SIMULATED).fleet_pace == 1.0
    variables = {**SIMULATED, "VAST_URL": url, "UPS_FLEET_PACE": "0.02"}
    assert read_settings(home, environment=variables).fleet_pace == 0.02


@pytest.mark.parametrize(
    "account",
    [
        {"VAST_URL": ""},
        {"VAST_URL": "https://console.vast.ai"},
        {"VAST_URL": "https://127.0.0.1.example.org"},
        {"VAST_URL": "https://127.0.0.1@example.org"},
        {"VULTR_API_KEY": "real"},
    ],
)
def test_a_real_provider_is_never_hurried(home: Home, account: dict[str, str]) -> None:
    variables = {**SIMULATED, **account}
    with pytest.raises(ConfigError, match="is for simulated providers") as caught:
        read_settings(home, environment={**variables, "UPS_FLEET_PACE": "0.5"})
    assert "unset" in caught.value.hint
    assert read_settings(home, environment={**variables, "UPS_FLEET_PACE": "1"}).fleet_pace == 1.0


@pytest.mark.parametrize("value", ["0", "-1", "2", "nan", "quick"])
def test_a_pace_is_a_factor_that_shortens(home: Home, value: str) -> None:
    with pytest.raises(ConfigError, match="UPS_FLEET_PACE must be"):
        read_settings(home, environment={**SIMULATED, "UPS_FLEET_PACE": value})
