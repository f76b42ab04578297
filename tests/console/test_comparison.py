"""Runs side by side: what a user sees of them while they run and afterwards."""

from pathlib import Path

import pytest

from console.cli.compare import comparison_text, short_keys
from console.home import Home
from console.operations import Operations
from console.runs.registry import RunHandle
from console.runs.sweep import SweepMark, write_mark
from tests.console.recorded import CONFIGS, record
from ups.config import TrainConfig, load_train_config
from ups.config_patch import patched
from ups.errors import NotFoundError
from ups.events import EventType, EventWriter

TWO, WIDE = "train_pdebench_2task_baseline", "train_pdebench_2task_192d"
LR = "stages.operator.optimizer.lr"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def operations(home: Home) -> Operations:
    return Operations(home)


def config(**patch: float) -> TrainConfig:
    return patched(load_train_config(CONFIGS / f"{TWO}.yaml"), patch)


def swept(home: Home, *rates: float) -> None:
    """A sweep s1 over learning rates, whose runs are r1, r2 …"""
    for number, rate in enumerate(rates, start=1):
        record(home, f"r{number}", TWO, 0.1 * number, config=config(**{LR: rate}), curve=(0.5, 0.2, 0.3))
        write_mark(
            RunHandle(f"r{number}", home.runs / f"r{number}"), SweepMark("s1", number, len(rates), {LR: rate})
        )


def test_a_sweep_stands_for_its_runs_in_their_order(home: Home, operations: Operations) -> None:
    swept(home, 1e-3, 2e-3)
    record(home, "x1", WIDE, 0.05)

    found = operations.compare(["s1"])

    assert (found.sweep, [run.run for run in found.runs]) == ("s1", ["r1", "r2"])
    assert found.keys == (LR,)
    assert [run.differs[LR] for run in found.runs] == [1e-3, 2e-3]
    assert [run.state for run in found.runs] == ["succeeded", "succeeded"]
    standing = found.runs[1].tasks["darcy2d"]
    assert (standing.latest, standing.best, standing.best_epoch, standing.test) == (0.3, 0.2, 2, 0.2)
    assert operations.compare() == found, "the newest sweep is the default"
    assert [(row.run, row.sweep, row.differs) for row in operations.runs() if row.sweep] == [
        (run, "s1", {LR: rate}) for run, rate in (("r2", 2e-3), ("r1", 1e-3))
    ]


def test_runs_of_different_configs_are_told_apart_key_by_key(home: Home, operations: Operations) -> None:
    swept(home, 1e-3)
    record(home, "x1", WIDE, 0.05, curve=(0.4,))

    found = operations.compare(["r1", "x1", "r1"])

    assert [run.run for run in found.runs] == ["r1", "x1"]
    assert found.sweep == ""
    assert (found.runs[0].differs["latent.dim"], found.runs[1].differs["latent.dim"]) == (128, 192)
    text = comparison_text(found)
    assert "0.3000 / 0.2000 / 0.1000" in text
    assert "\nlatent.dim" in text, "many keys stand below, a line each"


def test_what_is_followed_is_shown_whenever_it_changes_and_ends_with_the_last_run(
    home: Home, operations: Operations
) -> None:
    swept(home, 1e-3, 2e-3)

    shown = operations.follow_comparison(pause_s=0.0)

    assert [run.state for run in next(shown).runs] == ["succeeded", "succeeded"]
    assert list(shown) == []


def test_a_run_without_an_end_and_one_that_cannot_be_read_hide_no_other(
    home: Home, operations: Operations
) -> None:
    swept(home, 1e-3, 2e-3)
    events = home.runs / "r2" / "attempt-1" / "events.jsonl"
    events.unlink()
    with EventWriter(events) as writer:
        writer.write(EventType.RUN, name=TWO, tasks=["darcy2d"], stages=["operator"])
        writer.write(EventType.ERROR, code="training", message="loss is not finite", hint="")
    (home.runs / "r2" / "attempt-1" / "run.yaml").write_text("[")

    first, second = operations.compare(["r1", "r2"]).runs

    assert (first.state, second.state) == ("succeeded", "lost")
    assert second.problem == "loss is not finite"


def test_what_is_not_there_is_named(home: Home, operations: Operations) -> None:
    with pytest.raises(NotFoundError, match="no sweep yet"):
        operations.compare()
    with pytest.raises(NotFoundError, match="no run 'r9'"):
        operations.compare(["r9"])


def test_keys_are_as_short_as_tells_them_apart() -> None:
    keys = ["stages.operator.optimizer.lr", "stages.diff_residual.optimizer.lr", "training.batch_size"]

    assert short_keys(keys) == ["operator.optimizer.lr", "diff_residual.optimizer.lr", "batch_size"]
