"""A box is looked at before anything is sent there."""

import os
import sys
import time
from pathlib import Path

import pytest

from console.errors import UnfitError
from console.runs.inspection import gpus_rented, inspect, require_driver
from console.runs.requirements import TORCH_CUDA, cuda_of
from console.runs.transport import LocalTransport, Transport
from tests import nvidia_smi


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of the box's PATH."""
    monkeypatch.setenv("PATH", os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"])))
    return tmp_path / "bin"


@pytest.fixture
def box(tmp_path: Path) -> Transport:
    (tmp_path / "box").mkdir()
    return LocalTransport(tmp_path / "box", python=sys.executable, marker={"UPS_INSTANCE": "ups-test"})


def test_a_good_box_is_told_by_its_gpus(box: Transport, programs: Path) -> None:
    nvidia_smi.good(programs, 2)
    found = inspect(box, rented_gpus=2)
    assert (found.count, found.driver) == (2, "570.86.10")
    require_driver(found, TORCH_CUDA)


def test_a_dead_gpu_of_two_is_named(box: Transport, programs: Path) -> None:
    nvidia_smi.good(programs, 2, dead=1)
    with pytest.raises(
        UnfitError, match=r"GPU 1 \(NVIDIA GeForce RTX 4090\): GPU is lost; 1 of 2 answer"
    ) as told:
        inspect(box, rented_gpus=2)
    assert "another machine" in told.value.hint
    assert told.value.exit_code == 5


def test_a_box_without_the_gpu_that_was_rented(box: Transport, programs: Path) -> None:
    nvidia_smi.install(programs, listing="No devices were found\n", query="No devices were found\n", code=6)
    with pytest.raises(UnfitError, match="1 GPU is wanted, and the machine has none: No devices were found"):
        inspect(box, rented_gpus=1)


def test_fewer_gpus_than_were_rented(box: Transport, programs: Path) -> None:
    nvidia_smi.good(programs, 1)
    with pytest.raises(UnfitError, match="2 GPUs are wanted, and the machine has 1"):
        inspect(box, rented_gpus=2)


def test_without_a_gpu_to_look_for_nothing_is_asked(box: Transport, programs: Path) -> None:
    nvidia_smi.good(programs, 1, dead=0)
    assert inspect(box, rented_gpus=0).count == 0


def test_a_driver_too_old_for_the_torch_that_would_be_used(box: Transport, programs: Path) -> None:
    nvidia_smi.good(programs, 1, driver="470.57.02")
    found = inspect(box, rented_gpus=1)
    with pytest.raises(
        UnfitError, match=r"driver 470\.57\.02 is too old for torch's CUDA 12\.8, which needs 525"
    ):
        require_driver(found, cuda_of("2.9.1+cu128"))
    require_driver(found, cuda_of("2.9.1"))  # not known: the box itself looks again


@pytest.mark.parametrize(("off", "told"), [(-1200, "20 min ahead"), (9000, "2 h behind")])
def test_a_wrong_clock_is_told(box: Transport, off: float, told: str) -> None:
    with pytest.raises(UnfitError, match=f"the box's clock is {told}"):
        inspect(box, rented_gpus=0, clock=lambda: time.time() + off)


@pytest.mark.parametrize("off", [-200, 0, 200])
def test_a_clock_that_is_nearly_right_is(box: Transport, off: float) -> None:
    inspect(box, rented_gpus=0, clock=lambda: time.time() + off)


@pytest.mark.parametrize(("what", "count"), [("RTX 4090 ×2", 2), ("H100 SXM ×8", 8), ("4 cores", 0), ("", 0)])
def test_the_ledger_knows_how_many_gpus_were_rented(what: str, count: int) -> None:
    assert gpus_rented(what) == count
