"""A chain of runs from the history's point of view: where it stands and what its next launch is."""

from pathlib import Path

import pytest

from console.api import DatasetRow, Inventory, LaunchRequest, PlanState, RentOptions
from console.errors import OverBudgetError
from console.home import Home
from console.operations import Operations
from tests.console.recorded import CONFIGS, record
from ups.config import load_train_config
from ups.errors import ConfigError, NotFoundError, UsageError
from ups.tasks import TASK_SPECS

TWO, WIDE = "train_pdebench_2task_baseline", "train_pdebench_2task_192d"
FOUR = "train_pdebench_4task_curriculum"


class Stocked(Operations):
    """A store that holds every dataset and no cache."""

    def inventory(self) -> Inventory:
        rows = [DatasetRow(task, "verified", {}, {}, (), "", False, 0) for task in TASK_SPECS]
        empty = super().inventory()
        return Inventory(rows, empty.caches, empty.usage)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "home")


@pytest.fixture
def operations(home: Home) -> Stocked:
    return Stocked(home)


def request_of(operations: Operations, state: PlanState) -> LaunchRequest:
    return operations.phase_request(state, LaunchRequest(config=Path(), rent=RentOptions(keep=True)))


def test_an_empty_home_needs_data_first(home: Home) -> None:
    state = Operations(home).plan()

    assert state.phase is not None
    assert state.phase.name == "0 data"
    with pytest.raises(NotFoundError, match="advection1d,darcy2d"):
        request_of(Operations(home), state)


def test_the_first_run_is_the_plans_own(operations: Stocked) -> None:
    request = request_of(operations, operations.plan())

    assert request.config == CONFIGS / f"{TWO}.yaml"
    assert (request.cache_version, request.rent.keep) == (None, True)


def test_a_run_that_passed_leads_to_the_next_config_and_its_cache(home: Home, operations: Stocked) -> None:
    record(home, "r1", TWO, 0.05)

    request = request_of(operations, operations.plan())

    assert request.config == CONFIGS / f"{FOUR}.yaml"
    assert request.cache_version == "upt_128d_128tok"
    assert not home.configs.exists()


def test_what_was_learned_about_the_size_is_kept(home: Home, operations: Stocked) -> None:
    record(home, "r1", TWO, 0.1925)
    record(home, "r2", WIDE, 0.05)

    request = request_of(operations, operations.plan())

    assert request.config == home.configs / f"{FOUR}-next.yaml"
    assert load_train_config(request.config).latent.dim == 192
    assert request.cache_version == "upt_192d_192tok"
    assert request.config in [entry.path for entry in operations.configs()]


def test_a_run_that_missed_blocks_or_leads_where_its_gates_say(home: Home, operations: Stocked) -> None:
    record(home, "r1", TWO, 0.12)
    with pytest.raises(UsageError, match="r1 missed its gates"):
        request_of(operations, operations.plan())

    record(home, "r2", TWO, 0.2)
    assert request_of(operations, operations.plan()).config == CONFIGS / f"{WIDE}.yaml"


def test_the_budget_of_the_chain_caps_the_run(operations: Stocked) -> None:
    assert request_of(operations, operations.plan(budget_usd=5.0)).rent.budget_usd == 5.0
    with pytest.raises(OverBudgetError):
        request_of(operations, operations.plan(budget_usd=0.0))


def test_a_price_that_is_not_known_is_said_to_be_unknown(operations: Stocked) -> None:
    state = operations.plan(rent=RentOptions(provider="vast"))

    assert (state.usd_per_hour, state.price_basis) == (None, "unknown: no account at vast is configured")
    assert len(state.unknown) == 4


def test_the_history_tells_the_verdict(home: Home, operations: Stocked) -> None:
    record(home, "r1", FOUR, 0.12)

    (row,) = operations.runs()

    assert (row.verdict, row.next_config) == ("reweight", f"{FOUR}-reweight")
    assert operations.report("r1")["gates"]["verdict"] == "reweight"


def test_a_plan_of_ones_own(tmp_path: Path, operations: Stocked) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text("phases: [{name: one, configs: [local_2task]}]\n")
    assert operations.plan(plan).plan == "mine"

    plan.write_text("phases: [{name: one, configs: [nowhere]}]\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: one: there is no config nowhere"):
        operations.plan(plan)
