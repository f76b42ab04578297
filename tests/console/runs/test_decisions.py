"""What the gates of recorded runs say, and the configs that are written for them."""

from pathlib import Path

import pytest

from console.home import Home
from console.runs import decisions
from console.runs.registry import Registry
from tests.console.recorded import CONFIGS, record
from ups.config import load_train_config
from ups.config_patch import patched
from ups.errors import NotFoundError, UsageError

FOUR = "train_pdebench_4task_curriculum"
FLAT = [0.5] * 20
FALLING = [1 / n for n in range(1, 21)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def registry(home: Home) -> Registry:
    return Registry(home.runs)


def test_a_config_that_the_gates_change_can_be_launched(home: Home, registry: Registry) -> None:
    given = load_train_config(CONFIGS / f"{FOUR}.yaml", ["training.noise=0.05"])
    record(home, "r1", FOUR, 0.12, config=given, curve=FLAT)

    step = decisions.next_step(registry.find("r1"))
    written = decisions.write(step, home.configs)

    assert written == home.configs / f"{FOUR}-deeper.yaml"
    config = load_train_config(written)
    assert config.operator.pdet.depth == 14
    assert config.training.noise == 0.05
    assert [action.verdict for action in config.gates.actions] == ["scale", "reweight", "longer"]
    assert written.read_text().startswith(f"# After run r1 of {FOUR}: deeper.\n# advection1d is at 0.12")


def test_a_shipped_config_comes_with_what_the_gates_change_in_it(home: Home, registry: Registry) -> None:
    record(home, "r1", "train_pdebench_2task_192d", 0.05)

    written = decisions.write(decisions.next_step(registry.find("r1")), home.configs)

    assert written.name == f"{FOUR}-next.yaml"
    four = load_train_config(CONFIGS / f"{FOUR}.yaml")
    wide = load_train_config(CONFIGS / "train_pdebench_2task_192d.yaml").gates.next
    assert wide is not None
    assert load_train_config(written) == patched(four, wide.patch)


def test_writing_twice_leaves_one_file_and_never_another_ones(home: Home, registry: Registry) -> None:
    record(home, "r1", FOUR, 0.12)
    step = decisions.next_step(registry.find("r1"))

    first = decisions.write(step, home.configs)
    assert decisions.write(step, home.configs) == first
    first.write_text("mine")
    second = decisions.write(step, home.configs)

    assert (second.name, first.read_text()) == (f"{FOUR}-reweight2.yaml", "mine")
    with pytest.raises(UsageError, match="is there already"):
        decisions.write(step, home.configs, first)


def test_gates_that_name_nothing_say_why(home: Home, registry: Registry) -> None:
    record(home, "r1", "train_pdebench_2task_baseline", 0.12)

    with pytest.raises(UsageError, match=r"name no next config: review, advection1d is at 0\.12"):
        decisions.next_step(registry.find("r1"))


def test_a_run_without_a_report_has_no_verdict(home: Home, registry: Registry) -> None:
    record(home, "r1", FOUR, 0.12).report_path.unlink()

    assert decisions.known_gates(registry.find("r1")) == {}
    with pytest.raises(NotFoundError, match="no report yet"):
        decisions.next_step(registry.find("r1"))


def test_an_old_report_is_judged_now(home: Home, registry: Registry) -> None:
    record(home, "r1", FOUR, 0.12, curve=FLAT, gates=False)

    assert decisions.known_gates(registry.find("r1"))["verdict"] == "deeper"


def test_a_resumed_run_is_judged_by_the_curves_of_all_attempts(home: Home, registry: Registry) -> None:
    record(home, "r1", FOUR, 0.12, curve=FLAT[:17]).report_path.unlink()
    second = record(home, "r1", FOUR, 0.12, curve=FLAT[:3], attempt=2, first_epoch=18)
    handle = registry.find("r1")

    assert decisions.read_report(second)["gates"]["verdict"] == "reweight"
    assert decisions.known_gates(handle)["verdict"] == "deeper"


def test_a_damaged_report_is_none(home: Home, registry: Registry) -> None:
    record(home, "r1", FOUR, 0.12).report_path.write_text("{")

    assert decisions.known_gates(registry.find("r1")) == {}
