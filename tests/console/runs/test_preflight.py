from dataclasses import replace
from pathlib import Path

import pytest

from console.api import Check, Level, Preflight, RentOptions
from console.errors import OverBudgetError
from console.fleet.ledger import Ledger
from console.fleet.model import Offer, OfferQuery
from console.fleet.offers import NoOfferError, rank
from console.fleet.providers.base import Capabilities
from console.home import Home
from console.runs.preflight import before_paying, candidates, cap_usd, check_day_cap, together
from console.settings import Settings, read_settings
from ups.errors import UsageError

OFFER = Offer("a@ewr", "vultr", "A100", 1, 80.0, 2.0, 12, 120.0, 350.0, 1000.0, None, "US")
RENT = RentOptions(provider="vultr", max_hours=3.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(read_settings(Home(tmp_path), environment={}), cap_usd_per_day=5.0)


def test_a_run_whose_duration_is_unknown_may_cost_what_its_deadline_allows() -> None:
    assert cap_usd(RENT, 2.0, None) == 6.0


def test_a_run_may_cost_three_times_what_is_expected_but_never_more_than_its_deadline_allows() -> None:
    assert cap_usd(RENT, 2.0, 1.5) == 4.5
    assert cap_usd(RENT, 2.0, 4.0) == 6.0
    assert cap_usd(replace(RENT, budget_usd=1.0), 2.0, 4.0) == 1.0


def test_an_unknown_duration_counts_as_an_hour_of_the_day(ledger: Ledger, settings: Settings) -> None:
    check_day_cap(ledger, settings, RENT, 4.9, None)
    with pytest.raises(OverBudgetError, match=r"cap of \$5.00 a day"):
        check_day_cap(ledger, settings, RENT, 5.1, None)


def test_a_small_budget_does_not_forbid_a_run_of_which_nobody_knows_how_long_it_takes(
    ledger: Ledger, settings: Settings
) -> None:
    check_day_cap(ledger, settings, replace(RENT, budget_usd=0.10), 2.0, None)
    with pytest.raises(OverBudgetError, match="its cap is"):
        check_day_cap(ledger, settings, replace(RENT, budget_usd=0.10), 2.0, 0.50)


def test_what_costs_nothing_is_never_over_a_cap(ledger: Ledger, settings: Settings) -> None:
    check_day_cap(ledger, replace(settings, cap_usd_per_day=0.0), RENT, 0.0, 0.0)


def test_a_plan_names_its_offers_and_an_offer_itself() -> None:
    dearer = replace(OFFER, id="a@fra", usd_per_hour=2.5)
    ranking = rank(OfferQuery(), [dearer, OFFER, replace(OFFER, id="b@ewr", usd_per_hour=1.0)])
    assert [offer.id for offer in candidates(ranking, replace(RENT, offer_id="a"))] == ["a@ewr", "a@fra"]
    assert [offer.id for offer in candidates(ranking, replace(RENT, offer_id="a@fra"))] == ["a@fra"]
    assert candidates(ranking, RENT)[0].id == "b@ewr"


def test_an_offer_that_was_passed_over_says_why() -> None:
    ranking = rank(OfferQuery(disk_gb=1000.0), [OFFER])
    with pytest.raises(NoOfferError, match=r"a@ewr will not do: .*disk"):
        candidates(ranking, replace(RENT, offer_id="a@ewr"))
    with pytest.raises(NoOfferError, match="has no offer c@ewr"):
        candidates(ranking, replace(RENT, offer_id="c@ewr"))


def test_whoever_pays_has_read_the_price_and_what_nobody_guards() -> None:
    checks = (
        Check(Level.OK, "fine"),
        Check(Level.WARNING, "odd"),
        Check(Level.DANGER, "nothing stops the bill"),
    )
    lines = list(before_paying(Preflight(checks, (), 2.0, 1800.0, 1.0, 3.0, 12.0)))
    assert lines == [
        "! odd",
        "‼ nothing stops the bill",
        "$2.00/h, expected $1.00, at most $3.00; ends after 12 h whatever happens",
    ]


def test_instances_that_train_one_model_need_a_network_and_are_of_one_kind() -> None:
    pair = replace(RENT, instances=2)
    with pytest.raises(UsageError, match="share no private network") as refused:
        together([OFFER], pair, Capabilities(rented=True))
    assert "sweeps, converting and precomputing" in refused.value.hint
    plans = Capabilities(rented=True, private_network=True, offers_repeat=True)
    assert together([OFFER], pair, plans) == [OFFER, OFFER]
    hosts = Capabilities(rented=True, private_network=True)
    others = [replace(OFFER, id=name, gpu="H100") for name in ("b", "c", "d")]
    assert together([OFFER, *others], pair, hosts) == others[:2]
    with pytest.raises(NoOfferError, match="no 2 offers of one kind"):
        together([OFFER], pair, hosts)
