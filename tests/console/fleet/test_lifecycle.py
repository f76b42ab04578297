from pathlib import Path

import pytest

from console.errors import ProviderError, TeardownNotVerifiedError
from console.fleet import lifecycle
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, destroy, rent
from console.fleet.model import InstanceState
from tests.simulators.fleet import SimulatedProvider, offer

TERMS = RentTerms(run="r1", attempt=1, deadline=2e9, cap_usd=1.0, keep=False, grace_s=1.0)


def rented(ledger: Ledger, provider: SimulatedProvider) -> Entry:
    return rent(ledger, provider, offer(), TERMS, ledger.path.parent / "locks")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def provider() -> SimulatedProvider:
    return SimulatedProvider()


def tear_down(ledger: Ledger, provider: SimulatedProvider, entry: Entry) -> list[str]:
    return list(destroy(ledger, provider, entry, cause="test", sleep=lambda _: None))


def test_the_intent_is_written_before_the_provider_is_asked(
    ledger: Ledger, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[InstanceState] = []
    monkeypatch.setattr(
        provider, "create", lambda *_, **__: seen.extend(e.state for e in ledger.entries()) or "18000"
    )
    rented(ledger, provider)
    assert seen == [InstanceState.REQUESTED]


def test_a_refusal_is_remembered_and_nothing_lives(ledger: Ledger, provider: SimulatedProvider) -> None:
    provider.refuse = "no credit"
    with pytest.raises(ProviderError, match="no credit"):
        rented(ledger, provider)
    (entry,) = ledger.entries()
    assert entry.state is InstanceState.REFUSED
    assert not entry.living


def test_destroyed_needs_two_lists_without_it(ledger: Ledger, provider: SimulatedProvider) -> None:
    entry = rented(ledger, provider)
    provider.lingering = 2
    tear_down(ledger, provider, entry)
    assert ledger.entry(entry.label).state is InstanceState.DESTROYED
    assert provider.calls.count("list") == 4


def test_a_broken_list_proves_nothing(ledger: Ledger, provider: SimulatedProvider) -> None:
    entry = rented(ledger, provider)
    provider.broken = 3
    steps = tear_down(ledger, provider, entry)
    assert provider.calls.count("list") == 5
    assert "no longer lists" in steps[-1]


def test_an_instance_that_stays_is_lost_and_said_so(
    ledger: Ledger, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = rented(ledger, provider)
    provider.ignores_destroy = True
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "ABSENCE_TIMEOUT_S", 0.0)
        with pytest.raises(TeardownNotVerifiedError):
            tear_down(ledger, provider, entry)
    assert ledger.entry(entry.label).state is InstanceState.LOST
    provider.ignores_destroy = False
    tear_down(ledger, provider, ledger.entry(entry.label))
    assert ledger.entry(entry.label).state is InstanceState.DESTROYED


def test_a_create_without_an_answer_is_found_by_its_label(
    ledger: Ledger, provider: SimulatedProvider
) -> None:
    entry = rented(ledger, provider)
    provider.instances.clear()
    tear_down(ledger, provider, entry)
    unanswered = rented(ledger, provider)
    assert unanswered.provider_id in provider.instances


def test_tearing_down_twice_is_harmless(ledger: Ledger, provider: SimulatedProvider) -> None:
    entry = rented(ledger, provider)
    tear_down(ledger, provider, entry)
    assert tear_down(ledger, provider, ledger.entry(entry.label)) == ["18000 is destroyed already"]
    assert provider.calls.count("destroy") == 1
