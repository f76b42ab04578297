import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from console.errors import OverBudgetError
from console.fleet import money
from console.fleet.ledger import Entry, Ledger
from console.fleet.model import LIVING, TRANSITIONS, IllegalTransitionError, InstanceState, Label
from ups.errors import NotFoundError, StoreError


def intend(ledger: Ledger, *, usd_per_hour: float = 0.30, run: str = "r1") -> Entry:
    label = Label.new(ledger.console_id, 2_000_000_000)
    return ledger.intend(
        label, provider="simulated", what="RTX 4090", usd_per_hour=usd_per_hour, cap_usd=1.0,
        keep=False, run=run, attempt=1,
    )  # fmt: skip


def test_an_intent_is_there_after_the_process_is_gone(tmp_path: Path) -> None:
    entry = intend(Ledger(tmp_path / "ledger.db"))
    again = Ledger(tmp_path / "ledger.db")
    assert again.entry(entry.label) == entry
    assert again.console_id == Label.parse(entry.label).console_id  # type: ignore[union-attr]


def test_a_transition_outside_the_table_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    entry = intend(ledger)
    with pytest.raises(IllegalTransitionError):
        ledger.move(entry.label, InstanceState.RUNNING, "jump")
    assert ledger.entry(entry.label).state is InstanceState.INTENDED
    assert len(ledger.history(entry.label)) == 1


def test_unknown_names_are_not_found(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    with pytest.raises(NotFoundError):
        ledger.find("18342")


def test_a_home_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="may not be written"):
        Ledger(tmp_path / "file" / "ledger.db")


def test_threads_share_one_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    threads = [threading.Thread(target=intend, args=(ledger,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.entries()) == 8


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


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of moves: the ledger takes those of the table and remembers every one."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self._directory = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self._directory.name) / "ledger.db")
        self.label = intend(self.ledger).label
        self.path = [InstanceState.INTENDED]

    @rule(after=st.sampled_from(list(InstanceState)))
    def move(self, after: InstanceState) -> None:
        if after in TRANSITIONS[self.path[-1]]:
            self.ledger.move(self.label, after, "because")
            self.path.append(after)
        else:
            with pytest.raises(IllegalTransitionError):
                self.ledger.move(self.label, after, "because")

    @invariant()
    def remembers(self) -> None:
        assert [row.after for row in self.ledger.history(self.label)] == self.path
        entry = self.ledger.entry(self.label)
        assert entry.state is self.path[-1]
        assert (entry.ended is None) == (entry.state in LIVING or entry.state is InstanceState.INTENDED)

    def teardown(self) -> None:
        self._directory.cleanup()


LedgerMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
