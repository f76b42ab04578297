"""Which machine a run computes on, and that only one process executes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from remote import environment
from tests import nvidia_smi
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


def looked_at(folder: Path, **environment: str) -> str:
    """What a process on a machine with that nvidia-smi says of its GPUs: "" where they will do."""
    code = (
        "import os; from remote import machine\n"
        "from ups.errors import UpsError; from ups.ranks import Ranks\n"
        "machine.torch_cuda = lambda: os.environ.get('CUDA') or None\n"
        "try: machine.require_gpus(os.environ.get('UPS_REMOTE_DEVICE', ''), Ranks.from_environment())\n"
        "except UpsError as error: print(error.code, error.exit_code, error.message)"
    )
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**kept, "PATH": path, **environment},
    ).stdout.strip()  # fmt: skip


def test_a_machine_with_good_gpus_will_do(tmp_path: Path) -> None:
    nvidia_smi.good(tmp_path, 2)
    assert looked_at(tmp_path, CUDA="12.8") == ""


def test_one_dead_gpu_of_two_stops_a_run_unless_it_is_left_out_on_purpose(tmp_path: Path) -> None:
    nvidia_smi.good(tmp_path, 2, dead=0)
    assert looked_at(tmp_path).startswith("machine 7 GPU 0 (NVIDIA GeForce RTX 4090): GPU is lost; 1 of 2")
    assert looked_at(tmp_path, CUDA_VISIBLE_DEVICES="1") == ""
    assert looked_at(tmp_path, UPS_REMOTE_DEVICE="cpu") == ""
    assert looked_at(tmp_path, UPS_REMOTE_DEVICE="cuda:1") == ""


def test_a_driver_too_old_for_the_installed_torch(tmp_path: Path) -> None:
    nvidia_smi.good(tmp_path, 1, driver="550.54.14")
    said = looked_at(tmp_path, CUDA="13.0")
    assert "driver 550.54.14 is too old for torch's CUDA 13.0, which needs 580.65.06" in said


def test_more_processes_than_gpus(tmp_path: Path) -> None:
    nvidia_smi.good(tmp_path, 1)
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    assert "2 GPUs are wanted, and the machine has 1" in looked_at(tmp_path, **ranks)


def test_a_gpu_that_is_asked_for_and_not_there(tmp_path: Path) -> None:
    nvidia_smi.install(tmp_path, listing="", query="NVIDIA-SMI has failed\n", code=9)
    said = looked_at(tmp_path, UPS_REMOTE_DEVICE="cuda")
    assert "1 GPU is wanted, and the machine has none: NVIDIA-SMI has failed" in said
