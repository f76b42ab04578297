"""A run that is resumed goes on with the code that it began with, whatever is installed meanwhile."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.faults.rented import Rented
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]

SOURCES = Path(__file__).parents[2]
LONG = 2000


def install(laptop: Rented, folder: Path) -> None:
    """Have the laptop run a copy of this checkout, which the test may change."""
    for package in ("configs", "console", "remote", "ups"):
        shutil.copytree(SOURCES / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    laptop.environment["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def shipped(laptop: Rented) -> str:
    """The wheel that the one box has, by the name that holds its hash."""
    (path,) = (laptop.on_box(laptop.only()) / "wheels").glob("*.whl")
    return path.name


def recorded(laptop: Rented, run: str, attempt: int) -> str:
    path = laptop.home / "runs" / run / f"attempt-{attempt}" / "run.yaml"
    return str(yaml.safe_load(path.read_text())["runtime"])


def test_a_resumed_run_has_its_own_wheel_and_a_lost_one_is_said(laptop: Rented, tmp_path: Path) -> None:
    install(laptop, tmp_path / "installed")
    run = json.loads(laptop.run(*laptop.launching(LONG), "--detach", "--json"))["run"]
    first = shipped(laptop)
    assert recorded(laptop, run, 1) in first
    laptop.run("destroy", "--all", "--yes")

    with (tmp_path / "installed" / "remote" / "pipeline.py").open("a") as code:
        code.write("\nCHANGED = True\n")
    shutil.rmtree(laptop.home / "cache")
    laptop.run("resume", run, "--detach")
    assert shipped(laptop) == first
    assert recorded(laptop, run, 2) == recorded(laptop, run, 1)
    laptop.run("destroy", "--all", "--yes")

    (laptop.home / "runs" / run / first).unlink()
    shutil.rmtree(laptop.home / "cache")
    creates = len(laptop.vast.sent("create"))
    child = laptop.start("resume", run, "--detach", "--json")
    _, said = child.communicate(timeout=PATIENCE_S)
    error = json.loads(said.splitlines()[-1])["error"]
    assert (child.returncode, error["code"]) == (4, "not_found")
    assert "is lost" in error["message"]
    assert "--new-wheel" in error["hint"]
    assert len(laptop.vast.sent("create")) == creates

    laptop.run("resume", run, "--new-wheel", "--detach")
    assert shipped(laptop) != first
    assert recorded(laptop, run, 3) in shipped(laptop)
    laptop.run("destroy", "--all", "--yes")
    laptop.assert_sound()
