"""The Data screen: what a person sees of a bucket, and what their keys do to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from console.fleet.model import InstanceState
from console.home import Home
from console.tui.app import UpsConsole
from console.tui.screens.launch import LaunchScreen
from tests.console.buckets import BucketOperations, write_run
from tests.console.fleet.test_ledger import intend
from tests.console.tui.conftest import seen, until, until_seen
from tests.ups.stored import VERSION, Bucket, print_of, put, put_cache, put_dataset
from ups.errors import StoreError

SIZE = (120, 40)
A = print_of(1)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    bucket = Bucket(tmp_path / "bucket")
    put_cache(bucket, {A: put_dataset(bucket)["train"]})
    put_dataset(bucket, "darcy2d")
    put_cache(bucket, {A: "another dataset"}, task="darcy2d")
    put(bucket, "full/burgers1d/burgers1d_train.h5", b"old")
    return bucket


@pytest.fixture
def operations(home: Home, bucket: Bucket) -> BucketOperations:
    return BucketOperations(home, bucket)


@asynccontextmanager
async def console(operations: BucketOperations, size: tuple[int, int] = SIZE) -> AsyncIterator[Pilot[None]]:
    """The console with its first screen read, which is left once all that was asked for has come."""
    app = UpsConsole(operations)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen) and bool(app.screen.configs))
        yield pilot
        await until(pilot, lambda: not any(worker.is_running for worker in app.workers))
        await pilot.pause(0.05)


async def on_data(pilot: Pilot[None]) -> str:
    """Go to the Data screen and wait until the store was read."""
    await pilot.press("4")
    return await until_seen(pilot, "✓ verified", "a month", "Advection, 1-D")


async def on_caches(pilot: Pilot[None]) -> str:
    await on_data(pilot)
    await pilot.press("tab")
    return await until_seen(pilot, f"{VERSION}, advection1d")


async def test_shows_datasets_and_caches_with_state_size_and_rent(operations: BucketOperations) -> None:
    async with console(operations) as pilot:
        screen = await on_data(pilot)
        line = next(line for line in screen.splitlines() if "▸ [ ] advection1d" in line)
        for text in ("✓ verified", "2.2 kB", "8/1/1", "32", "<$0.01", "✓ 80 B"):
            assert text in line
        assert "unverified" in next(line for line in screen.splitlines() if "[ ] burgers1d" in line)
        assert "stale" in next(line for line in screen.splitlines() if "[ ] darcy2d " in line)
        assert "s3://bucket/prefix" in screen
        assert "a month are free" in screen


async def test_says_that_it_is_reading_and_that_it_could_not(
    operations: BucketOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise StoreError("the bucket refuses the key", hint="check B2_APP_KEY")

    with monkeypatch.context() as patch:
        patch.setattr(operations, "inventory", refuse)
        async with console(operations) as pilot:
            await pilot.press("4")
            screen = await until_seen(
                pilot, "r tries again", "the bucket refuses the key", "check B2_APP_KEY"
            )
            assert "Traceback" not in screen
            patch.undo()
            await pilot.press("r")
            await until_seen(pilot, "✓ verified")


async def test_the_details_of_a_cache_say_why_and_what_it_is_worth(operations: BucketOperations) -> None:
    async with console(operations) as pilot:
        await on_caches(pilot)
        screen = await until_seen(pilot, "saves a run", "a month to keep", A[:12], "float16, grid 32")
        assert "pays after" in screen
        await pilot.press("down")
        await until_seen(pilot, "the dataset is another one now", "c builds what is missing")


async def test_deleting_asks_for_the_name_and_names_living_runs(
    operations: BucketOperations, bucket: Bucket
) -> None:
    write_run(operations.home, "1124-aaaa", {})
    entry = intend(operations.ledger, run="1124-aaaa")
    operations.ledger.move(entry.label, InstanceState.REQUESTED, "asked")
    async with console(operations) as pilot:
        await on_data(pilot)
        await pilot.press("D")
        await until_seen(pilot, "deletes the dataset advection1d, 2.2 kB", "ALIVE AND USING IT: 1124-aaaa")
        await pilot.press(*"advection", "enter")
        await until_seen(pilot, "nothing was deleted")
        assert list(bucket.list("pdebench/full/advection1d/"))
        await pilot.press("D")
        await until_seen(pilot, "type advection1d")
        await pilot.press(*"advection1d", "enter")
        await until_seen(pilot, "the dataset advection1d is deleted")
        assert not list(bucket.list("pdebench/full/advection1d/"))


async def test_a_cache_is_deleted_alone(operations: BucketOperations, bucket: Bucket) -> None:
    async with console(operations) as pilot:
        await on_caches(pilot)
        await pilot.press("D")
        await until_seen(pilot, f"deletes the cache {VERSION} of advection1d")
        await pilot.press(*VERSION, "enter")
        await until_seen(pilot, f"the cache {VERSION} of advection1d is deleted")
        assert [row.task for row in operations.caches()] == ["darcy2d"]
        assert list(bucket.list("pdebench/full/advection1d/"))


async def test_fetching_asks_where_to_and_brings_it(operations: BucketOperations, tmp_path: Path) -> None:
    async with console(operations) as pilot:
        await on_data(pilot)
        await pilot.press("f")
        await until_seen(pilot, "to which folder?", str(tmp_path)[-30:] + "▏")  # the end of a long path
        await pilot.press(*str(tmp_path / "here"), "enter")
        await until_seen(pilot, "advection1d: verified, in")
        assert len(list((tmp_path / "here").iterdir())) == 3
        await pilot.press("f")
        await until_seen(pilot, "to which folder?")
        await pilot.press("escape")
        await until(pilot, lambda: "to which folder?" not in seen(pilot.app))


async def test_verifying_says_what_is_damaged(operations: BucketOperations, bucket: Bucket) -> None:
    key = f"pdebench/latent_caches/{VERSION}/advection1d_train/{A}/shard-00001.safetensors"
    bucket.write_bytes(key, bucket.read_bytes(key)[::-1])
    async with console(operations) as pilot:
        await on_data(pilot)
        await pilot.press("v")
        await until_seen(pilot, "advection1d: every byte as recorded")
        await pilot.press("tab", "v")
        await until_seen(pilot, "advection1d train is damaged")


async def test_building_a_cache_asks_for_the_version(
    operations: BucketOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        operations, "build_caches", lambda version, tasks, **_: asked.append((version, list(tasks)))
    )
    async with console(operations) as pilot:
        await on_data(pilot)
        await pilot.press("space", "c")
        await until_seen(pilot, "caching advection1d", "which version?", VERSION)
        await pilot.press("enter")
        await until_seen(pilot, f"advection1d: cached in {VERSION}")
        await pilot.press("tab", "down", "c")
        await until_seen(pilot, f"darcy2d: cached in {VERSION}")
    assert asked == [(VERSION, ["advection1d"]), (VERSION, ["darcy2d"])]


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (62, 20)])
async def test_fits_other_terminals(operations: BucketOperations, size: tuple[int, int]) -> None:
    async with console(operations, size) as pilot:
        await pilot.press("4")
        screen = await until_seen(pilot, "advection1d", "✓ verified", VERSION)
        assert all(len(line) <= size[0] for line in screen.splitlines())


async def test_an_empty_bucket_offers_to_make_data(home: Home, tmp_path: Path) -> None:
    async with console(BucketOperations(home, Bucket(tmp_path / "empty"))) as pilot:
        await pilot.press("4")
        await until_seen(pilot, "m makes reference data", "none yet: c builds one")
        await pilot.press("c")
        await until_seen(pilot, "a cache is made of a dataset")
        await pilot.press("tab", "v")
        await until_seen(pilot, "there is nothing here")
