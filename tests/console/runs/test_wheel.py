"""The runtime's wheel: the same files are the same bytes, and nothing of the console is in it."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import configs
import remote
import ups
from console.runs import wheel
from ups.errors import ConfigError, StoreError

_BUILD = """
import sys
from pathlib import Path
from console.runs import wheel
assert "remote" not in sys.modules
print(wheel.build(Path(sys.argv[1])).sha256)
assert "remote" not in sys.modules and "torch" not in sys.modules
"""


def test_is_named_by_its_hash_and_written_once(tmp_path: Path) -> None:
    built = wheel.build(tmp_path)
    assert hashlib.sha256(built.path.read_bytes()).hexdigest() == built.sha256
    assert built.sha256 in built.name
    before = built.path.stat().st_mtime_ns
    assert wheel.build(tmp_path) == built
    assert built.path.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [built.name]


def test_one_that_is_damaged_is_written_anew(tmp_path: Path) -> None:
    built = wheel.build(tmp_path)
    built.path.write_bytes(b"half")
    assert wheel.kept(tmp_path, built.sha256) is None
    assert wheel.build(tmp_path) == built
    assert wheel.kept(tmp_path, built.sha256) == built


def test_a_checkout_and_site_packages_give_the_same_bytes(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    for package in (ups, remote, configs, __import__("console")):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, site / source.name)  # with other times, and what Python has compiled
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(tmp_path / "out")], cwd=tmp_path, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True,
    )  # fmt: skip
    assert done.stdout.strip() == wheel.build(tmp_path / "here").sha256, done.stderr


def test_holds_the_runtime_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.build(tmp_path).path) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert {name.partition("/")[0] for name in names} == {
        "ups", "remote", "configs", f"ups_console-{metadata.version('ups-console')}.dist-info",
    }  # fmt: skip
    assert {"ups/py.typed", "ups/data/published.csv", "configs/local_2task.yaml", "remote/watchdog.py"} <= {
        *names
    }
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        wheel.build(tmp_path / "file" / "wheels")


def test_an_installation_without_the_runtime_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no_such_package is not installed"):
        wheel.module_source("no_such_package", "x")
