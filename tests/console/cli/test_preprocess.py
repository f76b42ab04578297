"""`ups-console preprocess` as a user and a script meet it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.simulators.files import FileServer, md5
from tests.ups.data import raws

COMMAND = shutil.which("ups-console", path=str(Path(sys.executable).parent)) or "ups-console"


def _heed_interrupts() -> None:
    """A shell starts background jobs deaf to Ctrl-C, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    with FileServer({"13": raws.DARCY}) as opened:
        monkeypatch.setenv("UPS_DARUS_URL", opened.url)
        table = f"task,file,id,md5\ndarcy2d,{raws.DARCY.name},13,{md5(raws.DARCY.read_bytes())}\n"
        (tmp_path / "table.csv").write_text(table)
        yield opened


def start(tmp_path: Path, *more: str) -> "subprocess.Popen[str]":
    table = str(tmp_path / "table.csv")
    return subprocess.Popen(
        [COMMAND, "preprocess", "--tasks", "darcy2d", "--table", table, "--json", *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=_heed_interrupts,
    )  # fmt: skip


def test_published_files_become_a_dataset_and_ctrl_c_costs_little(server: FileServer, tmp_path: Path) -> None:
    size = raws.DARCY.stat().st_size
    server.bytes_per_second = size / 4
    interrupted = start(tmp_path)
    until = time.monotonic() + PATIENCE_S
    while server.served < size / 2:
        assert interrupted.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    interrupted.send_signal(signal.SIGINT)
    said, errors = interrupted.communicate(timeout=PATIENCE_S)
    assert interrupted.returncode == 130, errors
    assert said == ""
    server.bytes_per_second = None
    before = server.served
    again = start(tmp_path)
    said, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    (row,) = json.loads(said)
    assert (row["task"], row["state"], row["splits"]["test"]["samples"]) == ("darcy2d", "verified", 1)
    assert server.served - before < 0.7 * size
    assert f"check {raws.DARCY.name}  ━" in errors
    assert "398.0 kB/398.0 kB" in errors


@pytest.mark.parametrize(
    ("more", "exit_code", "code"),
    [
        (["--tasks", "darcy3d"], 4, "not_found"),
        (["--tasks", "allen_cahn2d"], 4, "not_found"),
        (["--provider", "vast"], 5, "provider"),
        (["--detach"], 2, "usage"),
        (["--samples", "0"], 2, "usage"),
        (["--splits", "train"], 2, "usage"),
        (["--resolution", "100"], 3, "data"),
        (["--table", "nowhere.csv"], 4, "not_found"),
        (["--from", "http://127.0.0.1:9/"], 6, "download"),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    more: list[str], exit_code: int, code: str, server: FileServer, tmp_path: Path
) -> None:
    process = start(tmp_path, *more)
    _, errors = process.communicate(timeout=120)
    error = json.loads(errors.splitlines()[-1])["error"]
    assert (process.returncode, error["code"]) == (exit_code, code)
    assert set(error) == {"code", "message", "hint"}
    assert "Traceback" not in errors
