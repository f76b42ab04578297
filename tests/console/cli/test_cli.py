"""The installed command as a user and a script meet it: answers, exit codes, one clear error."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

COMMAND = shutil.which("ups-console", path=str(Path(sys.executable).parent))


def ups(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    assert COMMAND, "the package is not installed"
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        timeout=120,
        check=False,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    error: dict[str, str] = json.loads(done.stderr.splitlines()[-1])["error"]
    assert set(error) == {"code", "message", "hint"}
    return error


def test_tasks_lists_fifteen() -> None:
    done = ups("tasks", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 15


def test_an_empty_home_answers_every_list_with_an_empty_one() -> None:
    for command in ("runs", "fleet", "caches", "reconcile"):
        done = ups(command, "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, []), command


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "says"),
    [
        (["lauch"], 2, "usage", "'launch'"),
        (["launch"], 2, "usage", "CONFIG"),
        (["launch", "nowhere.yaml"], 3, "config", "no config"),
        (["launch", "local_2task", "--set", "training.noice=0"], 3, "config", "training.noice"),
        (["launch", "local_2task", "--tasks", "advektion1d"], 3, "config", "advection1d"),
        (["launch", "local_2task", "--provider", "azure"], 2, "usage", "azure"),
        (["launch", "local_2task"], 4, "not_found", "advection1d"),
        (["show", "0000-none"], 4, "not_found", "0000-none"),
        (["resume", "0000-none"], 4, "not_found", "0000-none"),
        (["destroy", "local-none", "--yes"], 4, "not_found", "local-none"),
        (["destroy"], 2, "usage", "--all"),
        (["data", "make", "darcy3d"], 4, "not_found", "darcy3d"),
        (["data", "import", "darcy2d", "nowhere.hdf5"], 4, "not_found", "nowhere.hdf5"),
        (["data", "import", "particles_advect", "nowhere"], 4, "not_found", "nowhere"),
        (["data", "export", "particles_advect", "out"], 4, "not_found", "no dataset of particles_advect"),
        (["data", "export", "particles_advect", "out", "--format", "zip"], 2, "usage", "lagrangebench"),
        (["data", "delete", "darcy2d", "--yes"], 4, "not_found", "darcy2d"),
    ],
)
def test_bad_input_gets_one_error_and_its_exit_code(
    arguments: list[str], exit_code: int, code: str, says: str, tmp_path: Path
) -> None:
    done = ups(*arguments, "--json")
    error = error_of(done)
    assert (done.returncode, error["code"]) == (exit_code, code)
    assert says in error["message"] + error["hint"]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ups-home" / "runs").exists() or not list(
        (tmp_path / "ups-home" / "runs").iterdir()
    )


def test_a_folder_of_particles_goes_in_and_out_again(tmp_path: Path) -> None:
    raw = Path(__file__).parents[2] / "data" / "lagrangebench" / "2D_TGV_400_60every10"
    done = ups("data", "import", "particles_advect", str(raw), "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert {split: entry["samples"] for split, entry in row["splits"].items()} == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    done = ups("data", "export", "particles_advect", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == {"train": 2, "val": 1, "test": 1}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metadata.json", "test.h5", "train.h5", "valid.h5",
    ]  # fmt: skip


def test_without_json_an_error_is_two_lines_on_stderr() -> None:
    done = ups("show", "0000-none")
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: there is no run '0000-none'",
        "hint:  `ups-console runs` lists them",
    ]


def test_the_console_says_that_it_needs_a_terminal() -> None:
    done = ups()
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_not_be_written(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = ups("launch", "local_2task", "--home", str(locked / "home"), "--json")
    assert (done.returncode, error_of(done)["code"]) == (6, "store")


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ups("runs", "--home", str(tmp_path / "file" / "home"), "--json")
    assert done.returncode in (0, 6)
    done = ups("fleet", "--home", str(tmp_path / "file" / "home"), "--json")
    assert (done.returncode, error_of(done)["code"]) == (6, "store")


def test_a_store_that_is_none() -> None:
    done = ups("datasets", "--json", environment={"UPS_STORE": "ftp://somewhere"})
    assert (done.returncode, error_of(done)["code"]) == (3, "config")


def test_a_broken_config_toml_names_the_file(tmp_path: Path) -> None:
    home = tmp_path / "ups-home"
    home.mkdir()
    (home / "config.toml").write_text("caps = 3")
    done = ups("datasets", "--json")
    assert done.returncode == 3
    assert "config.toml" in error_of(done)["message"]


def test_validate_names_file_line_and_nearest_key(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("data: {task: advection1d}\nstages:\n  operator:\n    epocs: 3\n")
    done = ups("validate", str(config), "--json")
    error = error_of(done)
    assert done.returncode == 3
    assert f"{config}:4" in error["message"]
    assert "epochs" in error["message"] + error["hint"]


def test_a_reader_that_stops_reading_is_no_error() -> None:
    assert COMMAND
    child = subprocess.Popen([COMMAND, "tasks", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    child.wait()
    assert b"Traceback" not in errors
