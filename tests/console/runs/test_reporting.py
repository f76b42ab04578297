"""What is said of W&B before paying, what a box is told of it, and the sync afterwards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.api import Level
from console.errors import LoginError
from console.home import Home
from console.operations import Operations
from console.runs import reporting
from console.settings import Settings, read_settings
from tests.remote.reported import a_run, write_done, write_epochs
from tests.simulators.wandb_server import KEY, WandbServer
from ups.config import TrainConfig
from ups.dataset_keys import KEY_VARIABLE
from ups.errors import ConfigError, NotFoundError
from ups.rundir import RunSpec

ALL = {"WANDB_API_KEY": KEY, "WANDB_PROJECT": "pde", "WANDB_ENTITY": "team"}


def settings(tmp_path: Path, **variables: str) -> Settings:
    return read_settings(Home(tmp_path), environment=variables)


def config(**wandb: Any) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"task": "darcy2d"}, "stages": {"operator": {"epochs": 1}},
                                       "logging": {"wandb": wandb}})  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "level", "text"),
    [
        (ALL, Level.OK, "W&B key found: metrics go online, to team/pde"),
        ({"WANDB_API_KEY": KEY}, Level.OK, "W&B key found: metrics go online, to universal-simulator"),
        ({"WANDB_API_KEY": "abc"}, Level.WARNING, "WANDB_API_KEY has 3 characters"),
        ({}, Level.WARNING, "no W&B key: metrics stay offline and are synced later"),
        ({**ALL, "WANDB_MODE": "offline"}, Level.OK, "WANDB_MODE is offline: W&B metrics stay offline"),
        ({**ALL, "WANDB_MODE": "onlien"}, Level.OK, "WANDB_MODE is 'onlien', not online"),
        ({**ALL, "WANDB_MODE": "disabled"}, Level.OK, "W&B is switched off: WANDB_MODE is disabled"),
    ],
)
def test_the_preflight_says_where_the_metrics_go(
    tmp_path: Path, variables: dict[str, str], level: Level, text: str
) -> None:
    (check,) = reporting.checks(config(enabled=True), settings(tmp_path, **variables))
    assert check.level is level
    assert check.text.startswith(text)
    assert KEY not in str(check)


def test_it_says_nothing_where_the_config_does_not_ask(tmp_path: Path) -> None:
    assert list(reporting.checks(config(), settings(tmp_path, **ALL))) == []


def a_spec(tmp_path: Path, **wandb: Any) -> RunSpec:
    spec = a_run(tmp_path / f"run-{len(list(tmp_path.iterdir()))}").read_spec()
    return spec.model_copy(update={"config": config(**wandb)})


def test_a_box_is_told_of_wandb_only_where_it_is_needed(tmp_path: Path) -> None:
    known = settings(tmp_path, **ALL, B2_APP_KEY="secret")
    silent, reporting_run = a_spec(tmp_path), a_spec(tmp_path, enabled=True)
    assert not reporting.is_needed(silent, known)
    assert reporting.environment(silent, known) == {}
    assert reporting.is_needed(reporting_run, known)
    assert reporting.environment(reporting_run, known) == ALL
    offline = replace(known, wandb_environment={**ALL, "WANDB_MODE": "offline"})
    assert "WANDB_API_KEY" not in reporting.environment(reporting_run, offline)
    assert reporting.environment(reporting_run, offline)["WANDB_MODE"] == "offline"
    keyed = silent.model_copy(update={"variables": {KEY_VARIABLE: "burgers1d_full_v1"}})
    assert reporting.environment(keyed, known) == ALL  # its data may be an artifact there
    assert KEY not in repr(known)


# --- wandb-sync -----------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


@pytest.mark.needs_module("wandb")
def test_the_mirror_of_a_run_is_sent_attempt_by_attempt(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "home" / "runs" / "1130-abcd"
    first, second = (a_run(root / f"attempt-{number}", attempt=number) for number in (1, 2))
    a_run(root / "attempt-3", attempt=3)
    write_epochs(first, 0, 2)
    write_epochs(second, 2, 3)
    write_done(second)
    (first.rollouts / "advection1d-20.npz").unlink()
    sent = Operations(Home(tmp_path / "home")).wandb_sync("1130")
    assert (sent["run"], sent["rows"], sent["pictures"]) == ("1130-abcd", 21, 2)
    assert sent["missing"] == [
        "attempt-1: rollouts/advection1d-20.npz is not here",
        "attempt-3: no events were mirrored",
    ]
    (reported,) = server.runs.values()
    epochs = [row["tasks/epoch"] for row in reported.history if "tasks/epoch" in row]
    assert epochs == [1, 2, 3]
    assert reported.exit_code == 0


def test_sync_without_a_key_or_events_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    a_run(home.runs / "1130-abcd" / "attempt-1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoginError, match="there is no WANDB_API_KEY"):
        Operations(home).wandb_sync("1130-abcd")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(NotFoundError, match="no events of run 1130-abcd are here yet"):
        Operations(home).wandb_sync("1130-abcd")
    monkeypatch.setattr(reporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="wandb is not installed here"):
        Operations(home).wandb_sync("1130-abcd")
