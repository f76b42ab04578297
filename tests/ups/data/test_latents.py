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
from ups.cache_catalog import caches
from ups.data.cache_build import SHARD_BYTES, CacheBuild
from ups.data.cached_fields import CachedFields
from ups.data.fields import Fields
from ups.data.latents import CacheRecord, complete, publish, split_folder
from ups.data.projection import Part, Recipe, decode, encode, fingerprint, recipe_of
from ups.errors import ConfigError, DataError
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

    @settings(deadline=None, max_examples=60)
    @given(part=parts(), seed=st.integers(0, 99), samples=st.integers(0, 2))
    def test_half_precision_keeps_ten_bits_of_each_deviation(
        self, part: Part, seed: int, samples: int
    ) -> None:
        scale = np.array([value or 1.0 for value in part.std])
        deviations = np.random.default_rng(seed).normal(size=(samples, *part.shape[1:])) * 10.0
        field = (deviations * scale + np.array(part.mean)).astype(np.float32)
        coefficients = encode(field, part, "float16")
        assert coefficients.dtype == np.float16
        error = np.abs(decode(coefficients, part) - field) / scale
        assert (error <= 2.0**-11 * np.abs(deviations) + 1e-5).all()

    def test_halves_are_widened_as_numpy_does_it(self) -> None:
        halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
        halves = halves[np.isfinite(halves)]
        plain = Part("target", (len(halves), 1, 1), 1, (0.0,), (1.0,))
        widened = decode(halves.reshape(-1, 1, 1), plain)
        np.testing.assert_array_equal(widened.reshape(-1), halves.astype(np.float32))

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
        assert fingerprint(RECIPE) == "e3e927bf0172a53ec1890c21fc0fbe9cb3e7bef72caf3e3c2b4ae6c90386afe4"

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
            "from ups import cache_catalog; print(cache_catalog.caches(DirectoryStore(Path('/nowhere'))))"
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


def file_of(store: ObjectStore, split: str) -> Path:
    path = store.local_path(catalog.dataset_key("advection1d", split))
    assert path is not None
    return path


def fields_of(store: ObjectStore, split: str) -> Fields:
    return Fields.open(file_of(store, split))


def build(
    store: DirectoryStore, split: str = "train", shard_bytes: int = 4 * 1024, **options: Any
) -> CacheRecord:
    wanted = recipe(store, split, **options)
    with store.staging() as folder:
        work = CacheBuild(wanted, file_of(store, split), folder, shard_bytes=shard_bytes)
        for shard in work.missing():
            work.convert(shard, lambda samples: None)
        return publish(store, VERSION, wanted, work.finish(), folder)


def folder_of(store: DirectoryStore, wanted: Recipe) -> Path:
    return store.root / split_folder(VERSION, wanted.task, wanted.split) / fingerprint(wanted)


class TestACache:
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3)])
    def test_reads_back_as_the_fields(self, store: DirectoryStore, dtype: str, tolerance: float) -> None:
        record = build(store, dtype=dtype, shard_bytes=2 * 1024)
        assert len(record.shards) > 1
        cached = CachedFields.open(folder_of(store, recipe(store, dtype=dtype)))
        fields = fields_of(store, "train")
        assert fields.states is not None
        assert cached.states is not None
        assert cached.samples == len(cached.states) == record.samples == 24
        np.testing.assert_allclose(np.asarray(cached.states), fields.states, rtol=0, atol=tolerance)

    def test_is_not_larger_than_its_fields_in_the_same_dtype(self, store: DirectoryStore) -> None:
        record = build(store, shard_bytes=SHARD_BYTES)
        assert record.bytes <= catalog.dataset(store, "advection1d").splits["train"].bytes

    def test_is_complete_once_its_manifest_is_written(self, store: DirectoryStore) -> None:
        wanted = recipe(store)
        assert complete(store, VERSION, wanted) is None
        record = build(store)
        assert complete(store, VERSION, wanted) == record
        assert complete(store, VERSION, recipe(store, dtype="float16")) is None

    def test_of_another_fingerprint_lies_beside(self, store: DirectoryStore) -> None:
        build(store)
        build(store, dtype="float16")
        assert {entry.dtype for entry in caches(store)} == {"float16", "float32"}
        assert {entry.state for entry in caches(store)} == {"verified"}

    def test_that_is_cut_short_is_not_read(self, store: DirectoryStore) -> None:
        record = build(store)
        shard = folder_of(store, recipe(store)) / record.shards[1].file
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(DataError, match="cut short"):
            CachedFields.open(shard.parent)

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
        with store.staging() as folder:
            work = CacheBuild(tiny, file_of(store, "train"), folder)
            with pytest.raises(DataError, match="does not fit float16"):
                work.convert(work.shards[0], lambda samples: None)

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
        assert (entry.state, entry.samples, entry.dtype) == ("verified", 8, "float32")
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
        store.delete(f"{folder}/{fingerprint(recipe(store))}/{record.shards[0].file}")
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
