"""A cache holds the same bytes whoever built it and however often it was interrupted."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from tests.ups.converted import write_advection, write_darcy
from ups.data import cache_build, crew
from ups.data.cache_build import CacheBuild, CacheFile, plan
from ups.data.cached_fields import COLUMNS_FILE, CachedFields
from ups.data.fields import FieldArray, Fields
from ups.data.projection import NORMALISED, PLAIN, Dtype, Part, Recipe, Role
from ups.data.split import open_split
from ups.errors import DataError, NotFoundError
from ups.store import file_sha256

SHARD_BYTES = 2000


def recipe_for(file: Path, dtype: Dtype = "float32") -> Recipe:
    fields = Fields.open(file)
    arrays: dict[Role, FieldArray | None] = {
        "state": fields.states, "input": fields.inputs, "target": fields.targets
    }  # fmt: skip
    projection, mean, std = (NORMALISED, 0.1, 1.5) if dtype == "float16" else (PLAIN, 0.0, 1.0)
    parts = tuple(
        Part(role, array.shape, 4, (mean,), (std,)) for role, array in arrays.items() if array is not None
    )
    return Recipe(fields.spec.name, fields.split, parts, 16, dtype, file_sha256(file), projection)


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_advection(tmp_path_factory.mktemp("a"), train=9)["train"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_darcy(tmp_path_factory.mktemp("d"), train=7)["train"]


def build(file: Path, folder: Path, dtype: Dtype = "float32") -> list[CacheFile]:
    work = CacheBuild(recipe_for(file, dtype), file, folder, shard_bytes=SHARD_BYTES)
    for shard in work.missing():
        work.convert(shard, lambda samples: None)
    return work.finish()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


class TestThePlan:
    @settings(deadline=None)
    @given(samples=st.integers(1, 300), values=st.integers(1, 40), shard_bytes=st.integers(1, 5000))
    def test_cuts_all_samples_once_into_even_shards_that_are_large(
        self, samples: int, values: int, shard_bytes: int
    ) -> None:
        part = Part("state", (samples, 1, values, 1), 1, (0.0,), (1.0,))
        shards = plan(Recipe("advection1d", "train", (part,), 16, "float32", ""), shard_bytes)
        assert [index for shard in shards for index in shard.span] == list(range(samples))
        sizes = [len(shard.span) for shard in shards]
        assert max(sizes) - min(sizes) <= 1
        assert len(shards) == 1 or min(sizes) * values * 4 >= shard_bytes
        assert all(one.span.stop == other.span.start for one, other in pairwise(shards))


class TestWhatIsBuilt:
    @pytest.mark.parametrize("name", ["trajectories", "pairs"])
    def test_opens_as_the_fields_that_it_was_made_of(
        self, name: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        file = request.getfixturevalue(name)
        build(file, tmp_path)
        fields, cached = Fields.open(file), open_split(tmp_path)
        assert isinstance(cached, CachedFields)
        for name in ("spec", "split", "dt", "axes", "provenance", "samples", "grid"):
            assert getattr(cached, name) == getattr(fields, name)
        for name in ("states", "inputs", "targets", "parameters", "times", "initial_condition", "sample"):
            ours, theirs = getattr(cached, name), getattr(fields, name)
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                np.testing.assert_array_equal(np.asarray(ours), theirs)
        np.testing.assert_array_equal(cached.coordinates[0], fields.coordinates[0])

    def test_is_what_any_reader_of_safetensors_reads(self, trajectories: Path, tmp_path: Path) -> None:
        files = build(trajectories, tmp_path, "float16")
        rows = 0
        for file in files[:-1]:
            with safe_open(tmp_path / file.file, framework="np") as shard:
                found = shard.get_tensor("latents.state")
                assert found.dtype == np.float16
                assert shard.metadata()["fingerprint"]
            rows += len(found)
        assert rows == 9
        with safe_open(tmp_path / COLUMNS_FILE, framework="np") as columns:
            assert {"parameters", "times", "x"} <= set(columns.keys())

    @settings(deadline=None, max_examples=30)
    @given(data=st.data())
    def test_gives_any_samples_in_any_order(self, data: st.DataObject, cache: tuple[Path, Path]) -> None:
        file, folder = cache
        states, cached = Fields.open(file).states, CachedFields.open(folder)
        assert states is not None
        assert cached.states is not None
        truth = np.asarray(states)
        index = st.integers(-9, 8)
        key = data.draw(
            index
            | st.slices(9)
            | st.lists(index, max_size=12).map(lambda rows: np.array(rows, np.int64))
            | st.tuples(index, st.integers(0, 8))
            | st.tuples(st.slices(9), st.integers(0, 8))
        )
        np.testing.assert_array_equal(cached.states[key], truth[key])
        numbers = np.array(data.draw(st.lists(st.integers(0, 80), min_size=1, max_size=12)))
        np.testing.assert_array_equal(cached.frames(numbers), truth.reshape(81, 32, 1)[numbers])

    @pytest.fixture(scope="class")
    @classmethod
    def cache(cls, trajectories: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("cache")
        build(trajectories, folder)
        return trajectories, folder

    def test_refuses_a_sample_that_is_not_there(self, cache: tuple[Path, Path]) -> None:
        states = CachedFields.open(cache[1]).states
        assert states is not None
        with pytest.raises(IndexError):
            states[np.array([9])]

    def test_travels_to_other_processes_by_its_path(self, cache: tuple[Path, Path]) -> None:
        import pickle

        fields = CachedFields.open(cache[1])
        assert len(pickle.dumps(fields)) < 1000
        assert pickle.loads(pickle.dumps(fields)).samples == fields.samples


class TestHowItIsBuilt:
    @settings(deadline=None, max_examples=15)
    @given(data=st.data())
    def test_after_any_interruptions_the_bytes_are_the_same(
        self, data: st.DataObject, trajectories: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        whole, folder = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
        build(trajectories, whole, "float16")
        built: list[int] = []
        while True:
            work = CacheBuild(
                recipe_for(trajectories, "float16"), trajectories, folder, shard_bytes=SHARD_BYTES
            )
            left = work.missing()
            if not left:
                break
            (folder / ".0.part").write_bytes(b"killed while writing")
            for shard in data.draw(st.permutations(left))[: data.draw(st.integers(1, len(left)))]:
                work.convert(shard, lambda samples: None)
                built.append(shard.number)
        work.finish()
        assert sorted(built) == [shard.number for shard in work.shards]  # none was built twice
        assert contents(folder) == contents(whole)

    def test_several_processes_build_the_same_bytes(
        self, trajectories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(crew, "_WORTH_BYTES", 0)
        alone, together = tmp_path / "alone", tmp_path / "together"
        alone.mkdir()
        together.mkdir()
        build(trajectories, alone)
        work = CacheBuild(recipe_for(trajectories), trajectories, together, shard_bytes=SHARD_BYTES)
        done: list[int] = []
        crew.share(
            work, work.missing(), jobs=2, size=work.bytes, counted=lambda shard, samples: done.append(samples)
        )
        work.finish()
        assert sum(done) == 9
        assert contents(together) == contents(alone)

    @pytest.mark.parametrize("name", ["trajectories", "pairs"])
    @pytest.mark.parametrize("block_bytes", [1, 700, 5000])
    def test_the_bytes_do_not_depend_on_how_much_is_encoded_at_a_time(
        self,
        name: str,
        block_bytes: int,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        file = request.getfixturevalue(name)
        large, small = tmp_path / "large", tmp_path / "small"
        large.mkdir()
        small.mkdir()
        build(file, large, "float16")
        monkeypatch.setattr(cache_build, "_BLOCK_BYTES", block_bytes)  # less than a sample: frame by frame
        build(file, small, "float16")
        assert contents(small) == contents(large)

    def test_a_file_that_was_being_written_is_no_shard(self, trajectories: Path, tmp_path: Path) -> None:
        build(trajectories, tmp_path)
        (tmp_path / "shard-00001.safetensors.json").write_bytes(b"")  # a machine that lost its power
        work = CacheBuild(recipe_for(trajectories), trajectories, tmp_path, shard_bytes=SHARD_BYTES)
        assert [shard.number for shard in work.missing()] == [1]

    def test_what_the_store_keeps_is_not_built_again(self, trajectories: Path, tmp_path: Path) -> None:
        kept = {file.file: file for file in build(trajectories, tmp_path)[:2]}
        empty = tmp_path / "empty"
        empty.mkdir()
        work = CacheBuild(recipe_for(trajectories), trajectories, empty, kept=kept, shard_bytes=SHARD_BYTES)
        assert [shard.number for shard in work.missing()] == list(range(2, len(work.shards)))
        # of another cut they are of no use
        other = CacheBuild(recipe_for(trajectories), trajectories, empty, kept=kept, shard_bytes=1)
        assert len(other.missing()) == 9


class TestRefusals:
    def test_of_a_folder_without_a_cache(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="no latent cache"):
            open_split(tmp_path)

    def test_of_a_shard_of_another_cache(self, trajectories: Path, tmp_path: Path) -> None:
        build(trajectories, tmp_path)
        recipe = replace(recipe_for(trajectories), dataset_sha256="other")
        work = CacheBuild(recipe, trajectories, tmp_path, shard_bytes=SHARD_BYTES)
        work.convert(work.shards[0], lambda samples: None)
        with pytest.raises(DataError, match="belongs to another"):
            open_split(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"{}"])
    def test_of_columns_that_are_damaged(self, trajectories: Path, tmp_path: Path, content: bytes) -> None:
        build(trajectories, tmp_path)
        (tmp_path / COLUMNS_FILE).write_bytes(content)
        with pytest.raises(DataError):
            open_split(tmp_path)

    def test_of_a_recipe_that_does_not_describe_the_file(self, trajectories: Path, tmp_path: Path) -> None:
        recipe = recipe_for(trajectories)
        other = replace(recipe, parts=(replace(recipe.parts[0], shape=(9, 8, 32, 1)),))
        with pytest.raises(DataError, match="its manifest says"):
            CacheBuild(other, trajectories, tmp_path).convert(plan(other)[0], lambda samples: None)
