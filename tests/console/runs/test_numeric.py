"""Tests of `console.runs.numeric`."""

import os
import subprocess
import sys

import pytest

_THREADS = """
import os, sys
from pathlib import Path
from console.runs.numeric import load_numpy
load_numpy()
assert "numpy" in sys.modules
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted as Linux tells them")
@pytest.mark.parametrize("asked", [None, "1"])
def test_loading_numpy_starts_no_thread_and_leaves_the_environment_as_it_was(asked: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if asked is not None:
        environment["OPENBLAS_NUM_THREADS"] = asked
    told = subprocess.run(
        [sys.executable, "-c", _THREADS], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["1", str(asked)]
