"""A variable comes from the environment, else from the file that `ENV_FILE` names, else from `.env`."""

from pathlib import Path

import pytest

from ups.errors import ConfigError, NotFoundError
from ups.variables import Variables, heed_file


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_rules_over_the_file_and_each_says_where_it_is_from() -> None:
    Path(".env").write_text("DISK_GB=100\nGPU_PREF=A100\n")
    found = Variables.gather({"DISK_GB": "200"})
    assert (found["DISK_GB"], found.origin("DISK_GB")) == ("200", "environment")
    assert (found["GPU_PREF"], found.origin("GPU_PREF")) == ("A100", ".env, line 2")
    assert dict(found) == {"DISK_GB": "200", "GPU_PREF": "A100"}
    assert len(found) == 2
    assert found.text("IMAGE") == ""


def test_an_empty_variable_unsets_what_the_file_says() -> None:
    Path(".env").write_text("WANDB_API_KEY=sEcReT\n")
    assert Variables.gather({"WANDB_API_KEY": ""}).text("WANDB_API_KEY") == ""


def test_env_file_is_read_instead_of_the_one_here() -> None:
    Path(".env").write_text("GPU_PREF=A100\n")
    Path("other").write_text("DISK_GB=1\n")
    found = Variables.gather({"ENV_FILE": "other"})
    assert "GPU_PREF" not in found
    assert found.origin("DISK_GB") == "other, line 1"


def test_a_file_that_is_named_has_to_be_there_and_the_usual_one_has_not() -> None:
    assert dict(Variables.gather({})) == {}
    with pytest.raises(NotFoundError, match="ENV_FILE: there is no file nowhere"):
        Variables.gather({"ENV_FILE": "nowhere"})
    Path(".env").mkdir()  # somebody's virtual environment
    assert dict(Variables.gather({})) == {}


def test_values_are_in_no_repr() -> None:
    Path(".env").write_text("B2_APP_KEY=sEcReT\n")
    assert "sEcReT" not in repr(Variables.gather({"WANDB_API_KEY": "sEcReT"}))


@pytest.mark.parametrize(
    ("said", "meant"),
    [("1", True), ("Yes", True), (" on ", True), ("0", False), ("false", False), ("", None)],
)
def test_what_a_switch_says(said: str, meant: bool | None) -> None:
    assert Variables.gather({"RESET_CACHE": said}).flag("RESET_CACHE") is meant
    assert Variables.gather({}).flag("RESET_CACHE") is None


def test_a_switch_that_says_neither_is_an_error_with_its_place() -> None:
    Path(".env").write_text("\nRESET_CACHE=perhaps\n")
    with pytest.raises(ConfigError, match=r"RESET_CACHE \(\.env, line 2\) must be 1 or 0, not 'perhaps'"):
        Variables.gather({}).flag("RESET_CACHE")


def test_a_process_takes_over_what_it_knows_and_lacks() -> None:
    Path(".env").write_text(
        "B2_KEY_ID=k\nWANDB_MODE=offline\nPATH=/evil\nLD_PRELOAD=/evil.so\nRESET_CACHE=1\n"
    )
    environment = {"WANDB_MODE": "online"}
    heed_file(environment)
    assert environment == {"WANDB_MODE": "online", "B2_KEY_ID": "k", "RESET_CACHE": "1"}
