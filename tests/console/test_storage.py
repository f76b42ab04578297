"""What a bucket costs, and when a cache has paid."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.storage import SECONDS_PER_MONTH, Saving, StorageTerms, egress_usd, saving, usd_per_month
from ups.errors import ConfigError

TERMS = StorageTerms()
BYTES = st.floats(0, 1e15)
MONEY = st.floats(0, 1e6)


def test_a_terabyte_is_six_dollars_a_month() -> None:
    assert usd_per_month(1e12, TERMS) == pytest.approx(6.0)
    assert usd_per_month(1e12, None) is None


def test_three_times_what_is_stored_may_be_downloaded_for_nothing() -> None:
    assert egress_usd(3e12, 1e12, TERMS) == 0.0
    assert egress_usd(3e12 + 5e9, 1e12, TERMS) == pytest.approx(0.05)


@given(BYTES, BYTES, BYTES)
def test_more_costs_more(less: float, more: float, stored: float) -> None:
    less, more = sorted((less, more))
    assert (usd_per_month(less, TERMS) or 0.0) <= (usd_per_month(more, TERMS) or 0.0)
    assert egress_usd(less, stored, TERMS) <= egress_usd(more, stored, TERMS)
    assert egress_usd(stored, more, TERMS) <= egress_usd(stored, less, TERMS)


class TestSaving:
    def test_is_the_bytes_not_moved_and_the_encoding_not_done(self) -> None:
        found = saving(field_bytes=10e9, cache_bytes=5e9, usd_per_hour=0.36, terms=TERMS, moves=True)
        assert found.seconds == pytest.approx(5e9 / 125e6 + 10e9 / 100e6)
        assert found.usd == pytest.approx(found.seconds * 0.0001)
        assert found.build_seconds == pytest.approx(10e9 / 100e6 + 15e9 / 125e6)
        assert found.usd_per_month == pytest.approx(0.03)

    def test_from_a_directory_is_the_encoding_alone_and_costs_nothing(self) -> None:
        found = saving(field_bytes=10e9, cache_bytes=5e9, usd_per_hour=0.0, terms=TERMS, moves=False)
        assert (found.seconds, found.usd, found.build_usd, found.usd_per_month) == (100.0, 0.0, 0.0, 0.0)
        assert found.runs_to_pay() == 1

    def test_pays_after_so_many_runs(self) -> None:
        found = Saving(seconds=60, usd=0.02, build_seconds=120, build_usd=0.05, usd_per_month=0.01)
        assert found.runs_to_pay() == 3
        assert found.runs_to_pay(months=12) == math.ceil(0.17 / 0.02)

    def test_never_pays_where_it_makes_a_run_wait(self) -> None:
        terms = replace(TERMS, mbit_per_s=1.0, encode_mb_per_s=1e6)
        found = saving(field_bytes=1e9, cache_bytes=2e9, usd_per_hour=1.0, terms=terms, moves=True)
        assert found.seconds < 0
        assert found.runs_to_pay() is None

    @given(BYTES, BYTES, BYTES, MONEY)
    def test_grows_with_the_fields_and_shrinks_with_the_cache(
        self, cache: float, some: float, more: float, price: float
    ) -> None:
        some, more = sorted((some, more))

        def of(fields: float, kept: float) -> Saving:
            return saving(field_bytes=fields, cache_bytes=kept, usd_per_hour=price, terms=TERMS, moves=True)

        assert of(some, cache).seconds <= of(more, cache).seconds
        assert of(cache, more).usd <= of(cache, some).usd
        assert of(cache, some).usd_per_month <= of(cache, more).usd_per_month

    @given(st.floats(0.001, 100), st.floats(0, 100), st.floats(0, 10), st.floats(0, 50), st.floats(0, 50))
    def test_takes_more_runs_to_pay_the_longer_it_is_kept(
        self, usd: float, built: float, rent: float, months: float, longer: float
    ) -> None:
        found = Saving(1.0, usd, 1.0, built, rent)
        months, longer = sorted((months, longer))
        sooner, later = found.runs_to_pay(months), found.runs_to_pay(longer)
        assert sooner is not None
        assert later is not None
        assert sooner <= later
        assert later * usd >= (built + rent * longer) * (1 - 1e-9)


def test_a_month_is_a_twelfth_of_a_year() -> None:
    assert pytest.approx(365.25 * 86400) == SECONDS_PER_MONTH * 12


class TestTerms:
    def test_come_from_config_toml(self) -> None:
        found = StorageTerms.parse({"usd_per_tb_month": 5, "free_egress": 1.5, "later": "x"}, "config.toml")
        assert found == StorageTerms(usd_per_tb_month=5.0, free_egress=1.5)

    @pytest.mark.parametrize(
        "section", [{"usd_per_tb_month": "6"}, {"free_egress": -1}, {"mbit_per_s": 0}, {"usd_per_hour": True},
                    {"encode_mb_per_s": float("nan")}],
    )  # fmt: skip
    def test_that_are_no_terms_are_refused(self, section: dict[str, object]) -> None:
        (name,) = section
        with pytest.raises(ConfigError, match=rf"config\.toml: storage\.{name}"):
            StorageTerms.parse(section, "config.toml")
