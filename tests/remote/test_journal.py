"""A run says what happens to it: to programs, to people, and also when the disk is full or all is silent."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from remote.failures import explain
from remote.journal import Journal
from remote.telemetry import Telemetry
from tests.remote.conftest import wait_for
from ups.errors import ConfigError, StoreError
from ups.events import EventReader, EventType


def kinds(path: Path) -> list[str]:
    return [event.type for event in EventReader(path).read()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


class TestLinesForPeople:
    def test_an_epoch_is_one_line_with_each_task_beside_persistence(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        where = {"stage": "operator", "epoch": 3, "step": 60}
        with Journal(path) as journal:
            for task, loss in (("advection1d", 0.5), ("darcy2d", None)):
                journal.write(EventType.METRIC, **where, task=task, split="train", values={"loss": loss})
            for task in ("advection1d", "darcy2d"):
                values = {"nrmse": 0.25, "persistence": 0.4}
                journal.write(EventType.METRIC, **where, task=task, split="val", values=values)
            journal.write(EventType.METRIC, **where, task=None, split="val", values={"nrmse": 0.25})
        [line] = capsys.readouterr().out.splitlines()
        assert line[4] == line[7] == "-"  # begins with the date
        assert line.endswith(
            "operator epoch 3 step 60  advection1d loss 0.5 val 0.25 (copying 0.4)"
            "  ·  darcy2d loss – val 0.25 (copying 0.4)"
        )

    def test_machine_figures_and_heartbeats_are_no_lines(
        self, path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with Journal(path) as journal:
            journal.write(EventType.HEARTBEAT)
            journal.write(EventType.SYSTEM, cpu=1.0)
            journal.progress("hydrate", "advection1d", 1, 2, "bytes")
        assert capsys.readouterr().out == ""
        assert len(kinds(path)) == 3

    def test_warnings_come_with_their_hint(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Journal(path) as journal:
            journal.warn("plateau", "no progress", "lower the rate")
        assert capsys.readouterr().out.endswith("warning: no progress (hint: lower the rate)\n")

    def test_any_event_can_be_told(self, path: Path) -> None:
        with Journal(path) as journal:
            for kind in EventType:  # fields of another version: none of those that are known
                journal.write(kind)


class TestProgress:
    def test_is_written_seldom_but_to_its_end(self, path: Path) -> None:
        with Journal(path) as journal:
            for done in range(1, 1001):
                journal.progress("hydrate", "advection1d", done, 1000, "bytes")
            journal.progress("hydrate", "advection1d", 1000, 1000, "bytes")
        told = [event.fields["done"] for event in EventReader(path).read()]
        assert told == [1, 1000]


class TestAFullDisk:
    def test_is_a_store_error_that_names_the_file_and_leaves_room_to_say_so(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = Journal(path)
        reserve = path.parent / ".reserve"
        assert reserve.stat().st_size >= 64 * 1024

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        write = os.write
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreError, match=r"no space left .*events\.jsonl"):
            journal.write(EventType.HEARTBEAT)
        monkeypatch.setattr(os, "write", write)
        assert not reserve.exists()
        journal.write(EventType.DONE, status="failed")
        journal.close()
        assert kinds(path) == ["done"]

    def test_the_reserve_goes_with_the_run(self, path: Path) -> None:
        Journal(path).close()
        assert not (path.parent / ".reserve").exists()


class TestTelemetry:
    def test_tells_the_machine_and_beats_only_in_silence(self, path: Path) -> None:
        with Journal(path) as journal:
            with Telemetry(journal, path.parent, every_s=0.05, heartbeat_s=60):
                wait_for(lambda: len(kinds(path)) >= 2)
            written = len(kinds(path))
            time.sleep(0.15)
            assert len(kinds(path)) == written  # nothing more once it is left: `done` is the last event
        [first, *_] = EventReader(path).read()
        assert first.type == "system"
        assert isinstance(first.fields["gpu"], list)
        assert 0 <= first.fields["cpu"] <= 100
        assert 0 < first.fields["ram"] <= 100
        assert first.fields["disk_free"] > 0
        assert "heartbeat" not in kinds(path)

    def test_beats_when_all_is_silent(self, path: Path) -> None:
        with Journal(path) as journal, Telemetry(journal, path.parent, every_s=0.1, heartbeat_s=0.02):
            wait_for(lambda: kinds(path).count("heartbeat") >= 2)

    def test_its_own_failure_ends_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "remote.telemetry.free_bytes", lambda disk: (_ for _ in ()).throw(OSError(5, "gone"))
        )
        with Journal(path) as journal:
            with Telemetry(journal, path.parent, every_s=0.02):
                time.sleep(0.1)
            journal.write(EventType.DONE)


class TestExplaining:
    @pytest.mark.parametrize(
        ("error", "code", "exit_code"),
        [
            (ConfigError("x"), "config", 3),
            (StoreError("x"), "store", 6),
            (MemoryError(), "memory", 7),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory", 7),
            (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "memory", 7),
            (OSError(errno.ENOSPC, "full"), "store", 6),
            (ModuleNotFoundError("no", name="safetensors.torch"), "config", 3),
            (ModuleNotFoundError("no", name="ups.models.nothing"), "internal", 1),
            (RuntimeError("anything"), "internal", 1),
        ],
    )
    def test_an_exception_has_a_code_and_an_exit_code(
        self, error: Exception, code: str, exit_code: int
    ) -> None:
        failure = explain(error, where="/run")
        assert (failure.code, failure.exit_code) == (code, exit_code)

    def test_a_full_disk_without_a_file_name_names_the_run(self) -> None:
        assert explain(OSError(errno.ENOSPC, "full"), where="/run").message == "no space left to write /run"
