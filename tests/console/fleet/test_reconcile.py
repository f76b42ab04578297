import time
from dataclasses import replace
from pathlib import Path

import pytest

from console.errors import ProviderError
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, rent
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState
from console.fleet.reconcile import LISTS_WITHOUT_ID, reconcile, survey
from tests.simulators.fleet import SimulatedProvider, offer

TERMS = RentTerms(run="r1", attempt=1, deadline=2e9, cap_usd=1.0, keep=False, grace_s=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


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


def rented(ledger: Ledger, provider: SimulatedProvider) -> Entry:
    return rent(ledger, provider, offer(), TERMS, locks(ledger))


def intended(ledger: Ledger) -> str:
    label = Label.new(ledger.console_id, 2e9)
    return ledger.intend(
        label, provider="simulated", what="", usd_per_hour=0.3, cap_usd=1.0, keep=False, run=None,
        attempt=None,
    ).label  # fmt: skip


def look(ledger: Ledger, provider: SimulatedProvider, clock: Clock, *, after_s: float = 60.0) -> None:
    clock.now += after_s
    reconcile(ledger, [provider], locks(ledger))


def states(ledger: Ledger, label: str) -> list[str]:
    return [str(row.after) for row in ledger.history(label)]


def test_each_instance_is_ours_orphan_anothers_or_foreign(
    ledger: Ledger, provider: SimulatedProvider
) -> None:
    ours = rented(ledger, provider).label
    orphan = str(Label.new(ledger.console_id, 2e9))
    other = str(Label.new("deadbeef", 2e9))
    for label in (orphan, other, "somebody's box", "ups-looks-like-ours"):
        provider.add(label)
    sightings = reconcile(ledger, [provider], locks(ledger))
    assert {sighting.remote.label: sighting.kind for sighting in sightings if sighting.remote} == {
        ours: InstanceKind.OURS,
        orphan: InstanceKind.ORPHAN,
        other: InstanceKind.OTHER_CONSOLE,
        "somebody's box": InstanceKind.FOREIGN,
        "ups-looks-like-ours": InstanceKind.FOREIGN,
    }
    assert "destroy" not in provider.calls


def test_a_second_instance_under_one_label_does_not_hide_behind_the_first(
    ledger: Ledger, provider: SimulatedProvider
) -> None:
    entry = rented(ledger, provider)
    twin = provider.add(entry.label)
    kinds = {s.remote.id: s.kind for s in reconcile(ledger, [provider], locks(ledger)) if s.remote}
    assert kinds == {entry.provider_id: InstanceKind.OURS, twin: InstanceKind.ORPHAN}


def test_a_changed_label_does_not_hide_an_instance(ledger: Ledger, provider: SimulatedProvider) -> None:
    entry = rented(ledger, provider)
    assert entry.provider_id is not None
    provider.instances[entry.provider_id] = replace(provider.instances[entry.provider_id], label="renamed")
    (sighting,) = reconcile(ledger, [provider], locks(ledger))
    assert (sighting.kind, sighting.entry and sighting.entry.label) == (InstanceKind.OURS, entry.label)


def test_an_instance_that_vanishes_is_lost_and_then_seen_to_be_gone(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    look(ledger, provider, clock)
    provider.instances.clear()
    look(ledger, provider, clock)
    assert ledger.entry(entry.label).state is InstanceState.LOST
    look(ledger, provider, clock, after_s=5)
    assert ledger.entry(entry.label).state is InstanceState.LOST, "two lists 5 s apart are one look"
    look(ledger, provider, clock)
    assert states(ledger, entry.label)[-3:] == ["lost", "stopping", "destroyed"]


def test_wrongly_empty_lists_prove_nothing_while_the_instance_answers(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    look(ledger, provider, clock)
    provider.empty = 5
    for _ in range(5):
        look(ledger, provider, clock)
        assert ledger.entry(entry.label).state in (InstanceState.LOST, InstanceState.STARTING)
    look(ledger, provider, clock)
    assert ledger.entry(entry.label).state is InstanceState.STARTING


def test_a_new_instance_may_be_missing_from_the_lists_for_a_while(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    hidden = dict(provider.instances)
    provider.instances.clear()
    look(ledger, provider, clock)
    assert ledger.entry(entry.label).state is InstanceState.STARTING
    provider.instances = hidden
    look(ledger, provider, clock)
    assert states(ledger, entry.label) == ["intended", "requested", "starting"]


def test_a_list_from_before_the_create_says_nothing_of_it(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: list[Entry] = []

    def slow_list() -> list[object]:
        clock.now += 1
        entries.append(rented(ledger, SimulatedProvider()))
        clock.now += 200
        return []

    monkeypatch.setattr(provider, "list", slow_list)
    reconcile(ledger, [provider], locks(ledger))
    assert ledger.entry(entries[0].label).state is InstanceState.STARTING


def test_a_halted_instance_is_stopped_and_still_lives(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    assert entry.provider_id is not None
    provider.halt(entry.provider_id)
    look(ledger, provider, clock)
    after = ledger.entry(entry.label)
    assert after.state is InstanceState.STOPPED
    assert after.living
    provider.instances[entry.provider_id] = replace(
        provider.instances[entry.provider_id], state=ProviderState.RUNNING
    )
    look(ledger, provider, clock)
    assert ledger.entry(entry.label).state is InstanceState.STARTING, "its provider started it again"


def test_what_was_lost_is_what_it_was_when_it_is_seen_again(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    ledger.move(entry.label, InstanceState.REACHABLE, "")
    look(ledger, provider, clock)
    hidden, provider.instances = provider.instances, {}
    look(ledger, provider, clock)
    provider.instances = hidden
    look(ledger, provider, clock)
    assert states(ledger, entry.label)[-2:] == ["lost", "reachable"]


def test_a_destroyed_instance_that_reappears_is_lost_and_stays_so(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    look(ledger, provider, clock)
    hidden, provider.instances = provider.instances, {}
    for _ in range(3):
        look(ledger, provider, clock)
    assert ledger.entry(entry.label).state is InstanceState.DESTROYED
    provider.instances = hidden
    for _ in range(2):
        look(ledger, provider, clock)
    assert states(ledger, entry.label)[-2:] == ["destroyed", "lost"]
    assert ledger.entry(entry.label).ended is None, "it costs money again"


def test_an_intent_is_left_to_its_living_actor_however_old_it_is(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    label = intended(ledger)
    with FileLock(lock_path(locks(ledger), label)):
        look(ledger, provider, clock, after_s=3600)
        assert ledger.entry(label).state is InstanceState.INTENDED
    look(ledger, provider, clock, after_s=0)
    assert ledger.entry(label).state is InstanceState.ABANDONED


def test_a_create_whose_actor_died_is_found_by_its_label(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    label = intended(ledger)
    ledger.move(label, InstanceState.REQUESTED, "")
    look(ledger, provider, clock)
    assert ledger.entry(label).state is InstanceState.AMBIGUOUS
    instance = provider.add(label)
    look(ledger, provider, clock)
    adopted = ledger.entry(label)
    assert (adopted.state, adopted.provider_id) == (InstanceState.STARTING, instance)


def test_a_create_whose_actor_died_is_refused_once_enough_lists_over_ninety_seconds_lack_it(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    label = intended(ledger)
    ledger.move(label, InstanceState.REQUESTED, "")
    for _ in range(LISTS_WITHOUT_ID - 1):  # there is no id to ask for, and one list may be wrongly empty
        look(ledger, provider, clock)
        assert ledger.entry(label).state is not InstanceState.REFUSED
    assert ledger.entry(label).state is InstanceState.AMBIGUOUS
    look(ledger, provider, clock)
    assert ledger.entry(label).state is InstanceState.REFUSED


def test_a_broken_list_changes_no_state(ledger: Ledger, provider: SimulatedProvider) -> None:
    entry = rented(ledger, provider)
    provider.broken = 1
    with pytest.raises(ProviderError):
        reconcile(ledger, [provider], locks(ledger))
    assert ledger.entry(entry.label).state is InstanceState.STARTING


def test_a_provider_that_is_down_hides_no_other(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock
) -> None:
    entry = rented(ledger, provider)
    assert entry.provider_id is not None
    provider.halt(entry.provider_id)
    down, odd = SimulatedProvider("down"), SimulatedProvider("odd")
    theirs = rented(ledger, down)
    down.broken = 1
    odd.rows_of_nonsense = True
    clock.now += 60
    found = survey(ledger, [down, provider, odd], locks(ledger))
    assert set(found.problems) == {"down", "odd"}
    assert ledger.entry(entry.label).state is InstanceState.STOPPED
    assert {sighting.entry.label for sighting in found.sightings if sighting.entry} == {
        entry.label, theirs.label
    }  # fmt: skip


def test_a_price_that_rose_counts(ledger: Ledger, provider: SimulatedProvider, clock: Clock) -> None:
    entry = rented(ledger, provider)
    assert entry.provider_id is not None
    row = provider.instances[entry.provider_id]
    provider.instances[entry.provider_id] = replace(row, usd_per_hour=0.45)
    look(ledger, provider, clock)
    assert ledger.entry(entry.label).usd_per_hour == 0.45


def test_a_pass_over_500_rows_opens_few_connections(
    ledger: Ledger, provider: SimulatedProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        label = intended(ledger)
        if number < 50:
            ledger.move(label, InstanceState.REQUESTED, "")
            ledger.move(label, InstanceState.STARTING, "", provider_id=provider.add(label))
        else:
            ledger.move(label, InstanceState.ABANDONED, "")
    opened: list[None] = []
    connect = ledger._connect
    monkeypatch.setattr(ledger, "_connect", lambda: (opened.append(None), connect())[1])
    started = time.process_time()  # what else the machine does is not counted
    look(ledger, provider, clock)
    assert time.process_time() - started < 2.0
    assert len(opened) <= 3
    assert provider.calls.count("list") == 1
