"""Runs at Weights & Biases, with the real wandb: offline, online, and when all of that goes wrong."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from remote import tracking
from remote.tracker import FINISH_S, run_id
from remote.tracking import Tracking
from tests.patience import PATIENCE_S
from tests.remote.conftest import CONFIG, MakeRun, start, wait_for
from tests.remote.reported import SUMMARY, TASKS, a_run, write_done, write_epochs
from tests.remote.test_pipeline import done_of, drive, drive_on, events_of
from tests.simulators.wandb_files import of_kind, offline_file, records, rows
from tests.simulators.wandb_server import KEY, WandbServer
from ups.config import TrainConfig
from ups.rundir import RunDirectory

pytestmark = pytest.mark.needs_module("wandb")

Warnings = list[tuple[str, str, str]]


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.fixture
def warnings() -> Warnings:
    return []


def track(directory: RunDirectory, warnings: Warnings, **settings: float) -> Tracking:
    def warn(code: str, message: str, hint: str) -> None:
        warnings.append((code, message, hint))

    return Tracking(directory, directory.read_spec(), warn, **settings)


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def trackers(directory: RunDirectory) -> list[psutil.Process]:
    """The processes that report a run, and wandb's own."""
    return [
        process
        for process in psutil.process_iter()
        if any(str(directory.root) in word for word in _argv(process)) and "track" in _argv(process)
    ]


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def services_of(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def history(found: list[Any], name: str) -> list[Any]:
    return [row[name] for row in rows(found) if name in row]


def send(directory: RunDirectory) -> dict[str, Any]:
    """What `track --send` answers, or its error."""
    process = start("-m", "remote", "track", str(directory.root), "--send", "--json")
    said, errors = process.communicate(timeout=PATIENCE_S)
    last: dict[str, Any] = json.loads((said or errors).splitlines()[-1])
    return last


# --- offline --------------------------------------------------------------------------------


def test_without_a_key_everything_is_kept_in_files(tmp_path: Path, warnings: Warnings) -> None:
    directory = a_run(tmp_path / "run", tags=["a", "b"], group="sweep", checkpoints=True)
    write_epochs(directory, 0, 1)
    with track(directory, warnings) as tracking:
        write_epochs(directory, 1, 3)
        tracking.finish(0, SUMMARY)
    assert warnings == []
    found = records(offline_file(directory.root))
    assert history(found, "training/operator/advection1d/loss") == [1 / 10, 1 / 20, 1 / 30]
    assert history(found, "validation/darcy2d/nrmse") == [1 / 10, 1 / 20, 1 / 30]
    assert history(found, "validation/step") == [10, 10, 20, 20, 30, 30]
    assert history(found, "system/gpu0/util") == [90] * 3
    assert history(found, "tasks/names") == [", ".join(TASKS)] * 3
    assert len(history(found, "_step")) == len(set(history(found, "_step"))) == 21
    pictures = history(found, "rollout/advection1d/picture/path")
    assert len(pictures) == 3
    assert all((offline_file(directory.root).parent / "files" / path).is_file() for path in pictures)
    (run,) = of_kind(found, "run")
    assert (run.run_id, run.project) == (run_id(directory.read_spec()), "universal-simulator")
    assert (list(run.tags), run.run_group) == (["a", "b"], "sweep")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["data"]["task"] == list(TASKS)
    assert config["run"]["attempt"] == 1
    (artifact,) = of_kind(found, "artifact")
    assert [entry.path for entry in artifact.manifest.contents] == ["model.safetensors"]
    assert of_kind(found, "exit")[0].exit_code == 0


def test_a_run_that_is_killed_leaves_what_it_has_said(make_run: MakeRun) -> None:
    run = make_run(config=_reporting())
    drive(run, "done-")
    wait_for(lambda: trackers(run) == [], seconds=PATIENCE_S)
    found = records(offline_file(run.root))
    assert history(found, "system/cpu") or of_kind(found, "run")
    assert drive(run) == 0  # it goes on, and is reported under the same id
    ids = {of_kind(records(path), "run")[0].run_id for path in run.root.glob("wandb/offline-*/*.wandb")}
    assert ids == {run_id(run.read_spec())}


def test_killing_what_reports_a_run_costs_the_run_nothing(make_run: MakeRun) -> None:
    run = make_run(config=_reporting())
    process = drive_on(run, "never", "wait")
    wait_for(lambda: any((run.root / "wandb").glob("offline-*/*.wandb")))
    (tracker,) = trackers(run)
    services = services_of(tracker)
    assert services
    tracker.kill()
    wait_for(lambda: any(event.type == "warning" for event in events_of(run)))
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert done_of(run)["status"] == "stopped"
    warning = next(event.fields for event in events_of(run) if event.type == "warning")
    assert "ended by signal 9; it is started again" in warning["message"]
    assert warning["hint"] == "`ups-console wandb-sync r1` sends them later"
    wait_for(lambda: all(map(is_gone, services)))
    assert trackers(run) == []


def test_another_process_tells_the_whole_run_where_the_first_was_killed(
    tmp_path: Path, warnings: Warnings
) -> None:
    directory = a_run(tmp_path / "run")
    write_epochs(directory, 0, 1)
    with track(directory, warnings, restart_s=0.0) as tracking:
        wait_for(lambda: any((directory.root / "wandb").glob("offline-*/*.wandb")))
        trackers(directory)[0].kill()
        wait_for(lambda: bool(warnings))
        write_epochs(directory, 1, 2)
        tracking.finish(0, {})
    assert len(warnings) == 1
    found = records(offline_file(directory.root))
    assert history(found, "training/operator/advection1d/loss") == [1 / 10, 1 / 20]
    assert of_kind(found, "exit")[0].exit_code == 0


def _reporting(**wandb: Any) -> TrainConfig:
    return TrainConfig.model_validate({**CONFIG, "logging": {"wandb": {"enabled": True, **wandb}}})


def test_one_that_hangs_is_left_behind_at_the_end(tmp_path: Path, warnings: Warnings) -> None:
    directory = a_run(tmp_path / "run")
    with track(directory, warnings, finish_s=0.5) as tracking:
        wait_for(lambda: any((directory.root / "wandb").glob("offline-*/*.wandb")))
        (tracker,) = trackers(directory)
        services = services_of(tracker)
        tracker.suspend()
        started = time.monotonic()
        tracking.finish(0, {})
        assert time.monotonic() - started < FINISH_S
    assert [message for _, message, _ in warnings] == [
        "W&B has not taken all metrics within 0.5 s of the end"
    ]
    wait_for(lambda: all(map(is_gone, [tracker, *services])))


@pytest.mark.parametrize(
    ("variables", "enabled"), [({"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY}, True), ({}, False)]
)
def test_switched_off_it_starts_nothing(
    tmp_path: Path,
    warnings: Warnings,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    enabled: bool,
) -> None:
    set_environment(monkeypatch, variables)
    directory = a_run(tmp_path / "run", enabled=enabled)
    with track(directory, warnings) as tracking:
        tracking.finish(0, {})
    assert warnings == []
    assert not (directory.root / "wandb").exists()


# --- online ---------------------------------------------------------------------------------


def test_with_a_key_a_run_is_reported_as_it_goes_on(
    tmp_path: Path, warnings: Warnings, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, server.environment)
    directory = a_run(tmp_path / "run", tags=["a"])
    spec = directory.read_spec()
    with track(directory, warnings) as tracking:
        write_epochs(directory, 0, 2)
        tracking.finish(0, SUMMARY)
    assert warnings == []
    run = server.runs[run_id(spec)]
    assert (run.project, run.tags, run.exit_code) == ("universal-simulator", ["a"], 0)
    assert _losses(run.history) == [1 / 10, 1 / 20]
    assert run.config["stages"]["operator"]["epochs"] == 2

    # another attempt, elsewhere, goes on under the same id; telling the first again adds nothing
    second = a_run(tmp_path / "second", attempt=2, tags=["a"])
    write_epochs(second, 1, 3)
    write_done(second)
    sent = send(second)
    assert (sent["rows"], sent["missing"]) == (14, [])
    send(directory)
    assert list(server.runs) == [run_id(spec)]
    assert _losses(run.history) == [1 / 10, 1 / 20, 1 / 20, 1 / 30]
    assert run.config["run"]["attempt"] in (1, 2)


def _losses(history: list[dict[str, Any]]) -> list[float]:
    name = "training/operator/advection1d/loss"
    return [row[name] for row in history if name in row]


@pytest.mark.parametrize("fault", ["refuse", "stall", "nobody"])
def test_an_outage_ends_in_files(
    tmp_path: Path, warnings: Warnings, server: WandbServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    set_environment(monkeypatch, {**server.environment, "WANDB_INIT_TIMEOUT": "2"})
    if fault == "nobody":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    server.faults.add(fault)
    directory = a_run(tmp_path / "run")
    with track(directory, warnings) as tracking:
        write_epochs(directory, 0, 2)
        tracking.finish(0, {})
    ((code, message, hint),) = warnings
    assert code == "wandb"
    assert "the metrics are kept offline" in message
    assert "`ups-console wandb-sync 1130-abcd` sends them later" in hint
    assert KEY not in str(warnings) + (directory.root / "wandb" / "tracker.log").read_text()
    assert len(history(records(offline_file(directory.root)), "training/operator/advection1d/loss")) == 2

    server.faults.clear()
    if fault != "nobody":
        assert send(directory)["rows"] == 14
        assert _losses(server.runs[run_id(directory.read_spec())].history) == [1 / 10, 1 / 20]


def test_a_stall_while_it_runs_is_left_behind_and_mended_later(
    tmp_path: Path, warnings: Warnings, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, server.environment)
    directory = a_run(tmp_path / "run")
    with track(directory, warnings, finish_s=1.0) as tracking:
        write_epochs(directory, 0, 1)
        name = run_id(directory.read_spec())
        wait_for(lambda: name in server.runs)
        server.faults.add("stall")
        write_epochs(directory, 1, 3)
        tracking.finish(0, {})
    assert [message for _, message, _ in warnings] == ["W&B has not taken all metrics within 1 s of the end"]
    server.faults.clear()
    send(directory)
    assert _losses(server.runs[name].history) == [1 / 10, 1 / 20, 1 / 30]


def test_a_key_that_is_none_is_told_and_the_run_goes_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(config=_reporting())
    assert drive(run, WANDB_API_KEY="short") == 0
    (warning,) = [event.fields for event in events_of(run) if event.type == "warning"]
    assert "WANDB_API_KEY invalid" in warning["message"]
    assert offline_file(run.root).is_file()


def test_sending_needs_a_key_and_an_answer(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = a_run(tmp_path / "run")
    write_epochs(directory, 0, 1)
    assert "there is no WANDB_API_KEY" in send(directory)["error"]["message"]
    set_environment(monkeypatch, server.environment)
    server.faults.add("refuse")
    error = send(directory)["error"]
    assert error["message"].startswith("W&B did not take the run: ")
    assert "user is not logged in" in error["message"]
    assert error["code"] == "config"


def test_no_key_to_anything_else_reaches_it(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, {"B2_APP_KEY": "secret", "CONTAINER_API_KEY": "secret"})
    directory = a_run(tmp_path / "run")
    with track(directory, warnings):
        wait_for(lambda: len(trackers(directory)) == 1)
        environment = trackers(directory)[0].environ()
    assert not {"B2_APP_KEY", "CONTAINER_API_KEY"} & set(environment)
    assert environment["PATH"] == os.environ["PATH"]
    assert trackers(directory) == []


def test_an_interpreter_that_is_missing_is_a_warning(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking.sys, "executable", str(tmp_path / "none"))
    with track(a_run(tmp_path / "run"), warnings) as tracked:
        tracked.finish(0, {})
    assert "nothing is reported to W&B: No such file" in warnings[0][1]
