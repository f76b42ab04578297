import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import ProviderError
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, rent
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceState, Label
from console.fleet.watch import ACTOR_PATIENCE_S, Watch, guard_of, is_watching, start_detached, watch_labels
from console.home import Home
from tests.simulators.fleet import SimulatedProvider, offer
from ups.errors import StoreError

START = 1_700_000_000.0
HOUR = 3600.0


class Laptop:
    """A guard's surroundings: time passes only in its sleep."""

    def __init__(self, path: Path) -> None:
        self.now = START
        self.ledger = Ledger(path / "ledger.db", clock=lambda: self.now)
        self.locks = path / "locks"
        self.provider = SimulatedProvider()
        self.over: set[str] = set()
        self.said: list[str] = []
        self.saved: list[str] = []
        self.slept: list[float] = []
        self.sleeps_through = 0.0
        """The next sleep lasts so much longer: the lid was closed."""
        self.watch = Watch(
            ledger=self.ledger, providers=lambda: [self.provider], locks=self.locks,
            run_over=lambda entry: entry.run in self.over, save=lambda entry: self.saved.append(entry.label),
            cap_day_usd=25.0, say=self.said.append, sleep=self.sleep, workers=1,
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.sleeps_through
        self.sleeps_through = 0.0

    def running(self, run: str = "r1", *, keep: bool = False, cap_usd: float = 0.0) -> Entry:
        terms = RentTerms(run, 1, START + 2 * HOUR, cap_usd=cap_usd, keep=keep, grace_s=0.0)
        entry = rent(self.ledger, self.provider, offer(3.6), terms, self.locks)
        self.ledger.move(entry.label, InstanceState.REACHABLE, "")
        return self.ledger.move(entry.label, InstanceState.RUNNING, "")

    def state(self, entry: Entry) -> InstanceState:
        return self.ledger.entry(entry.label).state

    def until_quiet(self) -> None:
        self.watch.run(FileLock(self.locks / "watch.lock"))


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    return Laptop(tmp_path)


def test_a_run_at_work_is_left_alone_and_one_that_is_over_is_saved_and_destroyed(laptop: Laptop) -> None:
    works, over = laptop.running("works"), laptop.running("over")
    laptop.over = {"over"}
    laptop.watch.step()
    assert (laptop.state(works), laptop.state(over)) == (InstanceState.RUNNING, InstanceState.STOPPING)
    assert laptop.saved == [over.label]
    assert list(laptop.provider.instances) == [works.provider_id]


def test_it_leaves_when_nothing_lives(laptop: Laptop) -> None:
    entry = laptop.running()
    laptop.over = {"r1"}
    laptop.until_quiet()
    assert laptop.state(entry) is InstanceState.DESTROYED
    assert laptop.now - START <= 60.0
    laptop.until_quiet()
    assert laptop.now - START <= 60.0, "with nothing to guard it does not wait"


def test_what_has_no_end_ends_at_its_deadline(laptop: Laptop) -> None:
    laptop.running(keep=True)
    laptop.until_quiet()
    assert laptop.provider.instances == {}
    assert laptop.now <= START + 2 * HOUR + 120


def test_what_is_kept_ends_at_its_cap(laptop: Laptop) -> None:
    laptop.running(keep=True, cap_usd=1.8)
    laptop.over = {"r1"}
    laptop.until_quiet()
    assert laptop.now <= START + HOUR / 2 + 120


def test_what_is_held_for_a_look_goes_when_the_time_is_over(laptop: Laptop) -> None:
    entry = laptop.running()
    laptop.over = {"r1"}
    laptop.ledger.hold(entry.label, START + 900)
    laptop.until_quiet()
    assert START + 900 <= laptop.now <= START + 900 + 120


def test_after_an_hour_of_sleep_it_acts_within_seconds(laptop: Laptop) -> None:
    laptop.running()
    laptop.watch.step()
    laptop.sleeps_through = 2 * HOUR
    laptop.until_quiet()
    assert laptop.provider.instances == {}
    naps = [seconds for seconds in laptop.slept if seconds <= 5.0]
    assert naps == laptop.slept
    assert sum(laptop.slept) <= 60.0 + 20.0


def test_an_outbid_instance_is_destroyed_unless_it_is_kept(laptop: Laptop) -> None:
    gone, kept = laptop.running("a"), laptop.running("b", keep=True)
    for entry in (gone, kept):
        assert entry.provider_id is not None
        laptop.provider.halt(entry.provider_id)
    laptop.now += 60
    laptop.watch.step()
    assert (laptop.state(gone), laptop.state(kept)) == (InstanceState.STOPPING, InstanceState.STOPPED)


def test_an_instance_whose_launch_died_is_destroyed_and_one_that_is_launched_is_not(laptop: Laptop) -> None:
    terms = RentTerms("r1", 1, START + 2 * HOUR, cap_usd=0.0, keep=True, grace_s=0.0)
    entry = rent(laptop.ledger, laptop.provider, offer(), terms, laptop.locks)
    laptop.now += 1200
    with FileLock(lock_path(laptop.locks, entry.label)):
        laptop.watch.step()
        assert laptop.state(entry) is InstanceState.STARTING, "an image may take long"
    laptop.watch.step()
    assert laptop.state(entry) is InstanceState.STOPPING


def test_an_actor_that_hangs_is_asked_and_then_not_waited_for(laptop: Laptop) -> None:
    entry = laptop.running()
    with FileLock(lock_path(laptop.locks, entry.label)):
        laptop.now = START + 2 * HOUR
        laptop.watch.step()
        assert laptop.ledger.entry(entry.label).ending == "its deadline has come"
        assert laptop.state(entry) is InstanceState.RUNNING
        laptop.now += ACTOR_PATIENCE_S
        laptop.watch.step()
    assert laptop.provider.instances == {}


def test_a_second_instance_under_one_label_is_destroyed_at_once(laptop: Laptop) -> None:
    entry = laptop.running()
    laptop.provider.add(entry.label)
    laptop.watch.step()
    assert list(laptop.provider.instances) == [entry.provider_id]
    assert laptop.state(entry) is InstanceState.RUNNING


def test_what_appears_after_it_was_refused_is_destroyed(laptop: Laptop) -> None:
    laptop.provider.refuse = "no credit"
    with pytest.raises(ProviderError):
        laptop.running()
    (entry,) = laptop.ledger.entries()
    laptop.provider.add(entry.label)
    laptop.until_quiet()
    assert laptop.provider.instances == {}
    assert laptop.state(entry) is InstanceState.DESTROYED


def test_an_orphan_may_live_to_its_deadline_and_strangers_are_never_touched(laptop: Laptop) -> None:
    for label in (
        str(Label.new(laptop.ledger.console_id, START + HOUR)),
        str(Label.new("deadbeef", START - HOUR)),
        "mine",
    ):
        laptop.provider.add(label)
    laptop.watch.step()
    assert len(laptop.provider.instances) == 3
    laptop.now = START + HOUR
    laptop.watch.step()
    assert {row.label[:12] for row in laptop.provider.instances.values()} == {"ups-deadbeef", "mine"}


def test_a_destroyed_instance_that_reappears_is_destroyed_again(laptop: Laptop) -> None:
    entry = laptop.running()
    laptop.over = {"r1"}
    laptop.until_quiet()
    laptop.now += 60
    laptop.provider.add(entry.label)
    (row,) = laptop.provider.instances.values()
    assert entry.provider_id is not None
    laptop.provider.instances = {entry.provider_id: replace(row, id=entry.provider_id)}
    laptop.watch.step()
    assert laptop.provider.instances == {}


def test_a_failing_destroy_is_sent_again_and_nothing_is_saved_twice(laptop: Laptop) -> None:
    laptop.running()
    laptop.over = {"r1"}
    laptop.provider.failing_destroys = 3
    laptop.until_quiet()
    assert laptop.provider.instances == {}
    assert len(laptop.saved) == 1
    assert sum("500 locked" in text for text in laptop.said) == 3


def test_files_that_cannot_be_saved_keep_nothing_alive(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(entry: Entry) -> None:
        raise EOFError("SSH session not active")

    laptop.running()
    laptop.over = {"r1"}
    replace(laptop.watch, save=broken).step()
    assert laptop.provider.instances == {}
    assert any("not everything was saved" in text for text in laptop.said)


def test_a_full_disk_keeps_nothing_alive(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Entry:
        raise StoreError("the ledger failed: database or disk is full")

    laptop.running()
    laptop.over = {"r1"}
    monkeypatch.setattr(laptop.ledger, "change", full)
    laptop.watch.step()
    assert laptop.provider.instances == {}


def test_a_provider_that_is_down_ends_no_watch(laptop: Laptop) -> None:
    entry = laptop.running()
    laptop.over = {"r1"}
    laptop.provider.broken = 5
    laptop.until_quiet()
    assert laptop.state(entry) is InstanceState.DESTROYED
    assert any("cannot be asked" in text for text in laptop.said)


def test_a_home_that_was_removed_needs_no_guard(laptop: Laptop) -> None:
    laptop.running()
    laptop.watch.step()
    laptop.ledger.path.unlink()
    laptop.until_quiet()
    assert "is gone" in laptop.said[-1]
    assert not laptop.ledger.path.exists()


def test_labels_alone_tell_what_is_past_its_deadline(laptop: Laptop) -> None:
    past, young = (str(Label.new("deadbeef", START + delta)) for delta in (-HOUR, HOUR))
    for label in (past, young, "ups-rack-12-7", "somebody's box"):
        laptop.provider.add(label)
    list(watch_labels([laptop.provider], START, laptop.said.append))
    assert sorted(row.label for row in laptop.provider.instances.values()) == sorted(
        [young, "ups-rack-12-7", "somebody's box"]
    )


# --- as processes ------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    if is_watching(home.watch_lock):
        os.kill(pid_of_guard(home), signal.SIGKILL)
        while is_watching(home.watch_lock):
            time.sleep(0.02)


def pid_of_guard(home: Home) -> int:
    """It takes its lock first, and then tells who it is."""
    while (guard := guard_of(home.watch_pid)) is None:
        time.sleep(0.02)
    return guard.pid


def test_one_guard_a_home_which_outlives_who_started_it(home: Home) -> None:
    code = (
        "import sys; from pathlib import Path; from console.home import Home;"
        "from console.fleet.watch import start_detached; home = Home(Path(sys.argv[1]));"
        "print(start_detached(home.root, home.watch_lock, home.watch_log))"
    )
    starter = [sys.executable, "-c", code, str(home.root)]
    assert subprocess.run(starter, capture_output=True, text=True, check=True).stdout == "False\n"
    assert is_watching(home.watch_lock)
    guard = pid_of_guard(home)
    assert os.getsid(guard) == guard, "in its own session"
    assert home.watch_log.stat().st_mode & 0o777 == 0o600
    assert start_detached(home.root, home.watch_lock, home.watch_log) is True
    assert pid_of_guard(home) == guard


def test_a_guard_that_cannot_start_is_said(home: Home) -> None:
    home.root.mkdir(parents=True)
    home.config.write_text("caps = 3")
    with pytest.raises(StoreError, match="caps must be a table"):
        start_detached(home.root, home.watch_lock, home.watch_log)
