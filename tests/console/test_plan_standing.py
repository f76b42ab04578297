"""Where a plan stands: told from rows of a history that nobody ran."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.api import CacheRow, PhaseState, PlanState, RunRow, RunStatus
from console.plan_standing import Known, Price, standing
from ups.config import load_train_config
from ups.config_patch import patched
from ups.plan import load_plan

CONFIGS = Path(__file__).parents[2] / "configs"
PLAN = load_plan(CONFIGS / "plans" / "pdebench_scaling.yaml")
SHIPPED = {path.stem: load_train_config(path) for path in CONFIGS.glob("train_*.yaml")}
TASKS = {task for phase in PLAN.phases for task in phase.data}
TWO, WIDE = "train_pdebench_2task_baseline", "train_pdebench_2task_192d"
FOUR, FIVE = "train_pdebench_4task_curriculum", "train_pdebench_5task_production"
MIXED = "train_pdebench_mixed_modality"


def run(name: str, config: str, verdict: str = "", following: str = "", **changes: Any) -> RunRow:
    row = RunRow(
        name, RunStatus.SUCCEEDED, config, (), 1, 1.5, 0.0, 1800.0, {}, {}, "", verdict, following
    )  # fmt: skip
    return replace(row, **changes)


def stand(*runs: RunRow, budget: float | None = None, **changes: Any) -> PlanState:
    """Where the plan stands after these runs, the oldest first; all data are there."""
    made = {
        row.run: SHIPPED[row.next_config] for row in runs if row.next_config in SHIPPED
    }  # fmt: skip
    known = Known(
        runs=tuple(reversed(runs)), datasets=TASKS, caches=(), configs=SHIPPED, made=made,
        price=Price(2.0, "vast's A100"),
    )  # fmt: skip
    return standing("pdebench_scaling", PLAN, replace(known, **changes), budget)


def states(state: PlanState) -> list[str]:
    return [str(phase.state) for phase in state.phases]


PASSED_TWO = run("r1", TWO, "proceed", FOUR)


class TestPhases:
    def test_without_data_one_stands_at_the_beginning(self) -> None:
        state = stand(datasets={"darcy2d"})

        assert states(state) == ["next", "waiting", "waiting", "waiting", "waiting"]
        assert state.phase is not None
        assert state.phase.missing_data == ("advection1d",)

    def test_with_data_the_first_run_is_next(self) -> None:
        state = stand()

        assert states(state) == ["done", "next", "waiting", "waiting", "waiting"]
        assert state.phase is not None
        assert (state.phase.config, state.phase.after, state.phase.cache) == (TWO, None, None)

    def test_a_run_that_passed_leads_on(self) -> None:
        state = stand(PASSED_TWO)

        assert states(state) == ["done", "done", "next", "waiting", "waiting"]
        assert state.phase is not None
        assert (state.phase.config, state.phase.after) == (FOUR, "r1")
        assert state.phases[1].run == "r1"

    def test_a_phase_that_was_passed_needs_its_data_no_more(self) -> None:
        state = stand(PASSED_TWO, datasets={"burgers1d"})

        assert state.current == 2
        assert state.phase is not None
        assert set(state.phase.missing_data) == {"advection1d", "darcy2d", "reaction_diffusion2d"}

    def test_a_run_that_missed_leads_where_its_gates_say(self) -> None:
        state = stand(run("r1", TWO, "scale", WIDE))

        assert states(state)[1] == "next"
        assert state.phase is not None
        assert (state.phase.config, state.phase.after, state.phase.verdict) == (WIDE, "r1", "scale")

    def test_passing_on_the_other_way_passes_the_phase(self) -> None:
        wide = SHIPPED[WIDE].gates.next
        assert wide is not None
        made = patched(SHIPPED[FOUR], wide.patch)
        runs = (run("r1", TWO, "scale", WIDE), run("r2", WIDE, "proceed", FOUR))

        state = stand(*runs, made={"r2": made})

        assert state.phase is not None
        assert (state.phase.config, state.phase.after, state.phase.cache) == (FOUR, "r2", "upt_192d_192tok")

    def test_what_the_gates_made_is_of_the_same_phase(self) -> None:
        longer = f"{FOUR}-longer"
        state = stand(PASSED_TWO, run("r2", FOUR, "longer", longer), run("r3", longer, "proceed", FIVE))

        assert state.phase is not None
        assert state.phase.name == "3 five tasks"
        assert state.phases[2].runs == ("r3", "r2")

    def test_gates_that_name_nothing_block(self) -> None:
        state = stand(run("r1", TWO, "review"))

        assert states(state)[1] == "blocked"
        assert state.phase is not None
        assert state.phase.config is None
        assert "r1 missed its gates (review)" in state.phase.reason

    @pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.RUNNING])
    def test_a_run_that_runs(self, status: RunStatus) -> None:
        assert states(stand(run("r1", TWO, status=status)))[1] == "running"

    @pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.STOPPED, RunStatus.LOST])
    def test_a_run_that_failed_decides_nothing(self, status: RunStatus) -> None:
        state = stand(run("r1", TWO, status=status))

        assert state.phase is not None
        assert (state.phase.state, state.phase.config) == (PhaseState.NEXT, TWO)

    def test_all_done(self) -> None:
        state = stand(run("r4", MIXED, "proceed"))

        assert (state.current, state.phase) == (None, None)
        assert states(state) == ["done"] * 5


class TestMoney:
    def test_is_the_plans_time_before_any_run(self) -> None:
        state = stand()

        assert state.phase is not None
        assert state.phase.expected_usd == pytest.approx(2.0 * 40 / 60)
        assert state.phase.basis == "the plan's estimate, on one A100"
        assert state.usd_to_come == pytest.approx(2.0 * (40 + 60 + 90 + 60) / 60)
        assert state.unknown == ()

    def test_is_the_median_of_earlier_runs_then(self) -> None:
        runs = [run(f"r{n}", TWO, "scale", WIDE, seconds=s) for n, s in enumerate((600.0, 3600.0, 1200.0))]
        state = stand(*runs, run("r9", WIDE))

        known = stand(*(replace(row, verdict="", next_config="") for row in runs))
        assert known.phase is not None
        assert known.phase.expected_seconds == 1200.0
        assert known.phase.basis == "median of 3 earlier runs here"
        assert state.phase is not None
        assert state.phase.expected_seconds == 1800.0

    def test_of_what_the_gates_made_is_that_of_the_config_it_was_made_of(self) -> None:
        longer = f"{FOUR}-longer"
        state = stand(PASSED_TWO, run("r2", FOUR, "longer", longer), made={"r2": SHIPPED[FOUR]})

        assert state.phase is not None
        assert (state.phase.config, state.phase.expected_seconds) == (longer, 1800.0)
        assert state.phase.basis == f"as long as earlier runs of {FOUR} took here"

    def test_without_a_price_is_unknown_and_said_to_be(self) -> None:
        state = stand(PASSED_TWO, price=Price(None, "unknown: no account"))

        assert state.phase is not None
        assert state.phase.expected_usd is None
        assert state.unknown == ("2 four tasks", "3 five tasks", "4 mixed modality")
        assert (state.usd_spent, state.usd_to_come) == (1.5, 0.0)

    def test_a_phase_of_which_nothing_is_known(self) -> None:
        phases = tuple(phase.model_copy(update={"minutes": None}) for phase in PLAN.phases)
        known = Known((), TASKS, (), SHIPPED, {}, Price(2.0, "x"))

        state = standing("p", PLAN.model_copy(update={"phases": phases}), known, None)

        assert state.phase is not None
        assert (state.phase.expected_usd, state.phase.basis[:7]) == (None, "unknown")

    @pytest.mark.parametrize(("budget", "within"), [(8.51, True), (8.49, False), (None, None)])
    def test_the_chain_is_held_against_its_budget(self, budget: float | None, within: bool | None) -> None:
        state = stand(PASSED_TWO, budget=budget)

        expected = 1.5 + 2.0 * (60 + 90 + 60) / 60
        assert state.usd_spent + state.usd_to_come == pytest.approx(expected) == pytest.approx(8.5)
        assert state.within_budget is within

    def test_of_data_is_nothing(self) -> None:
        assert stand(datasets=()).phases[0].expected_usd == 0.0

    def test_on_this_machine_nothing_costs_anything(self) -> None:
        assert stand(price=Price(0.0, "here")).usd_to_come == 0.0


class TestCaches:
    def _rows(self, *tasks: str, saves: float | None = 600.0) -> list[CacheRow]:
        return [
            CacheRow("upt_128d_128tok", task, "train", "verified", 1, 1, "", saves_seconds=saves)
            for task in tasks
        ]

    def test_saves_what_those_of_its_tasks_save(self) -> None:
        state = stand(PASSED_TWO, caches=self._rows(*SHIPPED[FOUR].data.task))

        assert state.phase is not None
        assert (state.phase.cache, state.phase.cache_is_there) == ("upt_128d_128tok", True)
        assert state.phase.cache_saves_seconds == 2400.0
        assert state.phase.cache_saves_usd == pytest.approx(2.0 * 2400 / 3600)

    @pytest.mark.parametrize("tasks", [(), ("advection1d", "darcy2d", "burgers1d")])
    def test_of_which_one_is_missing_saves_what_nobody_knows(self, tasks: tuple[str, ...]) -> None:
        state = stand(PASSED_TWO, caches=self._rows(*tasks))

        assert state.phase is not None
        assert not state.phase.cache_is_there
        assert state.phase.cache_saves_seconds is None
