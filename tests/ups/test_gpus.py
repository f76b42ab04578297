"""What is made of nvidia-smi's words."""

import pytest

from ups.gpus import driver_fault, fault_of, read, visible

LISTED = """\
GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-0b2f0a2e-0000-0000-0000-000000000000)
GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-1b2f0a2e-0000-0000-0000-000000000000)
"""
ROWS = """\
0, NVIDIA GeForce RTX 4090, 570.86.10
1, NVIDIA GeForce RTX 4090, 570.86.10
"""


def test_two_good_gpus_will_do() -> None:
    found = read(LISTED, ROWS)
    assert (found.count, found.dead, found.driver) == (2, (), "570.86.10")
    assert fault_of(found, wanted=2, cuda="12.8") is None
    assert fault_of(found, wanted=0) is None


@pytest.mark.parametrize(
    ("listing", "query"),
    [
        (LISTED, ROWS.replace("1, NVIDIA GeForce RTX 4090, 570.86.10", "1, [GPU is lost], [GPU is lost]")),
        (LISTED, ROWS.replace("1, NVIDIA GeForce RTX 4090, 570", "1, [Unknown Error], 570")),
        (LISTED, ROWS.splitlines()[0]),
    ],
)
def test_one_dead_gpu_of_two_is_named(listing: str, query: str) -> None:
    fault = fault_of(read(listing, query), wanted=2)
    assert fault is not None
    assert fault.message.startswith("GPU 1 (NVIDIA GeForce RTX 4090): ")
    assert fault.message.endswith("; 1 of 2 answer")
    assert fault_of(read(listing, query), wanted=1) == fault  # not silently on the other


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Unable to determine the device handle for gpu 0000:41:00.0: GPU is lost.  Reboot the system to"
         " recover this GPU", "GPU 0000:41:00.0: GPU is lost"),
        ("Unable to determine the device handle for GPU1: 0000:41:00.0: Unknown Error",
         "GPU 1 at 0000:41:00.0: Unknown Error"),
        ("Unable to determine the device handle for GPU0000:41:00.0: Unknown Error",
         "GPU 0000:41:00.0: Unknown Error"),
    ],
)  # fmt: skip
def test_a_gpu_without_a_handle_is_named_by_its_place(line: str, told: str) -> None:
    listing = LISTED.splitlines()[0] + "\n" + line + "\n"
    fault = fault_of(read(listing, line + "\n"), wanted=2)
    assert fault is not None
    assert told in fault.message


@pytest.mark.parametrize(
    ("listing", "query", "why"),
    [
        ("", "", "nvidia-smi finds none"),
        ("No devices were found\n", "No devices were found\n", "No devices were found"),
        ("sh: 1: nvidia-smi: not found\n", "sh: 1: nvidia-smi: not found\n", "not found"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
         "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "couldn't comm"),
    ],
)  # fmt: skip
def test_no_gpu_says_what_was_said(listing: str, query: str, why: str) -> None:
    fault = fault_of(read(listing, query), wanted=1)
    assert fault is not None
    assert fault.message.startswith("1 GPU is wanted, and the machine has none: ")
    assert why in fault.message
    assert fault_of(read(listing, query), wanted=0) is None


def test_fewer_than_wanted_names_both_numbers() -> None:
    fault = fault_of(read(LISTED, ROWS), wanted=4)
    assert fault is not None
    assert fault.message.startswith("4 GPUs are wanted, and the machine has 2: NVIDIA")


@pytest.mark.parametrize(
    ("driver", "cuda", "least"),
    [
        ("470.57.02", "12.8", "525.60.13"),
        ("570.86.10", "13.0", "580.65.06"),
        ("525.60.12", "12.4", "525.60.13"),
    ],
)
def test_a_driver_that_is_too_old_is_told_with_both_versions(driver: str, cuda: str, least: str) -> None:
    fault = driver_fault(driver, cuda)
    assert fault is not None
    assert f"the driver {driver} is too old for torch's CUDA {cuda}, which needs {least}" in fault.message
    assert "newer driver" in fault.hint


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [
        ("525.60.13", "12.8"),
        ("580.65.06", "13.0"),
        ("600", "13.0"),
        (None, "12.8"),
        ("470.1", None),
        ("1", "99.1"),
    ],
)
def test_what_will_do_or_is_unknown_is_no_fault(driver: str | None, cuda: str | None) -> None:
    assert driver_fault(driver, cuda) is None


@pytest.mark.parametrize(
    ("variable", "left"), [(None, 4), ("0,2", 2), ("", 0), ("-1", 0), ("0,1,2,3,4,5", 4), ("GPU-0b2f", 1)]
)
def test_chosen_gpus_are_counted(variable: str | None, left: int) -> None:
    assert visible(variable, 4) == left
