"""Opening the console costs no training library: what is imported is watched in fresh interpreters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = {"torch", "scipy", "einops", "safetensors", "remote"}
"""What no part of the console may import; it runs in a process of its own."""

TORCH_FREE = [
    "ups.tasks",
    "ups.config",
    "ups.config_patch",
    "ups.evaluation.gates",
    "ups.plan",
    "ups.events",
    "ups.store",
    "ups.stores.directory",
    "ups.catalog",
    "ups.cache_catalog",
    "ups.fetching",
    "ups.garbage",
    "ups.listing",
    "ups.reading",
    "ups.rundir",
    "ups.data.raw",
]
"""The modules of the learning library that the console reads."""

LATE = {"numpy", "h5py", "pydantic", "yaml", "textual"}
"""What a command that does not need it must not wait for."""

_REPORT = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def imported_by(code: str, cwd: Path) -> set[str]:
    """Top-level names in `sys.modules` after the code has run in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_REPORT}"], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["console.cli.app", "console.operations", "console.tui.app"])
def test_the_console_imports_no_training_library(module: str, tmp_path: Path) -> None:
    assert not imported_by(f"import {module}", tmp_path) & TRAINING


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_the_console_reads_of_the_library_is_torch_free(module: str, tmp_path: Path) -> None:
    assert not imported_by(f"import {module}", tmp_path) & TRAINING


def test_a_command_runs_without_a_training_library(tmp_path: Path) -> None:
    code = """\
import sys
from console.cli.app import main
sys.argv = ["ups-console", "tasks", "--json"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""

    assert not imported_by(code, tmp_path) & TRAINING


def test_the_command_line_is_imported_without_what_only_some_commands_need(tmp_path: Path) -> None:
    assert not imported_by("import console.cli.app", tmp_path) & LATE


def test_the_first_screen_is_imported_without_what_only_data_need(tmp_path: Path) -> None:
    assert not imported_by("import console.tui.app", tmp_path) & {"h5py", "pydantic"}


def test_listing_a_store_waits_for_nothing_that_only_data_need(tmp_path: Path) -> None:
    assert not imported_by("import ups.cache_catalog, ups.garbage, ups.stores.directory", tmp_path) & LATE
