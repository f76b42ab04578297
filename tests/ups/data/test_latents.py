"""A cache holds exactly what the fixed encoder makes, is known by its fingerprint, and never lies."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ups import catalog
from ups.data import latents
from ups.data.fields import Fields
from ups.data.latents import CacheReader, caches, complete, publish_shards, split_folder, write_shards
from ups.data.projection import Part, Recipe, decode, encode, fingerprint, recipe_of
from ups.errors import ConfigError, DataError, StoreError
from ups.patches import compact
from ups.store import ObjectStore
from ups.stores.directory import DirectoryStore

VERSION = "upt_16d_8tok"
PART = Part("state", (6, 3, 8, 1), 4, (0.5,), (2.0,))
RECIPE = Recipe("advection1d", "train", (PART,), 16, "float32", "a" * 64)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    dims, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    edges = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    grid = tuple(edge * draw(st.integers(1, 3)) for edge in edges)
    lead = (2, 3) if (state := draw(st.booleans())) else (2,)
    mean = tuple(draw(st.floats(-3, 3)) for _ in range(channels))
    std = tuple(draw(st.just(0.0) | st.floats(0.1, 10)) for _ in range(channels))
    return Part("state" if state else "target", (*lead, *grid, channels), compact(edges), mean, std)


class TestProjection:
    @settings(deadline=None, max_examples=60)
    @given(part=parts(), seed=st.integers(0, 99))
    def test_decoding_gives_the_field_back(self, part: Part, seed: int) -> None:
        field = np.random.default_rng(seed).normal(size=part.shape).astype(np.float32)
        coefficients = encode(field, part, "float32")
        assert coefficients.shape == part.latent_shape
        np.testing.assert_allclose(decode(coefficients, part), field, atol=1e-5)

    def test_it_is_what_the_encoder_embeds(self) -> None:
        import torch

        from ups.models.codec import FieldCodec
        from ups.models.spec import GridTask

        part = Part("state", (2, 8, 12, 2), (4, 3), (0.3, -1.0), (2.0, 0.5))
        part = replace(part, role="target")
        codec = FieldCodec(
            GridTask("reaction_diffusion2d", (8, 12), (4, 3), 0.1), 2, 32, role="state", mean_field=False
        )
        codec.mean.copy_(torch.tensor(part.mean))
        codec.std.copy_(torch.tensor(part.std))
        field = np.random.default_rng(0).normal(size=part.shape).astype(np.float32)
        tokens = codec.encode(codec.normalise(torch.from_numpy(field)))
        embedded = torch.from_numpy(encode(field, part, "float32")) @ codec.basis.T
        torch.testing.assert_close(embedded, tokens)


class TestFingerprint:
    def test_is_the_same_in_every_process(self) -> None:
        assert fingerprint(RECIPE) == "09f255fbf0677eec86bbe10ce136dc4baf8ec8329e00da2d286ad302773b1ef1"

    @pytest.mark.parametrize(
        "change",
        [
            {"task": "burgers1d"}, {"split": "val"}, {"dim": 32}, {"dtype": "float16"}, {"seed": 1},
            {"dataset_sha256": "b" * 64}, {"projection": "another"}, {"parts": (replace(PART, patch=2),)},
            {"parts": (replace(PART, mean=(0.6,)),)}, {"parts": (replace(PART, std=(2.1,)),)},
            {"parts": (replace(PART, shape=(7, 3, 8, 1)),)},
        ],
    )  # fmt: skip
    def test_changes_with_everything_that_a_cache_depends_on(self, change: dict[str, Any]) -> None:
        assert fingerprint(replace(RECIPE, **change)) != fingerprint(RECIPE)

    def test_and_the_list_of_caches_need_neither_torch_nor_safetensors(self) -> None:
        code = (
            "import sys; sys.modules.update(torch=None, safetensors=None, scipy=None)\n"
            "from ups.data import latents, projection\n"
            "from ups.stores.directory import DirectoryStore; from pathlib import Path\n"
            "print(latents.caches(DirectoryStore(Path('/nowhere'))))"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "[]"


# --- in a store -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    from tests.remote.conftest import write_dataset

    made = DirectoryStore(tmp_path / "store")
    write_dataset(made)
    return made


def recipe(store: ObjectStore, split: str = "train", **options: Any) -> Recipe:
    given: dict[str, Any] = {"dim": 16, "patch": None, "tokens": 8, "dtype": "float32", **options}
    return recipe_of(catalog.dataset(store, "advection1d"), split, **given)


def fields_of(store: ObjectStore, split: str) -> Fields:
    path = store.local_path(catalog.dataset_key("advection1d", split))
    assert path is not None
    return Fields.open(path)


def build(
    store: DirectoryStore, split: str = "train", shard_bytes: int = 8 * 1024, **options: Any
) -> dict[str, Any]:
    wanted = recipe(store, split, **options)
    with store.staging() as folder:
        shards = write_shards(fields_of(store, split), wanted, folder, shard_bytes=shard_bytes)
        return publish_shards(store, VERSION, wanted, shards, folder)


def folder_of(store: DirectoryStore, wanted: Recipe) -> Path:
    return store.root / split_folder(VERSION, wanted.task, wanted.split) / fingerprint(wanted)


class TestACache:
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 2e-3)])
    def test_reads_back_as_the_fields(self, store: DirectoryStore, dtype: str, tolerance: float) -> None:
        record = build(store, dtype=dtype)
        wanted = recipe(store, dtype=dtype)
        assert len(record["shards"]) > 1
        reader = CacheReader(folder_of(store, wanted), record)
        states = fields_of(store, "train").states
        assert states is not None
        assert reader.samples == len(states) == 24
        for sample in (0, 1, 11, 23):
            np.testing.assert_allclose(
                decode(reader.read("state", sample), wanted.parts[0]), states[sample], atol=tolerance
            )
        with pytest.raises(IndexError):
            reader.read("state", 24)
        reader.close()

    def test_is_not_larger_than_its_fields_in_the_same_dtype(self, store: DirectoryStore) -> None:
        record = build(store, shard_bytes=latents.SHARD_BYTES)
        file = catalog.dataset(store, "advection1d").splits["train"].bytes
        assert sum(shard["bytes"] for shard in record["shards"]) <= file

    def test_is_complete_once_its_manifest_is_written(self, store: DirectoryStore) -> None:
        wanted = recipe(store)
        assert not complete(store, VERSION, wanted)
        build(store)
        assert complete(store, VERSION, wanted)
        assert not complete(store, VERSION, recipe(store, dtype="float16"))

    def test_of_another_fingerprint_lies_beside(self, store: DirectoryStore) -> None:
        build(store)
        build(store, dtype="float16")
        assert {entry.dtype for entry in caches(store)} == {"float16", "float32"}
        assert {entry.state for entry in caches(store)} == {"complete"}

    def test_that_is_damaged_is_not_read(self, store: DirectoryStore) -> None:
        record = build(store)
        shard = folder_of(store, recipe(store)) / record["shards"][1]["file"]
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
        with pytest.raises(StoreError, match="missing or damaged"):
            CacheReader(shard.parent, record)

    def test_building_goes_on_with_the_shards_that_are_there(self, store: DirectoryStore) -> None:
        build(store)
        shard = folder_of(store, recipe(store)) / "shard-00000.safetensors"
        before = shard.stat().st_mtime_ns
        store.delete(f"{split_folder(VERSION, 'advection1d', 'train')}/manifest.json")
        build(store)
        assert shard.stat().st_mtime_ns == before

    def test_refuses_values_that_do_not_fit_the_dtype(self, store: DirectoryStore) -> None:
        wanted = recipe(store, dtype="float16")
        tiny = replace(wanted, parts=(replace(wanted.parts[0], std=(1e-6,)),))
        with store.staging() as folder, pytest.raises(DataError, match="does not fit float16"):
            list(write_shards(fields_of(store, "train"), tiny, folder))

    def test_refuses_a_patch_that_has_more_values_than_a_token(self, store: DirectoryStore) -> None:
        with pytest.raises(ConfigError, match=r"has 32 values .* cannot be cached before"):
            recipe(store, tokens=1)

    def test_refuses_a_dataset_that_is_being_written(self, store: DirectoryStore) -> None:
        key = catalog.manifest_key("advection1d")
        store.write_bytes(key, store.read_bytes(key).replace(b'"complete"', b'"writing"'))
        with pytest.raises(DataError, match="advection1d is writing"):
            recipe(store)


class TestListing:
    def test_says_what_is_complete(self, store: DirectoryStore) -> None:
        build(store, "val")
        [entry] = caches(store)
        assert (entry.version, entry.task, entry.split) == (VERSION, "advection1d", "val")
        assert (entry.state, entry.samples, entry.dtype) == ("complete", 8, "float32")
        assert entry.fingerprint == fingerprint(recipe(store, "val"))
        assert entry.bytes > 8 * 6 * 32 * 4

    def test_says_what_is_stale(self, store: DirectoryStore) -> None:
        from tests.remote.conftest import write_dataset

        build(store)
        write_dataset(store, seed=4)
        [entry] = caches(store)
        assert (entry.state, entry.note) == ("stale", "the dataset is another one now")

    def test_says_what_is_incomplete(self, store: DirectoryStore) -> None:
        record = build(store)
        folder = split_folder(VERSION, "advection1d", "train")
        store.delete(f"{folder}/{fingerprint(recipe(store))}/{record['shards'][0]['file']}")
        assert [entry.state for entry in caches(store)] == ["incomplete"]
        store.delete(f"{folder}/manifest.json")
        assert [entry.state for entry in caches(store)] == ["incomplete"]

    @pytest.mark.parametrize("content", [b"{", b"[]", b'{"caches": {"x": {}}}', b'{"caches": 5}'])
    def test_says_what_is_damaged(self, store: DirectoryStore, content: bytes) -> None:
        build(store)
        store.write_bytes(f"{split_folder(VERSION, 'advection1d', 'train')}/manifest.json", content)
        assert [entry.state for entry in caches(store)] == ["damaged"]

    @pytest.mark.parametrize("root", ["pdebench/latent_caches", "latent_caches"])
    def test_says_what_older_scripts_left(self, store: DirectoryStore, root: str) -> None:
        for number in range(2):
            store.write_bytes(f"{root}/old/advection1d_train/sample_{number:05d}.pt", b"123")
        [entry] = caches(store)
        assert (entry.state, entry.bytes, entry.version) == ("legacy", 6, "old")

    def test_passes_over_what_is_no_cache(self, store: DirectoryStore) -> None:
        store.write_bytes("pdebench/latent_caches/readme.txt", b"hello")
        store.write_bytes("pdebench/latent_caches/v/other_train/x", json.dumps({}).encode())
        assert caches(store) == []
