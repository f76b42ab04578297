"""What a launch pins, and what it says of data that the store lacks."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.api import Level, RentOptions
from console.fleet.model import OfferQuery
from console.runs import data
from ups.data.convert import make
from ups.dataset_keys import DatasetKeys
from ups.errors import NotFoundError
from ups.stores.directory import DirectoryStore

TASKS = ("advection1d", "darcy2d")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """Has one of the two tasks."""
    found = DirectoryStore(tmp_path)
    make(found, "advection1d", samples=3)
    return found


def test_task_that_the_store_lacks_fails(store: DirectoryStore) -> None:
    there, lacking = data.checks(store, TASKS, DatasetKeys())
    assert (there.level, there.text) == (Level.OK, "advection1d: 3 training samples")
    assert (lacking.level, lacking.code) == (Level.FAILED, "not_found")
    with pytest.raises(NotFoundError, match="darcy2d"):
        data.pins(store, TASKS, DatasetKeys())


def test_task_that_a_key_names_is_left_to_the_machine(store: DirectoryStore) -> None:
    keys = DatasetKeys.parse("darcy2d_full_v1")
    there, keyed = data.checks(store, TASKS, keys)
    assert there.level is Level.OK
    assert keyed.level is Level.WARNING
    assert "fetch darcy2d_full_v1" in keyed.text
    assert set(data.pins(store, TASKS, keys)) == {"advection1d"}


def test_a_disk_that_cannot_hold_the_data_is_refused_before_paying(store: DirectoryStore) -> None:
    rent = RentOptions(provider="vast", query=OfferQuery(disk_gb=1e-6))
    (check,) = data.disk_checks(store, TASKS, rent)
    assert (check.level, check.code) == (Level.FAILED, "config")
    assert "too small for" in check.text
    assert check.hint == "--disk 17"
    for change in (
        {"volume_gb": 40.0},
        {"query": OfferQuery()},
        {"provider": "local"},
        {"instance": "18042"},
    ):
        assert list(data.disk_checks(store, TASKS, replace(rent, **change))) == []
