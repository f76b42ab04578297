from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import LostAnswerError, OfferGoneError, ProviderError, TeardownNotVerifiedError
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, destroy, finish, rent, renting, send_destroy, still_wanted
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceSpec, InstanceState
from console.fleet.reconcile import reconcile
from tests.simulators.fleet import SimulatedProvider, offer
from ups.errors import StoreError

TERMS = RentTerms(run="r1", attempt=1, deadline=2e9, cap_usd=1.0, keep=False, grace_s=1.0)


class Clock:
    """Time passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.on_sleep: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / "ledger.db", clock=clock)


@pytest.fixture
def provider() -> SimulatedProvider:
    return SimulatedProvider()


def locks(ledger: Ledger) -> Path:
    return ledger.path.parent / "locks"


def rented(ledger: Ledger, provider: SimulatedProvider, clock: Clock) -> Entry:
    return rent(ledger, provider, offer(), TERMS, locks(ledger), sleep=clock.sleep)


def tear_down(ledger: Ledger, provider: SimulatedProvider, entry: Entry, clock: Clock) -> list[str]:
    return list(destroy(ledger, provider, ledger.entry(entry.label), cause="test", sleep=clock.sleep))


def states(ledger: Ledger, label: str) -> list[str]:
    return [str(row.after) for row in ledger.history(label)]


def test_the_intent_is_written_before_the_provider_is_asked(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[InstanceState] = []
    monkeypatch.setattr(
        provider, "create", lambda *_, **__: seen.extend(e.state for e in ledger.entries()) or "18000"
    )
    rented(ledger, provider, clock)
    assert seen == [InstanceState.REQUESTED]


def test_what_the_provider_is_told_may_hold_the_label(
    ledger: Ledger, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[InstanceSpec] = []
    monkeypatch.setattr(provider, "create", lambda spec: specs.append(spec) or "18000")
    entry = rent(
        ledger, provider, replace(offer(), machine="h7"), TERMS, locks(ledger),
        spec_of=lambda label: InstanceSpec(offer(), label, 1.0, onstart=f"echo {label}"),
    )  # fmt: skip
    assert [spec.onstart for spec in specs] == [f"echo {entry.label}"]
    assert (entry.machine, entry.deadline) == ("h7", 2e9)


def test_a_spec_that_cannot_be_made_leaves_no_intent(ledger: Ledger, provider: SimulatedProvider) -> None:
    def spec_of(label: str) -> InstanceSpec:
        raise ProviderError("no key")

    with pytest.raises(ProviderError, match="no key"):
        rent(ledger, provider, offer(), TERMS, locks(ledger), spec_of=spec_of)
    assert ledger.entries() == []
    assert provider.calls == []


def test_a_refusal_is_remembered_and_nothing_lives(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    provider.refuse = "no credit"
    with pytest.raises(ProviderError, match="no credit"):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert entry.state is InstanceState.REFUSED
    assert not entry.living


def test_after_an_offer_that_is_gone_the_next_one_may_be_tried(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(spec: InstanceSpec) -> str:
        raise OfferGoneError("no such ask")

    with monkeypatch.context() as patch:
        patch.setattr(provider, "create", gone)
        with pytest.raises(OfferGoneError):
            rented(ledger, provider, clock)
    second = rented(ledger, provider, clock)
    assert [entry.state for entry in ledger.entries()] == [InstanceState.STARTING, InstanceState.REFUSED]
    assert list(provider.instances) == [second.provider_id]


def test_a_create_without_an_answer_is_found_by_its_label_and_sent_once(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    provider.lose_answers = 1
    entry = rented(ledger, provider, clock)
    assert entry.state is InstanceState.STARTING
    assert list(provider.instances) == [entry.provider_id]
    assert states(ledger, entry.label) == ["intended", "requested", "ambiguous", "starting"]
    assert provider.calls.count("create") == 1


def test_a_create_without_an_answer_is_refused_only_after_ninety_seconds_of_good_lists(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    provider.lose_answers, provider.swallow = 1, True
    provider.broken = 3
    began = clock.now
    with pytest.raises(LostAnswerError):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert entry.state is InstanceState.REFUSED
    assert clock.now - began >= 90 + 3 * 10, "broken lists do not count"
    assert provider.calls.count("create") == 1


def test_lists_that_never_come_leave_it_ambiguous_for_the_next_reconcile(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    provider.lose_answers, provider.broken = 1, 10_000
    with pytest.raises(LostAnswerError):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert entry.state is InstanceState.AMBIGUOUS
    provider.broken = 0
    reconcile(ledger, [provider], locks(ledger))
    assert ledger.entry(entry.label).state is InstanceState.STARTING


def test_a_fault_in_reading_the_answer_is_no_refusal(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(spec: InstanceSpec) -> str:
        provider.add(spec.label)
        raise KeyError("new_contract")

    monkeypatch.setattr(provider, "create", odd)
    with pytest.raises(KeyError):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert entry.state is InstanceState.AMBIGUOUS
    reconcile(ledger, [provider], locks(ledger))
    assert ledger.entry(entry.label).provider_id in provider.instances


def test_an_answer_that_cannot_be_recorded_does_not_leave_a_box(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = provider.create

    def then_full(spec: InstanceSpec) -> str:
        monkeypatch.setattr(ledger, "change", full)
        return create(spec)

    def full(*_: object) -> Entry:
        raise StoreError("disk full")

    monkeypatch.setattr(provider, "create", then_full)
    with pytest.raises(StoreError):
        rented(ledger, provider, clock)
    assert provider.instances == {}


def test_while_it_is_rented_nobody_else_may_act(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    with renting(ledger, provider, offer(), TERMS, locks(ledger), sleep=clock.sleep) as entry:
        lock = FileLock(lock_path(locks(ledger), entry.label))
        assert not lock.try_acquire()
        assert still_wanted(ledger, entry.label)
        ledger.ask_to_end(entry.label, "teardown")
        assert not still_wanted(ledger, entry.label)
    assert lock.try_acquire()
    lock.release()


def test_destroyed_needs_two_lists_twenty_seconds_apart_without_it(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    provider.lingering = 2
    began = clock.now
    tear_down(ledger, provider, entry, clock)
    assert ledger.entry(entry.label).state is InstanceState.DESTROYED
    assert clock.now - began == 60.0
    assert provider.calls.count("list") == 5
    assert provider.calls.count("get") == 1


def test_the_direct_question_can_contradict_two_lists(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    provider.ignores_destroy = True
    reconcile(ledger, [provider], locks(ledger))
    provider.empty = 4
    with pytest.raises(TeardownNotVerifiedError):
        tear_down(ledger, provider, entry, clock)
    assert "destroyed" not in states(ledger, entry.label)


def test_a_box_that_no_list_has_shown_yet_is_looked_for_as_long_as_a_lost_answer(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    provider.instances.clear()
    began = clock.now
    tear_down(ledger, provider, entry, clock)
    assert clock.now - began >= 90.0


def test_a_broken_list_proves_nothing(ledger: Ledger, provider: SimulatedProvider, clock: Clock) -> None:
    entry = rented(ledger, provider, clock)
    reconcile(ledger, [provider], locks(ledger))
    provider.broken = 3
    steps = tear_down(ledger, provider, entry, clock)
    assert "no longer lists" in steps[-1]
    assert any("proves nothing" in step for step in steps)


def test_a_destroy_that_failed_is_sent_again(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    provider.failing_destroys = 2
    steps = tear_down(ledger, provider, entry, clock)
    assert [step for step in steps if step.startswith("destroy")] == [
        "destroy failed: 500 locked", "destroy failed: 500 locked", "destroy sent to 18000"
    ]  # fmt: skip
    assert provider.instances == {}


def test_an_instance_that_stays_is_lost_and_said_so(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    provider.ignores_destroy = True
    with pytest.raises(TeardownNotVerifiedError):
        tear_down(ledger, provider, entry, clock)
    assert provider.calls.count("destroy") > 2
    assert ledger.entry(entry.label).state is InstanceState.LOST
    reconcile(ledger, [provider], locks(ledger))
    assert ledger.entry(entry.label).state is InstanceState.LOST, "it is not at work again: it was told to go"
    provider.ignores_destroy = False
    tear_down(ledger, provider, entry, clock)
    assert ledger.entry(entry.label).state is InstanceState.DESTROYED


def test_a_teardown_whose_actor_died_is_finished(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    ledger.move(entry.label, InstanceState.STOPPING, "teardown")
    list(finish(ledger, provider, ledger.entry(entry.label), sleep=clock.sleep))
    assert states(ledger, entry.label)[-1] == "destroyed"
    assert ledger.entry(entry.label).ending == "teardown"


def test_what_appears_after_it_was_refused_is_destroyed(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    provider.refuse = "no credit"
    with pytest.raises(ProviderError):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert "is not listed" in tear_down(ledger, provider, entry, clock)[-1]
    provider.add(entry.label)
    tear_down(ledger, provider, entry, clock)
    assert provider.instances == {}
    assert states(ledger, entry.label) == ["intended", "requested", "refused", "stopping", "destroyed"]


def test_an_answer_that_comes_when_somebody_has_told_it_to_go_is_not_lost(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = provider.create

    def slow(spec: InstanceSpec) -> str:
        send_destroy(ledger, provider, ledger.entry(spec.label), cause="past its deadline")
        return create(spec)

    monkeypatch.setattr(provider, "create", slow)
    with pytest.raises(ProviderError, match="told to go"):
        rented(ledger, provider, clock)
    (entry,) = ledger.entries()
    assert (entry.state, entry.provider_id) == (InstanceState.STOPPING, "18000")


def test_tearing_down_twice_is_harmless(ledger: Ledger, provider: SimulatedProvider, clock: Clock) -> None:
    entry = rented(ledger, provider, clock)
    tear_down(ledger, provider, entry, clock)
    assert tear_down(ledger, provider, entry, clock) == ["18000 is destroyed already"]
    assert provider.calls.count("destroy") == 1


def test_a_teardown_ends_where_another_one_saw_the_absence(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider, clock)
    other = Ledger(ledger.path, clock=clock)
    clock.on_sleep = lambda: reconcile(other, [provider], locks(ledger)) and None
    tear_down(ledger, provider, entry, clock)
    assert states(ledger, entry.label).count("destroyed") == 1


def test_hosts_that_failed_before_are_remembered(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    def on(machine: str) -> Entry:
        return rent(ledger, provider, replace(offer(), machine=machine), TERMS, locks(ledger))

    good, slow, quick, lost = (on(machine).label for machine in ("good", "slow", "quick", "lost"))
    ledger.move(good, InstanceState.REACHABLE, "")
    ledger.move(lost, InstanceState.LOST, "")
    ledger.move(quick, InstanceState.STOPPING, "changed my mind")
    clock.now += 600
    ledger.move(slow, InstanceState.STOPPING, "no SSH")
    ledger.move(good, InstanceState.STOPPING, "done")
    ledger.move(good, InstanceState.LOST, "destroy failed")
    assert ledger.failed_machines("simulated") == {"slow", "lost"}
    assert ledger.failed_machines("simulated", since=clock.now) == {"slow"}
    assert ledger.failed_machines("another") == frozenset()
