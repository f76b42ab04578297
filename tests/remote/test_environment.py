"""Which machine a run computes on, and that only one process executes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from remote import environment
from ups.errors import ConfigError, UsageError


def test_the_cpu_can_be_asked_for_without_importing_torch() -> None:
    code = "import sys; from remote import environment; print(environment.device(), 'torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, environment.DEVICE_VARIABLE: "cpu"},
    )  # fmt: skip
    assert answer.stdout.split() == ["cpu", "False"]


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv(environment.DEVICE_VARIABLE, "cuda:1")
    with pytest.raises(ConfigError, match="UPS_REMOTE_DEVICE is cuda:1") as caught:
        environment.device()
    assert "UPS_REMOTE_DEVICE=cpu" in caught.value.hint


def test_the_description_names_no_host_and_no_path() -> None:
    described = environment.describe("cpu", 2)
    assert described["threads"] == 2
    text = json.dumps(described)
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_a_run_directory_has_one_process_at_a_time(tmp_path: Path) -> None:
    again = environment.sole_process(tmp_path)
    with environment.sole_process(tmp_path), pytest.raises(UsageError, match="another process"):
        again.__enter__()
    with environment.sole_process(tmp_path):
        pass


def test_the_pid_file_is_what_the_console_compares(tmp_path: Path) -> None:
    environment.record_process(tmp_path)
    recorded = json.loads((tmp_path / "run.pid").read_text())
    assert set(recorded) == {"pid", "start_time", "boot_id"}
    assert recorded["start_time"] == psutil.Process().create_time()
