from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import OverBudgetError
from console.fleet import money
from console.fleet.ledger import Entry, Ledger
from console.fleet.model import InstanceState
from console.fleet.money import Spending
from tests.console.fleet.test_ledger import intend

RUNNING = Entry(
    "ups-c0ffee00-0123456789ab-36000", "simulated", "1", "RTX 4090", InstanceState.RUNNING, "r1", 1,
    usd_per_hour=3.6, cap_usd=1.0, keep=False, created=0.0, ended=None, deadline=36_000.0,
)  # fmt: skip


def test_money_counts_from_the_intent_to_the_observed_end(tmp_path: Path) -> None:
    now = [1000.0]
    ledger = Ledger(tmp_path / "ledger.db", clock=lambda: now[0])
    entry = intend(ledger, usd_per_hour=3.6)
    ledger.move(entry.label, InstanceState.REQUESTED, "")
    now[0] += 500
    assert money.usd_so_far(ledger.entry(entry.label), now[0]) == pytest.approx(0.5)
    ledger.move(entry.label, InstanceState.STOPPING, "")
    now[0] += 500
    ledger.move(entry.label, InstanceState.DESTROYED, "")
    now[0] += 9999
    assert money.usd_so_far(ledger.entry(entry.label), now[0]) == pytest.approx(1.0)
    assert money.usd_per_hour(ledger.entries()) == 0.0


def test_caps_refuse_before_anything_is_rented() -> None:
    with pytest.raises(OverBudgetError, match="its cap is"):
        money.check_caps([], 0.0, expected_usd=2.0, cap_run_usd=1.0, cap_day_usd=25.0)
    with pytest.raises(OverBudgetError, match="a day"):
        money.check_caps([], 0.0, expected_usd=26.0, cap_run_usd=None, cap_day_usd=25.0)
    money.check_caps([], 0.0, expected_usd=0.5, cap_run_usd=1.0, cap_day_usd=25.0)


def test_a_cap_of_the_run_counts_all_of_its_attempts() -> None:
    first = replace(RUNNING, state=InstanceState.DESTROYED, ended=800.0)
    second = replace(RUNNING, created=900.0)
    assert not money.over_cap(second, 1200.0)
    spending = Spending.of([first, second], 1200.0, cap_day_usd=None)
    assert money.over_cap(second, 1200.0, spending)
    assert "its cap of $1.00" in (money.must_end(second, 1200.0, spending) or "")


def test_a_run_ends_at_its_cap_at_the_latest() -> None:
    assert money.must_end(RUNNING, 999.0) is None
    assert money.must_end(RUNNING, 1000.0) is not None


def test_without_a_cap_the_deadline_ends_it() -> None:
    endless = replace(RUNNING, cap_usd=0.0)
    assert money.must_end(endless, 35_999.0) is None
    assert money.must_end(endless, 36_000.0) == "its deadline has come"


def test_the_cap_of_the_day_ends_what_costs_money_and_nothing_else() -> None:
    spending = Spending({}, today_usd=25.0, cap_day_usd=25.0)
    assert "the day" in (money.must_end(RUNNING, 1.0, spending) or "")
    assert money.must_end(replace(RUNNING, usd_per_hour=0.0), 1.0, spending) is None
    assert money.must_end(RUNNING, 1.0, Spending({}, today_usd=24.0, cap_day_usd=25.0)) is None


def test_what_is_gone_needs_no_end() -> None:
    assert money.must_end(replace(RUNNING, state=InstanceState.DESTROYED, ended=1.0), 1e9) is None


def test_dollars_to_the_end_stop_at_the_deadline_and_at_the_cap() -> None:
    endless = replace(RUNNING, cap_usd=0.0)
    assert money.usd_to_end(endless, 0.0) == pytest.approx(36.0)
    assert money.usd_to_end(endless, 0.0, ends_at=3600.0) == pytest.approx(3.6)
    assert money.usd_to_end(RUNNING, 500.0) == pytest.approx(0.5)
    assert money.usd_to_end(replace(RUNNING, state=InstanceState.DESTROYED, ended=1.0), 0.0) == 0.0
