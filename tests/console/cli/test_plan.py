"""`next`, `plan`, and what `report` and `runs` say of decision gates, through the installed command."""

import json
import os
from pathlib import Path

import pytest

from console.home import Home
from tests.console.cli.test_cli import error_of, ups
from tests.console.recorded import record
from ups.config import load_train_config

FOUR = "train_pdebench_4task_curriculum"


@pytest.fixture
def home() -> Home:
    return Home(Path(os.environ["UPS_HOME"]))


def test_report_next_and_runs_tell_what_comes_next(home: Home, tmp_path: Path) -> None:
    record(home, "r1", FOUR, 0.12)
    target = tmp_path / "next.yaml"

    report = ups("report", "r1").stdout
    assert "gates: reweight\n  advection1d is at 0.12, not below 0.1\n" in report
    assert "next: the same config\n  training.task_curriculum.stages.1.weights: " in report
    assert "`ups-console next r1 --write FILE` writes it" in report
    assert f"reweight → {FOUR}-reweight" in ups("runs").stdout

    written = json.loads(ups("next", "r1", "--write", str(target), "--json").stdout)
    assert (written["verdict"], written["written"]) == ("reweight", str(target))
    assert load_train_config(target).training.task_curriculum.stages[1].weights == "inverse_nrmse"


def test_next_of_a_run_whose_gates_name_nothing(home: Home) -> None:
    record(home, "r1", "train_pdebench_2task_baseline", 0.12)

    done = ups("next", "r1", "--json")

    assert done.returncode == 2
    assert "name no next config: review" in error_of(done)["message"]


def test_plan_says_where_one_stands_and_what_is_missing(home: Home) -> None:
    record(home, "r1", "train_pdebench_2task_baseline", 0.05)

    text = ups("plan", "--budget", "25").stdout
    assert "✓ 1 two tasks" in text
    assert "→ 2 four tasks" in text
    assert "`ups-console preprocess --tasks burgers1d,reaction_diffusion2d,advection1d,darcy2d`" in text
    assert f"config: {FOUR}, as the gates of r1 say" in text
    assert "cache: upt_128d_128tok, built by the first run" in text
    assert "within the budget of $25.00" in text

    done = ups("plan", "--launch", "--json")
    assert (done.returncode, error_of(done)["code"]) == (4, "not_found")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["plan", "nope"], 3, "there is no plan nope"),
        (["plan", "--detach"], 2, "--launch"),
        (["next", "r9"], 4, "no run"),
    ],
)
def test_bad_input_gets_one_error(arguments: list[str], exit_code: int, says: str) -> None:
    done = ups(*arguments, "--json")

    assert done.returncode == exit_code
    assert says in error_of(done)["message"]
