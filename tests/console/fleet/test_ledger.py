import contextlib
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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


OLD = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE instances (label TEXT PRIMARY KEY, provider TEXT NOT NULL, provider_id TEXT, what TEXT NOT NULL,
    state TEXT NOT NULL, run TEXT, attempt INTEGER, usd_per_hour REAL NOT NULL, cap_usd REAL NOT NULL,
    keep INTEGER NOT NULL, created REAL NOT NULL, ended REAL);
CREATE TABLE transitions (id INTEGER PRIMARY KEY, t REAL NOT NULL, label TEXT NOT NULL, before TEXT,
    after TEXT NOT NULL, cause TEXT NOT NULL);
INSERT INTO meta VALUES ('console_id', 'c0ffee00');
INSERT INTO instances VALUES
    ('ups-c0ffee00-0123456789ab-1900000000', 'local', 'local-0123456789ab', '2 cores', 'lost', 'r1', 1, 0.3,
     1.0, 0, 1700000000.0, NULL);
INSERT INTO transitions (t, label, before, after, cause) VALUES
    (1700000000.0, 'ups-c0ffee00-0123456789ab-1900000000', NULL, 'intended', 'launch'),
    (1700000600.0, 'ups-c0ffee00-0123456789ab-1900000000', 'running', 'stopping', 'teardown'),
    (1700000700.0, 'ups-c0ffee00-0123456789ab-1900000000', 'stopping', 'lost', 'still listed');
"""


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.executescript(OLD)
    for _ in range(2):
        ledger = Ledger(tmp_path / "ledger.db")
        (entry,) = ledger.entries()
        assert ledger.console_id == "c0ffee00"
        assert (entry.deadline, entry.changed) == (1_900_000_000.0, 1_700_000_700.0)
        assert (entry.ending, entry.was, entry.machine) == ("teardown", InstanceState.STOPPING, None)
    intend(ledger)
    assert len(ledger.entries()) == 2


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="version 99") as raised:
        Ledger(tmp_path / "ledger.db")
    assert "newer ups-console" in raised.value.hint


def test_consoles_that_open_a_new_ledger_at_once_agree_on_their_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: Ledger(tmp_path / "ledger.db").console_id, range(8)))
    assert len(ids) == 1


def test_a_hold_ends_by_itself(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    entry = intend(ledger)
    assert not entry.kept(0.0)
    ledger.hold(entry.label, 900.0)
    held = ledger.entry(entry.label)
    assert (held.kept(899.0), held.kept(900.0)) == (True, False)


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
