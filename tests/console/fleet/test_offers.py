import dataclasses
from typing import Any

import pytest

from console.fleet.model import Offer, OfferQuery
from console.fleet.offers import NoOfferError, rank

BASE = Offer(
    id="1", provider="vast", gpu="RTX 4090", num_gpus=1, vram_gb=24.6, usd_per_hour=0.30, cpu_cores=16,
    ram_gb=64.0, disk_gb=512.0, network_mbps=860.0, reliability=0.997, region="Poland, PL", machine="m1",
    cuda=12.8, usd_per_gb=0.002,
)  # fmt: skip
QUERY = OfferQuery(gpus=("RTX_4090",))


def offer(**changes: Any) -> Offer:
    return dataclasses.replace(BASE, **changes)


def query(**changes: Any) -> OfferQuery:
    return dataclasses.replace(QUERY, **changes)


def ids(query: OfferQuery, *offers: Offer, **options: Any) -> list[str]:
    return [offer.id for offer in rank(query, offers, **options).chosen]


def test_the_cheapest_comes_first() -> None:
    assert ids(QUERY, offer(id="a", usd_per_hour=0.4), offer(id="b", usd_per_hour=0.3)) == ["b", "a"]


def test_the_wanted_gpu_comes_before_a_cheaper_fallback() -> None:
    wanted = query(gpus=("RTX_5090", "RTX_4090"))
    assert ids(wanted, offer(id="a", usd_per_hour=0.2), offer(id="b", gpu="RTX 5090", usd_per_hour=0.9)) == [
        "b",
        "a",
    ]


def test_traffic_is_part_of_the_price() -> None:
    dear_traffic = offer(id="a", usd_per_hour=0.25, usd_per_gb=0.02)
    cheap_traffic = offer(id="b", usd_per_hour=0.30, usd_per_gb=0.0)
    assert ids(QUERY, dear_traffic, cheap_traffic) == ["a", "b"]
    assert ids(QUERY, dear_traffic, cheap_traffic, traffic_gb=20, hours=4) == ["b", "a"]
    ranking = rank(query(max_usd_per_hour=0.30), [dear_traffic], traffic_gb=20, hours=4)
    assert ranking.chosen == ()
    assert "with disk and traffic" in ranking.passed_over[0][1]


@pytest.mark.parametrize(
    ("demand", "lacking", "need", "reason"),
    [
        ({}, {"gpu": "RTX 4090D"}, "GPU", "no RTX_4090"),
        ({"num_gpus": 2}, {}, "number of GPUs", "1 GPUs instead of 2"),
        ({}, {"spot": True}, "kind of rent", "taken away"),
        ({"spot": True}, {}, "kind of rent", "not for bidding"),
        ({"min_vram_gb": 48}, {}, "VRAM", "24.6 GB of VRAM, 48 needed"),
        ({"disk_gb": 600}, {}, "disk", "512 GB of disk, 600 needed"),
        ({"min_network_mbps": 1000}, {}, "network", "860 Mbit/s, 1000 needed"),
        ({"min_reliability": 0.999}, {}, "reliability", "reliability 99.7%, 99.9% needed"),
        ({"cuda": 12.10}, {"cuda": 12.0}, "CUDA", "takes CUDA 12"),
        ({"cuda": 13.0}, {}, "CUDA", "the image needs 13"),
        ({"region": "US"}, {}, "region", "it is in Poland, PL"),
        ({"max_usd_per_hour": 0.25}, {}, "price", r"\$0.300/h .* at most \$0.250"),
    ],
)
def test_what_cannot_do_the_job_is_passed_over_with_its_reason(
    demand: dict[str, Any], lacking: dict[str, Any], need: str, reason: str
) -> None:
    ranking = rank(query(**demand), [offer(**lacking)])
    assert ranking.chosen == ()
    assert [found for found, _ in ranking.passed_over] == [offer(**lacking)]
    with pytest.raises(NoOfferError, match=f"1 by {need}.*{reason}") as error:
        ranking.best()
    assert error.value.exit_code == 5
    assert error.value.hint


@pytest.mark.parametrize(
    "demand",
    [
        {"min_vram_gb": 24}, {"disk_gb": 512}, {"min_network_mbps": 860}, {"min_reliability": 0.997},
        {"cuda": 12.8}, {"cuda": 12.4}, {"region": "pl"}, {"region": "Poland"}, {"region": "poland, pl"},
        {"max_usd_per_hour": 0.30}, {"gpus": ()},
    ],
)  # fmt: skip
def test_what_just_suffices_is_taken(demand: dict[str, Any]) -> None:
    assert ids(query(**demand), BASE) == ["1"]


def test_what_nobody_knows_of_an_offer_does_not_rule_it_out() -> None:
    here = offer(gpu="CPU", num_gpus=0, vram_gb=0, network_mbps=None, reliability=None, cuda=None)
    assert ids(OfferQuery(cuda=12.8, min_network_mbps=100), here) == ["1"]


def test_a_machine_that_failed_is_not_rented_again() -> None:
    ranking = rank(
        QUERY,
        [offer(id="a", usd_per_hour=0.1), offer(id="b", machine="m2")],
        failed_machines={"m1": "never opened SSH"},
    )
    assert [found.id for found in ranking.chosen] == ["b"]
    assert ranking.passed_over[0][1] == "machine m1 failed before: never opened SSH"


def test_the_error_says_what_ruled_the_last_ones_out_and_how_near_one_came() -> None:
    offers = [
        offer(id="a", gpu="RTX 3090", usd_per_hour=0.1),
        offer(id="b", disk_gb=50.0, usd_per_hour=0.2),
        offer(id="c", usd_per_hour=0.34, region="Quebec, CA"),
        offer(id="d", usd_per_hour=0.31),
    ]
    with pytest.raises(NoOfferError) as error:
        rank(query(max_usd_per_hour=0.25), offers).best()
    assert "none of 4 offers" in error.value.message
    assert "1 by GPU, 1 by disk, 2 by price" in error.value.message
    assert "RTX 4090 in Poland, PL at $0.31/h" in error.value.message
    assert "price cap" in error.value.hint


def test_an_empty_market_is_said_to_be_empty() -> None:
    with pytest.raises(NoOfferError, match="nobody offers a RTX_4090 ×1 now"):
        rank(QUERY, []).best()
