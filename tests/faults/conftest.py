"""A laptop and a cloud for each case."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rented import Rented, renting
from tests.laptop import COMMAND


@pytest.fixture(scope="session")
def one_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with reference data of one task."""
    root = tmp_path_factory.mktemp("store")
    environment = {**os.environ, "UPS_HOME": str(root / "home"), "UPS_STORE": f"dir:{root / 'store'}"}
    command = [COMMAND, "data", "make", "advection1d", "--samples", "10"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    return root / "store"


@pytest.fixture(scope="session")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the two tasks of the baseline."""
    from ups.data.convert import make
    from ups.stores.directory import DirectoryStore

    store = DirectoryStore(tmp_path_factory.mktemp("two-tasks"))
    for task in ("advection1d", "darcy2d"):
        make(store, task, samples=10)
    return store.root


@pytest.fixture
def laptop(tmp_path: Path, one_task: Path) -> Iterator[Rented]:
    with renting(tmp_path, one_task) as laptop:
        yield laptop


@pytest.fixture
def small_disk(laptop: Rented) -> Iterator[Rented]:
    """Its boxes share a disk of 2 MB."""
    folder = laptop.cloud.boxes.workdir()
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield laptop
    laptop.close()
    subprocess.run(["umount", "-l", str(folder)], check=True)
