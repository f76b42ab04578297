"""Which cache a config would read, which cannot be kept, and how caches get into a store."""

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from remote.precompute import Building, build
from tests.patience import PATIENCE_S
from tests.remote.caching import FarStore
from tests.remote.conftest import write_dataset
from ups import catalog
from ups.config import TrainConfig, parse_train_config
from ups.data import latents
from ups.data.cache_shape import CacheShape
from ups.data.convert import Labour
from ups.data.projection import Recipe, differences, fingerprint
from ups.errors import ConfigError, StoreError
from ups.ranks import Ranks
from ups.stores.directory import DirectoryStore


def config(**data: Any) -> TrainConfig:
    return parse_train_config(
        {
            "data": {"task": ["darcy2d"], **data},
            "operator": {"patch": {"darcy2d": [16, 8]}},
            "stages": {"operator": {"epochs": 1}},
        }
    )


def test_cache_of_a_config_is_cut_as_its_model_cuts() -> None:
    shape = CacheShape.of_config(config())
    assert (shape.version, dict(shape.patch)) == ("upt_128d_128tok", {"darcy2d": (16, 8)})


def test_pooled_fields_are_not_cached() -> None:
    with pytest.raises(ConfigError, match=r"data\.patch_size: pooled fields are not cached"):
        CacheShape.of_config(config(patch_size=2))


# --- building -------------------------------------------------------------------------------

SHARD_BYTES = 500
VERSION = "upt_16d_8tok"


def wanted(store: DirectoryStore) -> tuple[Recipe, Path]:
    recipe = CacheShape(VERSION, 16, 8).recipe(catalog.dataset(store, "advection1d"), "train")
    return recipe, store.root / catalog.dataset_key("advection1d", "train")


def contents(store: DirectoryStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.root.rglob("latent_caches/**/*.*")}


def silent(task: str, done: int, total: int) -> None:
    pass


def build_alone(store: DirectoryStore, **options: Any) -> None:
    recipe, file = wanted(store)
    build(store, recipe, file, VERSION, silent, Building(shard_bytes=SHARD_BYTES, **options))


class TestBuilding:
    def test_by_several_processes_of_torchrun_gives_the_same_bytes(self, tmp_path: Path) -> None:
        stores = [DirectoryStore(tmp_path / name) for name in ("alone", "together")]
        for each in stores:
            write_dataset(each)
        alone, together = stores
        build_alone(alone)
        recipe, file = wanted(together)
        built: dict[int, list[int]] = {}

        def rank(number: int) -> None:
            labour = Labour(ranks=Ranks(rank=number, world_size=2))
            built[number] = []
            build(
                together, recipe, file, VERSION, lambda task, done, total: built[number].append(done),
                Building(labour, shard_bytes=SHARD_BYTES),
            )  # fmt: skip

        helper = threading.Thread(target=rank, args=(1,))
        helper.start()
        rank(0)
        helper.join(timeout=PATIENCE_S)
        assert not helper.is_alive()
        assert contents(together) == contents(alone)
        assert latents.complete(together, VERSION, recipe) is not None
        assert not list(together.root.glob(".tmp-*"))

    def test_goes_on_after_a_kill(self, store: DirectoryStore) -> None:
        code = (
            "import os, signal, sys\n"
            "from tests.remote import test_precompute as t\n"
            "from ups.stores.directory import DirectoryStore\n"
            "from pathlib import Path\n"
            "store = DirectoryStore(Path(sys.argv[1])); recipe, file = t.wanted(store)\n"
            "def die(task, done, total):\n"
            "    if done > total // 2: os.kill(os.getpid(), signal.SIGKILL)\n"
            "t.build(store, recipe, file, t.VERSION, die, t.Building(shard_bytes=t.SHARD_BYTES))\n"
        )
        killed = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert latents.complete(store, VERSION, wanted(store)[0]) is None
        left = {path.name: path.stat().st_mtime_ns for path in store.root.rglob("shard-*.safetensors")}
        assert len(left) > 5
        told: list[int] = []
        recipe, file = wanted(store)
        record = build(
            store, recipe, file, VERSION, lambda task, done, total: told.append(done),
            Building(shard_bytes=SHARD_BYTES),
        )  # fmt: skip
        assert told[0] > 12  # of 24 samples: it begins where the other was
        now = {path.name: path.stat().st_mtime_ns for path in store.root.rglob("shard-*.safetensors")}
        assert len(now) == len(record.files) - 1
        assert all(now[name] == stamp for name, stamp in left.items())

    def test_what_is_damaged_is_built_again_and_nothing_else(self, store: DirectoryStore) -> None:
        build_alone(store)
        before = contents(store)
        shards = sorted(store.root.rglob("shard-*.safetensors"))
        shards[1].write_bytes(b"cut short")
        stamps = [path.stat().st_mtime_ns for path in shards]
        build_alone(store)
        assert contents(store) == before
        changed = [
            path for path, stamp in zip(shards, stamps, strict=True) if path.stat().st_mtime_ns != stamp
        ]
        assert changed == [shards[1]]

    def test_into_a_store_that_is_not_on_this_machine(self, tmp_path: Path) -> None:
        near, far = DirectoryStore(tmp_path / "near"), FarStore(tmp_path / "far")
        for each in (near, far):
            write_dataset(each)
            build_alone(each)
        assert contents(far) == contents(near)
        # what a bucket holds cannot be proven from here: a reset stores all of it anew
        shard = next(far.root.rglob("shard-00001.safetensors"))
        shard.write_bytes(b"x" * shard.stat().st_size)
        build_alone(far, reset=True)
        assert contents(far) == contents(near)

    def test_is_for_one_process_at_a_time(self, store: DirectoryStore) -> None:
        recipe, _ = wanted(store)
        with (
            store.workspace(f"cache-{fingerprint(recipe)[:16]}"),
            pytest.raises(StoreError, match="same work"),
        ):
            build_alone(store)

    def test_reports_samples_to_their_end(self, store: DirectoryStore) -> None:
        recipe, file = wanted(store)
        told: list[tuple[str, int, int]] = []
        build(
            store, recipe, file, VERSION, lambda *progress: told.append(progress),
            Building(shard_bytes=SHARD_BYTES),
        )  # fmt: skip
        assert told[-1] == ("advection1d", 24, 24)
        assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


class TestDifferences:
    def test_are_named_one_by_one(self, store: DirectoryStore) -> None:
        build_alone(store)
        recipe, _ = wanted(store)
        record = latents.records(store, VERSION, "advection1d", "train")[fingerprint(recipe)]
        assert differences(recipe, record.recipe) == ()
        assert differences(replace(recipe, dtype="float32", projection="patches"), record.recipe) == (
            "dtype float16, wanted float32",
        )
        part = replace(recipe.parts[0], patch=8, mean=(0.25,))
        other = replace(recipe, parts=(part,), dataset_sha256="f" * 64, dim=32)
        assert differences(other, {**record.recipe, "format": 1}) == (
            "format 1, wanted 2",
            f"dataset sha256 {recipe.dataset_sha256[:12]}, wanted ffffffffffff",
            "patch 4, wanted 8",
            "normalisation [0] ± [0.7071], wanted [0.25] ± [0.7071]",
            "token width 16, wanted 32",
        )
        assert latents.mismatch(store, VERSION, other) == differences(other, record.recipe)
        assert latents.mismatch(store, "another", other) == ()
