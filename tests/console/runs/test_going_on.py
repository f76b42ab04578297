"""What a run that is resumed takes over from the attempts before it."""

from pathlib import Path

import pytest

from console.api import RunStatus
from console.home import Home
from console.operations import Operations
from console.runs.launch import _still_asked
from console.runs.local_site import LocalSite
from console.runs.registry import RunHandle
from tests.console.recorded import record
from ups.errors import UsageError
from ups.events import EventType, EventWriter, PhaseState

ASKED = {"RESET_CACHE": "1", "DATASET_KEY": "darcy2d_v1"}


def test_caches_are_not_built_anew_twice(tmp_path: Path) -> None:
    directory = record(Home(tmp_path), "r1", "local_2task", 0.1)
    handle = RunHandle("r1", tmp_path / "runs" / "r1")
    spec = directory.read_spec().model_copy(update={"variables": ASKED})
    assert _still_asked(spec, handle) == ASKED
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.PHASE, phase="precompute", state=PhaseState.STARTED)
    assert _still_asked(spec, handle) == ASKED
    with EventWriter(directory.events_path) as writer:
        writer.write(EventType.PHASE, phase="precompute", state=PhaseState.FINISHED)
    assert _still_asked(spec, handle) == {"DATASET_KEY": "darcy2d_v1"}


def test_on_this_machine_changed_code_is_said(tmp_path: Path) -> None:
    operations = Operations(Home(tmp_path))
    site = operations.site("local")
    assert isinstance(site, LocalSite)
    said: list[str] = []
    now = site.runtime(tmp_path, None, renew=True, say=said.append)
    assert site.runtime(tmp_path, now, renew=False, say=said.append) == now
    assert said == []
    assert site.runtime(tmp_path, "ab" * 32, renew=False, say=said.append) == now
    assert "has changed since the run began" in said[0]


def test_a_dry_run_says_how_it_would_go_on(tmp_path: Path) -> None:
    operations = Operations(Home(tmp_path))
    record(operations.home, "done", "local_2task", 0.1)
    with pytest.raises(UsageError, match="has succeeded"):
        operations.resumption("done")
    lost = record(operations.home, "lost", "local_2task", 0.1)
    lost.events_path.write_text(lost.events_path.read_text().splitlines()[0] + "\n")
    assert operations.status(operations.registry.find("lost")) is RunStatus.LOST
    assert operations.resumption("lost") == {"run": "lost", "attempt": 2, "provider": "local"}
    assert operations.registry.find("lost").latest.root.name == "attempt-1"
