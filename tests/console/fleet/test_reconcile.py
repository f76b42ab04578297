from pathlib import Path

import pytest

from console.errors import ProviderError
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, rent
from console.fleet.model import InstanceKind, InstanceState, Label
from console.fleet.reconcile import reconcile
from tests.simulators.fleet import SimulatedProvider, offer

TERMS = RentTerms(run="r1", attempt=1, deadline=2e9, cap_usd=1.0, keep=False, grace_s=1.0)


def rented(ledger: Ledger, provider: SimulatedProvider) -> Entry:
    return rent(ledger, provider, offer(), TERMS, ledger.path.parent / "locks")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def kinds(ledger: Ledger, provider: SimulatedProvider) -> dict[str, InstanceKind]:
    return {
        sighting.remote.label: sighting.kind
        for sighting in reconcile(ledger, [provider])
        if sighting.remote is not None
    }


def test_each_instance_is_ours_orphan_anothers_or_foreign(ledger: Ledger) -> None:
    provider = SimulatedProvider()
    ours = rented(ledger, provider).label
    orphan = str(Label.new(ledger.console_id, 2e9))
    other = str(Label.new("deadbeef", 2e9))
    for label in (orphan, other, "somebody's box", "ups-looks-like-ours"):
        provider.add(label)
    assert kinds(ledger, provider) == {
        ours: InstanceKind.OURS,
        orphan: InstanceKind.ORPHAN,
        other: InstanceKind.OTHER_CONSOLE,
        "somebody's box": InstanceKind.FOREIGN,
        "ups-looks-like-ours": InstanceKind.FOREIGN,
    }
    assert "destroy" not in provider.calls


def test_an_instance_that_vanishes_is_lost_not_destroyed(ledger: Ledger) -> None:
    provider = SimulatedProvider()
    entry = rented(ledger, provider)
    provider.instances.clear()
    reconcile(ledger, [provider])
    assert ledger.entry(entry.label).state is InstanceState.LOST


def test_a_halted_instance_is_stopped_and_still_lives(ledger: Ledger) -> None:
    provider = SimulatedProvider()
    entry = rented(ledger, provider)
    assert entry.provider_id is not None
    provider.halt(entry.provider_id)
    reconcile(ledger, [provider])
    after = ledger.entry(entry.label)
    assert after.state is InstanceState.STOPPED
    assert after.living


def test_a_crash_between_intent_and_answer_is_mended(ledger: Ledger) -> None:
    provider = SimulatedProvider()
    never_sent, answer_lost = (Label.new(ledger.console_id, 2e9) for _ in range(2))
    for label in (never_sent, answer_lost):
        ledger.intend(label, provider="simulated", what="", usd_per_hour=0.3, cap_usd=1.0, keep=False,
                      run=None, attempt=None)  # fmt: skip
    ledger.move(str(answer_lost), InstanceState.REQUESTED, "")
    instance = provider.add(str(answer_lost))
    reconcile(ledger, [provider])
    assert ledger.entry(str(never_sent)).state is InstanceState.INTENDED, "somebody may be renting it"
    assert ledger.entry(str(answer_lost)).state is InstanceState.REQUESTED
    reconcile(ledger, [provider], settle_s=0.0)
    assert ledger.entry(str(never_sent)).state is InstanceState.ABANDONED
    adopted = ledger.entry(str(answer_lost))
    assert (adopted.state, adopted.provider_id) == (InstanceState.STARTING, instance)


def test_a_broken_list_changes_no_state(ledger: Ledger) -> None:
    provider = SimulatedProvider()
    entry = rented(ledger, provider)
    provider.broken = 1
    with pytest.raises(ProviderError):
        reconcile(ledger, [provider])
    assert ledger.entry(entry.label).state is InstanceState.STARTING
