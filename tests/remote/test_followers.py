"""A run that several processes train: told by one, and alive as long as its launcher."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from remote.environment import record_process
from tests.patience import PATIENCE_S
from tests.remote.conftest import CONFIG, MakeRun, start, wait_for
from tests.remote.test_pipeline import assert_whole, done_of, events_of, kinds_of, phases_of
from tests.ups.training.gang import launched, torchrun
from ups.config import TrainConfig
from ups.errors import UsageError
from ups.ranks import Ranks
from ups.rundir import RunDirectory
from ups.stores.directory import DirectoryStore

LONGER = TrainConfig.model_validate({**CONFIG, "stages": {"operator": {"epochs": 4}}})


def gang(run: RunDirectory, trouble: str = "", *, processes: int = 2, restarts: int = 0) -> int:
    """The run under torchrun to its end."""
    code, printed = torchrun(
        "-m", "tests.remote.gang_driver", str(run.root), trouble, processes=processes, restarts=restarts
    )
    run.log_path.write_text(printed)
    return code


def losses(run: RunDirectory) -> list[tuple[Any, ...]]:
    """Every point of the curves; those after a resumed checkpoint replaced by the repeated ones."""
    points: list[tuple[Any, ...]] = []
    for event in events_of(run):
        if event.type == "resumed":
            points = [point for point in points if point[0] <= event.fields["step"]]
        elif event.type == "metric":
            values = event.fields["values"]
            value = values["loss"] if event.fields["split"] == "train" else values["nrmse"]
            points.append((event.fields["step"], event.fields["split"], event.fields["task"], value))
    return points


def test_killed_process_is_replaced_and_the_curves_go_on(make_run: MakeRun, store: DirectoryStore) -> None:
    undisturbed = make_run("undisturbed", config=LONGER)
    assert start("-m", "remote", "run", str(undisturbed.root), log=undisturbed.log_path).wait(120) == 0
    expected = losses(undisturbed)
    for trouble in ("killed", "killed-main"):
        run = make_run(trouble, config=LONGER, run=trouble)
        assert gang(run, trouble, restarts=1) == 0, run.log_path.read_text()
        assert_whole(run, store)
        assert events_of(run)[0].fields["world_size"] == 2
        assert done_of(run)["status"] == "succeeded"
        assert kinds_of(run).count("resumed") == 1
        found = losses(run)
        assert [point[:3] for point in found] == [point[:3] for point in expected]
        assert [point[3] for point in found] == pytest.approx([point[3] for point in expected], rel=1e-4)


def test_failing_process_fails_the_run_once_and_for_all(make_run: MakeRun, store: DirectoryStore) -> None:
    run = make_run(config=LONGER)
    assert gang(run, "unreadable", restarts=1) != 0
    assert_whole(run, store)
    assert (done_of(run)["status"], done_of(run)["exit_code"]) == ("failed", 7)
    (error,) = [event.fields for event in events_of(run) if event.type == "error"]
    assert (error["message"], error["hint"]) == ("process 1 failed: the file is torn", "fetch it again")
    assert phases_of(run).count("train started") == 1


def test_checkpoint_that_cannot_be_written_ends_all_and_leaves_the_one_before(make_run: MakeRun) -> None:
    run = make_run(config=LONGER)
    assert gang(run, "disk-main") != 0
    assert (done_of(run)["status"], done_of(run)["exit_code"]) == ("failed", 6)
    (error,) = [event.fields for event in events_of(run) if event.type == "error"]
    assert error["message"] == "the checkpoint operator-0002 cannot be written: no space left"
    assert [path.name for path in run.checkpoints.iterdir()] == ["operator-0001"]


def test_run_that_never_gets_to_training_sends_the_others_away(make_run: MakeRun) -> None:
    run = make_run(datasets={"advection1d": {"train": "0" * 64}})
    assert gang(run) != 0
    assert done_of(run)["status"] == "failed"
    assert kinds_of(run).count("error") == 1
    assert "train started" not in phases_of(run)


def test_killed_process_that_is_not_replaced_fails_the_run(make_run: MakeRun) -> None:
    run = make_run(config=LONGER)
    assert gang(run, "killed") != 0
    assert done_of(run)["status"] == "failed"
    (error,) = [event.fields for event in events_of(run) if event.type == "error"]
    assert error["message"] == "a process of the training was killed"


def test_asked_to_stop_by_its_launcher_the_run_stops_after_an_epoch(make_run: MakeRun) -> None:
    run = make_run(config=TrainConfig.model_validate({**CONFIG, "stages": {"operator": {"epochs": 500}}}))
    with launched("-m", "remote", "run", str(run.root), processes=2) as launcher:
        wait_for(lambda: "checkpoint" in kinds_of(run), seconds=120)
        os.kill(json.loads((run.root / "run.pid").read_text())["pid"], signal.SIGTERM)
        launcher.communicate(timeout=PATIENCE_S)
    assert done_of(run)["status"] == "stopped"


def test_run_is_known_by_its_launcher(tmp_path: Path) -> None:
    record_process(tmp_path, Ranks(launched=True))
    assert json.loads((tmp_path / "run.pid").read_text())["pid"] == os.getppid()


def test_half_an_environment_is_refused() -> None:
    assert Ranks.from_environment({}) == Ranks()
    with pytest.raises(UsageError, match="LOCAL_RANK"):
        Ranks.from_environment({"RANK": "0", "WORLD_SIZE": "2"})
    with pytest.raises(UsageError, match="none of 2"):
        Ranks.from_environment({"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})
