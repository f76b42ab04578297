"""What a bucket costs: storage, egress, and whether a latent cache is worth its rent. Pure arithmetic.

A directory costs nothing: whoever has one has no `StoragePrices`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ups.errors import ConfigError

SECONDS_PER_MONTH = 365.25 / 12 * 86400.0
_TB, _GB, _MB = 1e12, 1e9, 1e6


@dataclass(frozen=True, slots=True)
class StorageTerms:
    """The table `[storage]` of config.toml. The defaults are Backblaze B2's, as of 2026."""

    usd_per_tb_month: float = 6.0
    free_egress: float = 3.0
    """Downloads of so many times the stored bytes are free each month."""
    usd_per_gb_egress: float = 0.01
    """Beyond that."""
    mbit_per_s: float = 1000.0
    """Bandwidth assumed between the bucket and an instance."""
    encode_mb_per_s: float = 100.0
    """Bytes of fields that one process is assumed to encode for a latent cache."""
    usd_per_hour: float = 0.30
    """Of an instance, where none was rented from here yet."""

    @classmethod
    def parse(cls, section: Mapping[str, Any], where: str) -> "StorageTerms":
        """The terms of a section of config.toml; other keys are left alone.

        Raises:
            ConfigError: a value is no number, negative, or a rate of zero.
        """
        given = {field.name: section[field.name] for field in fields(cls) if field.name in section}
        for name, value in given.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise ConfigError(f"{where}: storage.{name} must be a number, not {value!r}")
            if value < 0 or (value == 0 and name in ("mbit_per_s", "encode_mb_per_s")):
                raise ConfigError(f"{where}: storage.{name} must be positive, not {value!r}")
        return cls(**{name: float(value) for name, value in given.items()})


def usd_per_month(stored_bytes: float, terms: StorageTerms | None) -> float | None:
    """The rent of so many bytes; None where the store costs nothing."""
    return None if terms is None else stored_bytes / _TB * terms.usd_per_tb_month


def egress_usd(downloaded_bytes: float, stored_bytes: float, terms: StorageTerms) -> float:
    """What a month's downloads cost beyond the free ones."""
    return max(0.0, downloaded_bytes - terms.free_egress * stored_bytes) / _GB * terms.usd_per_gb_egress


@dataclass(frozen=True, slots=True)
class Saving:
    """What a cache is worth to each run, and what it cost."""

    seconds: float
    """By which a run takes its first step earlier; negative where the cache makes it wait longer."""
    usd: float
    """Of the instance, for that time."""
    build_seconds: float
    build_usd: float
    usd_per_month: float
    """Rent of the cache."""

    def runs_to_pay(self, months: float = 0.0) -> int | None:
        """After how many runs it has paid, rent of so many months included; None: it never does.

        Where nothing costs money, time stands for it.
        """
        spent, gained = self.build_usd + self.usd_per_month * months, self.usd
        if spent == 0.0 and gained == 0.0:
            spent, gained = self.build_seconds, self.seconds
        if spent <= 0.0:
            return 0
        return math.ceil(spent / gained) if gained > 0.0 else None


def saving(
    *, field_bytes: float, cache_bytes: float, usd_per_hour: float, terms: StorageTerms, moves: bool
) -> Saving:
    """What a cache saves a run: bytes that need not be transferred, and encoding that is done already.

    Args:
        field_bytes: the converted files that it stands for.
        cache_bytes: the cache itself.
        usd_per_hour: of the instance.
        terms: bandwidth and pace of encoding; also the rent, where the store has one.
        moves: whether a run downloads what it uses; from a directory it reads in place.
    """
    bytes_per_s = terms.mbit_per_s * 1e6 / 8
    encoding = field_bytes / (terms.encode_mb_per_s * _MB)
    transfer = (field_bytes - cache_bytes) / bytes_per_s if moves else 0.0
    building = encoding + ((field_bytes + cache_bytes) / bytes_per_s if moves else 0.0)
    rate = usd_per_hour / 3600.0
    rent = usd_per_month(cache_bytes, terms if moves else None) or 0.0
    return Saving(encoding + transfer, (encoding + transfer) * rate, building, building * rate, rent)
