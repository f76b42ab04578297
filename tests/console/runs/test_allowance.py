from dataclasses import replace

from console.fleet.ledger import Entry
from console.fleet.model import InstanceState
from console.runs.allowance import Allowance, fitting, makespan

NOW = 1_800_000_000.0
LIVING = Entry(
    "ups-c0ffee00-0123456789ab-1800036000", "vast", "1", "RTX 4090", InstanceState.RUNNING, "r1", 1,
    usd_per_hour=1.0, cap_usd=3.0, keep=False, created=NOW - 600, ended=None, deadline=NOW + 36_000,
)  # fmt: skip
ENDED = replace(LIVING, state=InstanceState.DESTROYED, ended=NOW - 60)


def fits(allowance: Allowance, *entries: Entry, cap_usd: float = 3.0) -> bool:
    return allowance.fits(entries, NOW, runs={"r1"}, cap_usd=cap_usd)


def test_a_run_that_lives_counts_with_its_cap_and_one_that_ended_with_what_it_took() -> None:
    day = Allowance(most=9, cap_day_usd=5.0, budget_usd=None)

    assert not fits(day, LIVING)
    assert fits(day, ENDED)
    assert fits(replace(day, cap_day_usd=6.0), LIVING)


def test_the_cap_of_all_counts_only_the_runs_of_the_sweep() -> None:
    sweep = Allowance(most=9, cap_day_usd=100.0, budget_usd=5.0)

    assert not fits(sweep, LIVING)
    assert fits(sweep, replace(LIVING, run="somebody else's"))
    left = sweep.left([ENDED], NOW, runs={"r1"})
    assert left is not None
    assert 4.8 < left < 4.9


def test_what_costs_nothing_always_fits() -> None:
    assert fits(Allowance(most=9, cap_day_usd=0.0, budget_usd=0.01), LIVING, cap_usd=0.0)


def test_so_many_run_at_first_as_their_caps_fit_but_one_always() -> None:
    assert fitting([2.0, 2.0, 2.0], 3, 5.0) == 2
    assert fitting([2.0, 2.0, 2.0], 1, 50.0) == 1
    assert fitting([9.0, 2.0], 2, 5.0) == 1
    assert fitting([0.0, 0.0], 2, -1.0) == 2


def test_the_whole_takes_as_long_as_its_fullest_machine() -> None:
    assert makespan([60.0, 60.0, 60.0], 2) == 120.0
    assert makespan([100.0, 30.0, 30.0, 30.0], 2) == 100.0
