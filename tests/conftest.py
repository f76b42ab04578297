"""What holds for every test: no user's home, no user's keys, no network but loopback, no silent skips."""

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import b2_server as b2_server
from tests.buckets import b2_store as b2_store
from tests.buckets import open_bucket as open_bucket
from tests.buckets import rclone_server as rclone_server
from tests.buckets import rclone_store as rclone_store
from tests.laptop import laptop as laptop
from tests.laptop import laptop_store as laptop_store

REQUIRE_PROGRAMS = "UPS_REQUIRE_PROGRAMS"
"""Set in CI: a test whose program is missing fails there instead of being skipped."""

_SECRETS = ("B2_", "AWS_", "WANDB_", "VAST_", "VULTR_", "UPS_")
_SYSTEM_PATH = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))

# The workers of a parallel run share the cores; each with as many threads as cores is slower than one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Goldens are renewed by the test that compares them."""
    parser.addoption("--update-goldens", action="store_true", help="write the console's screens down anew")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program or package is missing, or fail it where `UPS_REQUIRE_PROGRAMS` is set."""
    programs = [marker.args[0] for marker in item.iter_markers("needs_program")]
    modules = [marker.args[0] for marker in item.iter_markers("needs_module")]
    missing = [
        *(f"program: {name}" for name in programs if not _has_program(name)),
        *(f"package: {name}" for name in modules if importlib.util.find_spec(name) is None),
    ]
    if missing and os.environ.get(REQUIRE_PROGRAMS):
        pytest.fail(f"needs {missing[0]}", pytrace=False)
    if missing:
        pytest.skip(f"needs {missing[0]}")


def _has_program(name: str) -> bool:
    return bool(shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own, and none of the keys or settings of whoever runs the tests."""
    for name in os.environ:
        if name.startswith(_SECRETS) and name != REQUIRE_PROGRAMS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("UPS_HOME", str(tmp_path / "ups-home"))
    monkeypatch.setenv("UPS_SCRATCH", str(tmp_path / "ups-scratch"))


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """Connections leave this machine in no test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in {"localhost", "::1", ""} and not str(host).startswith("127."):
            raise AssertionError(f"a test tried to connect to {host}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """Training sets how the whole process computes; the next test in it starts afresh."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)
