"""The dataset of a task: the same whatever the order of its files, and never half there."""

import errno
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ups.data import raws
from ups import catalog
from ups.data import writer
from ups.data.convert import convert_file, import_raw, make
from ups.data.fields import SPLITS, Fields
from ups.data.raw import open_raw
from ups.errors import DataError, NotFoundError, StoreError
from ups.store import Progress
from ups.stores import workspaces
from ups.stores.directory import DirectoryStore
from ups.tasks import TASK_SPECS


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def opened(store: DirectoryStore, task: str, split: str) -> Fields:
    path = store.local_path(catalog.dataset_key(task, split))
    assert path is not None
    return Fields.open(path)


def hashes(store: DirectoryStore, task: str) -> dict[str, str]:
    return {split: entry.sha256 for split, entry in catalog.dataset(store, task).splits.items()}


class TestADataset:
    def test_holds_the_raw_values_bit_for_bit(self, store: DirectoryStore) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION, raws.ADVECTION_FAST])
        originals = {}
        for path in (raws.ADVECTION, raws.ADVECTION_FAST):
            with h5py.File(path) as file:
                originals[np.float32(file.attrs["beta"])] = file["tensor"][()]
        count = 0
        for split in SPLITS:
            fields = opened(store, "advection1d", split)
            assert fields.states is not None
            for row in range(fields.samples):
                original = originals[fields.parameters[row, 0]][fields.sample[row]]
                assert np.array_equal(fields.states[row, ..., 0], original)
                count += 1
        assert count == 20

    def test_holds_the_pairs_of_a_static_task(self, store: DirectoryStore) -> None:
        import_raw(store, "darcy2d", [raws.DARCY])
        fields = opened(store, "darcy2d", "test")
        assert fields.states is None
        assert fields.inputs is not None
        assert fields.targets is not None
        with h5py.File(raws.DARCY) as file:
            assert np.array_equal(fields.inputs[0, ..., 0], file["nu"][0])
            assert np.array_equal(fields.targets[0, ..., 0], file["tensor"][0, 0])
        assert fields.grid == (64, 64)

    def test_puts_the_first_tenth_in_test_the_next_in_val(self, store: DirectoryStore) -> None:
        result = import_raw(store, "advection1d", [raws.ADVECTION, raws.ADVECTION_FAST])
        assert result.samples == {"train": 16, "val": 2, "test": 2}
        assert opened(store, "advection1d", "test").sample.tolist() == [0, 0]
        assert opened(store, "advection1d", "val").sample.tolist() == [1, 1]
        assert opened(store, "advection1d", "train").sample.tolist() == [*range(2, 10), *range(2, 10)]
        assert np.allclose(opened(store, "advection1d", "val").parameters[:, 0], [0.4, 1.0])

    def test_describes_itself(self, store: DirectoryStore) -> None:
        import_raw(store, "reaction_diffusion2d", [raws.REACTION_DIFFUSION])
        path = store.local_path(catalog.dataset_key("reaction_diffusion2d", "train"))
        with h5py.File(path) as file:
            assert {name: file.attrs[name] for name in ("format", "task", "split", "boundary")} == {
                "format": 1,
                "task": "reaction_diffusion2d",
                "split": "train",
                "boundary": "neumann",
            }
            assert list(file.attrs["fields"]) == ["activator", "inhibitor"]
            assert list(file.attrs["parameter_names"]) == []
            assert file.attrs["dt"] == 0.1
            assert file["states"].shape == (2, 11, 64, 64, 2)
            assert file["states"].chunks is None
            (source,) = json.loads(file.attrs["provenance"])
            assert source["name"] == raws.REACTION_DIFFUSION.name

    def test_measures_the_train_split_only(self, store: DirectoryStore) -> None:
        import_raw(store, "darcy2d", [raws.DARCY])
        train = opened(store, "darcy2d", "train")
        assert train.targets is not None
        assert train.inputs is not None
        statistics = catalog.dataset(store, "darcy2d").statistics
        targets, inputs = train.targets.astype(np.float64), train.inputs.astype(np.float64)
        assert statistics["mean"][0] == pytest.approx(targets.mean(), rel=1e-12)
        assert statistics["std"][0] == pytest.approx(targets.std(), rel=1e-12)
        assert (statistics["min"][0], statistics["max"][0]) == (targets.min(), targets.max())
        assert statistics["input_mean"][0] == pytest.approx(inputs.mean(), rel=1e-12)
        assert statistics["input_std"][0] == pytest.approx(inputs.std(), rel=1e-12)

    def test_is_bounded_in_memory_by_blocks(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION])
        whole, statistics = hashes(store, "advection1d"), catalog.dataset(store, "advection1d").statistics
        monkeypatch.setattr("ups.data.assembly._BLOCK_BYTES", 1)  # one sample at a time
        other = DirectoryStore(store.root.parent / "other")
        import_raw(other, "advection1d", [raws.ADVECTION])
        assert hashes(other, "advection1d") == whole
        assert catalog.dataset(other, "advection1d").statistics == statistics

    @pytest.mark.parametrize(
        ("task", "path"),
        [("compressible_ns2d", raws.CFD_2D), ("reaction_diffusion2d", raws.REACTION_DIFFUSION)],
    )
    def test_reads_a_very_large_sample_a_few_frames_at_a_time(
        self, task: str, path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import_raw(store, task, [path])
        whole, statistics = hashes(store, task), catalog.dataset(store, task).statistics
        monkeypatch.setattr("ups.data.source._PART_BYTES", 100_000)
        frames = [block.targets.shape[1] for block in open_raw(task, path).blocks(1)]
        assert len(frames) > catalog.dataset(store, task).provenance[0]["samples"]
        told: list[tuple[str, int, int]] = []
        other = DirectoryStore(store.root.parent / "other")
        import_raw(other, task, [path], progress=lambda *what: told.append(what))
        assert hashes(other, task) == whole
        assert told[-1][1] == told[-1][2]
        for name, values in catalog.dataset(other, task).statistics.items():
            assert values == pytest.approx(statistics[name], rel=1e-12)

    def test_tells_progress_by_source(self, store: DirectoryStore) -> None:
        told: list[tuple[str, int, int]] = []
        import_raw(
            store, "advection1d", [raws.ADVECTION], progress=lambda *what: told.append(what)
        )  # fmt: skip
        last = {what: (done, total) for what, done, total in told}
        assert last == {
            f"advection1d {raws.ADVECTION.name}": (10, 10),
            "advection1d hash of train": (8, 8),
            "advection1d hash of val": (1, 1),
            "advection1d hash of test": (1, 1),
        }


class TestAdding:
    def test_a_file_twice_is_once_by_content(self, store: DirectoryStore, tmp_path: Path) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION])
        before = raws.content_of(store)
        renamed = tmp_path / "renamed.hdf5"
        renamed.write_bytes(raws.ADVECTION.read_bytes())
        result = import_raw(store, "advection1d", [renamed, raws.ADVECTION])
        assert not result.changed
        assert result.already == ("renamed.hdf5",)
        assert result.samples == {"train": 8, "val": 1, "test": 1}
        assert raws.content_of(store) == before

    def test_gives_the_same_files_as_importing_all_at_once(
        self, store: DirectoryStore, tmp_path: Path
    ) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION_FAST])
        result = import_raw(store, "advection1d", [raws.ADVECTION_FAST, raws.ADVECTION])
        assert result.added == (raws.ADVECTION.name,)
        assert result.already == (raws.ADVECTION_FAST.name,)
        assert result.notes == ()
        at_once = DirectoryStore(tmp_path / "at-once")
        import_raw(at_once, "advection1d", [raws.ADVECTION, raws.ADVECTION_FAST])
        assert hashes(store, "advection1d") == hashes(at_once, "advection1d")
        assert catalog.dataset(store, "advection1d").parameters == {"beta": (0.4, 1.0)}

    def test_works_for_static_tasks(self, store: DirectoryStore, tmp_path: Path) -> None:
        first = raws.write_pair(tmp_path / "a.hdf5", seed=1)
        second = raws.write_pair(tmp_path / "b.hdf5", seed=2)
        import_raw(store, "darcy2d", [second])
        import_raw(store, "darcy2d", [first])
        at_once = DirectoryStore(tmp_path / "at-once")
        import_raw(at_once, "darcy2d", [first, second])
        assert hashes(store, "darcy2d") == hashes(at_once, "darcy2d")

    def test_a_longer_file_moves_samples_and_says_so(self, store: DirectoryStore, tmp_path: Path) -> None:
        initial = raws.initial_conditions(40)
        short = raws.write_flat(tmp_path / "short.hdf5", initial[:10], attributes={"beta": 0.4})
        long = raws.write_flat(tmp_path / "long.hdf5", initial, attributes={"beta": 1.0})
        import_raw(store, "advection1d", [short])
        result = import_raw(store, "advection1d", [long])
        assert any("changed their split" in note for note in result.notes)
        assert opened(store, "advection1d", "test").sample.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]

    def test_a_much_shorter_file_is_held_out_and_that_is_said(
        self, store: DirectoryStore, tmp_path: Path
    ) -> None:
        initial = raws.initial_conditions(40)
        long = raws.write_flat(tmp_path / "long.hdf5", initial, attributes={"beta": 1.0})
        short = raws.write_flat(tmp_path / "short.hdf5", initial[:5], attributes={"beta": 0.4})
        import_raw(store, "advection1d", [long])
        result = import_raw(store, "advection1d", [short])
        assert any("held out" in note for note in result.notes)

    def test_solver_and_raw_data_are_not_mixed(self, store: DirectoryStore) -> None:
        make(store, "advection1d", samples=3)
        before = raws.content_of(store)
        with pytest.raises(DataError, match="made by the solver") as refused:
            import_raw(store, "advection1d", [raws.ADVECTION])
        assert "--replace" in refused.value.hint
        assert raws.content_of(store) == before
        import_raw(store, "advection1d", [raws.ADVECTION], replace=True)
        assert {source["kind"] for source in catalog.dataset(store, "advection1d").provenance} == {"raw"}
        with pytest.raises(DataError, match="was imported"):
            make(store, "advection1d", samples=3)

    def test_replacing_drops_what_was_there(self, store: DirectoryStore) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION])
        import_raw(store, "advection1d", [raws.ADVECTION_FAST], replace=True)
        (source,) = catalog.dataset(store, "advection1d").provenance
        assert source["name"] == raws.ADVECTION_FAST.name

    def test_a_damaged_dataset_is_not_added_to(self, store: DirectoryStore) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION])
        path = store.local_path(catalog.dataset_key("advection1d", "train"))
        assert path is not None
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # the size stays: only the hash can tell
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            import_raw(store, "advection1d", [raws.ADVECTION_FAST])
        result = import_raw(store, "advection1d", [raws.ADVECTION_FAST], replace=True)
        assert result.changed
        assert catalog.dataset(store, "advection1d").state == "verified"

    def test_another_process_may_not_be_overtaken(self, store: DirectoryStore) -> None:
        def meanwhile(what: str, done: int, total: int) -> None:
            if catalog.datasets(store) == []:
                import_raw(store, "advection1d", [raws.ADVECTION_FAST])

        with pytest.raises(StoreError, match="another process"):
            import_raw(store, "advection1d", [raws.ADVECTION], progress=meanwhile)
        (source,) = catalog.dataset(store, "advection1d").provenance
        assert source["name"] == raws.ADVECTION_FAST.name


class TestMaking:
    def test_the_same_request_twice_changes_nothing(self, store: DirectoryStore) -> None:
        assert make(store, "advection1d", samples=4, seed=3).changed
        before = raws.content_of(store)
        assert not make(store, "advection1d", samples=4, seed=3).changed
        assert not make(store, "advection1d", samples=4, seed=3, replace=True).changed
        assert raws.content_of(store) == before

    @pytest.mark.parametrize("change", [{"samples": 5}, {"seed": 4}])
    def test_another_request_replaces_only_when_asked(
        self, store: DirectoryStore, change: dict[str, int]
    ) -> None:
        request = {"samples": 4, "seed": 3}
        make(store, "advection1d", **request)
        first = hashes(store, "advection1d")
        with pytest.raises(DataError, match="4 samples, seed 3"):
            make(store, "advection1d", **(request | change))
        assert hashes(store, "advection1d") == first
        make(store, "advection1d", **(request | change), replace=True)
        assert hashes(store, "advection1d") != first

    def test_is_reproducible(self, store: DirectoryStore, tmp_path: Path) -> None:
        make(store, "burgers1d", samples=3)
        again = DirectoryStore(tmp_path / "again")
        make(again, "burgers1d", samples=3)
        assert hashes(store, "burgers1d") == hashes(again, "burgers1d")

    def test_an_initial_condition_has_the_same_id_under_all_parameters(self, store: DirectoryStore) -> None:
        make(store, "advection1d", samples=10)
        train = opened(store, "advection1d", "train")
        assert train.states is not None
        for block in set(train.initial_condition.tolist()):
            starts = train.states[train.initial_condition == block, 0]
            assert len(starts) == 3
            assert all(np.array_equal(start, starts[0]) for start in starts)

    def test_a_task_without_a_solver_says_which_have_one(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        without = replace(TASK_SPECS["shallow_water2d"], has_solver=False)
        monkeypatch.setitem(TASK_SPECS, without.name, without)
        with pytest.raises(DataError, match="not available in this version") as refused:
            make(store, "shallow_water2d")
        assert "advection1d, burgers1d, diffusion_sorption1d" in refused.value.hint

    @pytest.mark.parametrize("request_", [{"samples": 2}, {"samples": -1}, {"seed": -1}])
    def test_an_impossible_request_is_refused(self, store: DirectoryStore, request_: dict[str, int]) -> None:
        with pytest.raises(DataError):
            make(store, "advection1d", **request_)
        assert raws.content_of(store) == {}


class TestOneFile:
    def test_is_converted_as_a_whole(self, tmp_path: Path) -> None:
        convert_file("darcy2d", raws.DARCY, tmp_path / "whole.h5")
        fields = Fields.open(tmp_path / "whole.h5")
        assert fields.samples == 12
        assert fields.split == "test"

    def test_may_be_of_incompressible_flow(self, tmp_path: Path) -> None:
        convert_file("navier_stokes2d", raws.NAVIER_STOKES, tmp_path / "flow.h5")
        fields = Fields.open(tmp_path / "flow.h5")
        assert fields.states is not None
        with h5py.File(raws.NAVIER_STOKES) as file:
            assert np.array_equal(fields.states[..., :2], file["velocity"])
            assert np.array_equal(fields.states[..., 2:], file["particles"])
        assert fields.parameters.shape == (2, 0)

    def test_may_have_a_single_sample(self, tmp_path: Path) -> None:
        raw = raws.write_flat(tmp_path / "one.hdf5", raws.initial_conditions(1), attributes={"Nu": 0.1})
        convert_file("burgers1d", raw, tmp_path / "one.h5")
        assert Fields.open(tmp_path / "one.h5").samples == 1

    def test_appears_only_once_it_is_whole(self, tmp_path: Path) -> None:
        raw = raws.write_flat(tmp_path / "raw.hdf5", raws.initial_conditions(3), attributes={"Nu": 0.1})
        convert_file("burgers1d", raw, tmp_path / "out.h5")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "raw.hdf5"]
        before = (tmp_path / "out.h5").read_bytes()
        with h5py.File(raw, "r+") as file:
            file["tensor"][2, 1, 0] = np.nan
        with pytest.raises(DataError, match="dataset tensor, sample 2"):
            convert_file("burgers1d", raw, tmp_path / "out.h5")
        assert (tmp_path / "out.h5").read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "raw.hdf5"]


class TestFields:
    @pytest.fixture
    def path(self, store: DirectoryStore) -> Path:
        import_raw(store, "advection1d", [raws.ADVECTION])
        found = store.local_path(catalog.dataset_key("advection1d", "train"))
        assert found is not None
        return found

    def test_are_pickled_by_path(self, path: Path) -> None:
        fields = Fields.open(path)
        content = pickle.dumps(fields)
        assert len(content) < 500
        assert np.array_equal(pickle.loads(content).states, fields.states)

    def test_are_mapped_not_read(self, path: Path) -> None:
        states = Fields.open(path).states
        assert isinstance(states, np.memmap)
        assert not states.flags.writeable
        with h5py.File(path, "r+") as file:  # no handle is left open that would lock the file
            assert np.array_equal(file["states"][()], states)

    def test_of_no_file_are_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            Fields.open(tmp_path / "none.h5")

    def _cut(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 4096)

    def _reshape(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file["states"]
            file["states"] = np.zeros((8, 41, 256), np.float32)

    def _compress(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            states = file["states"][()]
            del file["states"]
            file.create_dataset("states", data=states, compression="gzip")

    def _future(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file.attrs["format"] = 2

    def _garbage(self, path: Path) -> None:
        path.write_bytes(b"garbage")

    def _raw(self, path: Path) -> None:
        path.write_bytes(raws.ADVECTION.read_bytes())

    @pytest.mark.parametrize("damage", ["_cut", "_reshape", "_compress", "_future", "_garbage", "_raw"])
    def test_of_a_damaged_file_are_refused(self, path: Path, damage: str) -> None:
        getattr(self, damage)(path)
        with pytest.raises(DataError, match="advection1d_train"):
            Fields.open(path)


class _Failing(DirectoryStore):
    """A store whose n-th change fails, as if the process had been killed there."""

    def __init__(self, root: Path, fail_at: int) -> None:
        super().__init__(root)
        self.left = fail_at

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def write_bytes(self, key: str, content: bytes) -> None:
        self._count()
        super().write_bytes(key, content)

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        self._count()
        super().move(source, key, progress=progress)


class TestInterruption:
    @pytest.mark.parametrize("first", [True, False])
    def test_anywhere_leaves_the_old_the_new_or_a_refusal(self, tmp_path: Path, first: bool) -> None:
        seen = []
        for step in itertools.count():
            root = tmp_path / f"{step}"
            healthy = DirectoryStore(root)
            if not first:
                import_raw(healthy, "advection1d", [raws.ADVECTION])
            old = None if first else hashes(healthy, "advection1d")
            with_failure = _Failing(root, step)
            try:
                import_raw(with_failure, "advection1d", [raws.ADVECTION_FAST])
            except KeyboardInterrupt:
                pass
            else:
                break
            seen.append(self._state(healthy, old))
            import_raw(healthy, "advection1d", [raws.ADVECTION_FAST])
            after = catalog.verify(healthy, "advection1d", lambda *_: None)
            assert after.state == "verified"
            assert len(after.provenance) == (1 if first else 2)
            assert not [path for path in root.rglob(".tmp-*") if path.is_dir()]
        assert step == 8  # three files staged, a manifest, three files renamed, a manifest
        assert seen[:4] == ["untouched"] * 4
        assert set(seen[4:]) == {"writing"}

    def _state(self, store: DirectoryStore, old: dict[str, str] | None) -> str:
        entries = catalog.datasets(store)
        if not entries:
            return "untouched" if old is None else "lost"
        if entries[0].state == "verified":
            verified = catalog.verify(store, "advection1d", lambda *_: None)
            return (
                "untouched"
                if verified.state == "verified" and hashes(store, "advection1d") == old
                else "torn"
            )
        with pytest.raises(DataError, match="writing"):
            catalog.pins(store, ["advection1d"])
        return entries[0].state

    def test_by_a_kill_leaves_the_dataset_and_is_swept_up(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import_raw(store, "advection1d", [raws.ADVECTION])
        old = hashes(store, "advection1d")
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from ups.data.convert import import_raw\n"
            "from ups.stores.directory import DirectoryStore\n"
            "kill = lambda what, done, total: 'hdf5' in what and os.kill(os.getpid(), signal.SIGKILL)\n"
            "import_raw(DirectoryStore(Path(sys.argv[1])), 'advection1d', [Path(sys.argv[2])],\n"
            "           progress=kill)\n"
        )
        killed = subprocess.run(
            [sys.executable, "-c", script, str(store.root), str(raws.ADVECTION_FAST)], check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert catalog.verify(store, "advection1d", lambda *_: None).state == "verified"
        assert hashes(store, "advection1d") == old
        assert list(store.root.glob(".tmp-*"))
        monkeypatch.setattr(workspaces, "_NEWBORN_SECONDS", 0.0)
        import_raw(store, "advection1d", [raws.ADVECTION_FAST])
        assert not list(store.root.glob(".tmp-*"))

    @pytest.mark.parametrize("first", [True, False])
    def test_by_a_full_disk_leaves_the_store_as_it_was(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, first: bool
    ) -> None:
        if not first:
            import_raw(store, "advection1d", [raws.ADVECTION])
        before = raws.content_of(store)
        written = itertools.count()

        def pwrite(handle: int, content: Any, position: int) -> int:
            if next(written) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(handle, content, position)

        real = os.pwrite
        monkeypatch.setattr(writer.os, "pwrite", pwrite)
        with pytest.raises(StoreError, match="no space left"):
            import_raw(store, "advection1d", [raws.ADVECTION_FAST])
        assert raws.content_of(store) == before

    def test_is_avoided_where_the_space_is_known_to_be_short(
        self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ups.data.convert.free_bytes", lambda path: 1_100_000)
        with pytest.raises(StoreError, match="1 MB free"):
            import_raw(store, "advection1d", [raws.ADVECTION])
        assert raws.content_of(store) == {}


# --- properties -------------------------------------------------------------------------------


@st.composite
def parameter_files(draw: st.DrawFn) -> list[tuple[float, list[int]]]:
    """(β, which initial conditions in which order) of up to four files of one task."""
    pool = list(range(draw(st.integers(12, 30))))
    betas = draw(st.lists(st.sampled_from([0.1, 0.2, 0.4, 0.7, 1.0]), min_size=1, max_size=4, unique=True))
    files = []
    for beta in betas:
        start = draw(st.integers(0, 6))
        count = draw(st.integers(3, len(pool) - start))
        members = pool[start : start + count]
        if draw(st.booleans()):
            members = draw(st.permutations(members))
        files.append((beta, list(members)))
    return files


Order = Callable[[list[Path]], list[Path]]


def _written(folder: Path, files: list[tuple[float, list[int]]]) -> list[Path]:
    starts = raws.initial_conditions(64, 8)
    return [
        raws.write_flat(folder / f"beta{beta}.hdf5", starts[members], attributes={"beta": beta}, frames=2)
        for beta, members in files
    ]


@pytest.fixture(scope="class")
def folders() -> Iterator[Callable[[], Path]]:
    with tempfile.TemporaryDirectory() as top:
        yield lambda: Path(tempfile.mkdtemp(dir=top))


def _import(store: DirectoryStore, paths: list[Path]) -> bool:
    """False where so many samples start alike that there is nothing for a split."""
    try:
        import_raw(store, "advection1d", paths)
    except DataError as error:
        return "same initial condition" not in error.message
    return True


class TestAnySetOfFiles:
    @settings(max_examples=25, deadline=None)
    @given(files=parameter_files())
    def test_has_no_initial_condition_in_two_splits(
        self, files: list[tuple[float, list[int]]], folders: Callable[[], Path]
    ) -> None:
        folder = folders()
        store = DirectoryStore(folder / "store")
        if not _import(store, _written(folder, files)):
            return
        starts: dict[str, set[bytes]] = {}
        blocks: dict[str, set[int]] = {}
        for split in SPLITS:
            fields = opened(store, "advection1d", split)
            assert fields.states is not None
            starts[split] = {state.tobytes() for state in fields.states[:, 0]}
            blocks[split] = set(fields.initial_condition.tolist())
        for one, other in itertools.combinations(SPLITS, 2):
            assert not starts[one] & starts[other]
            assert not blocks[one] & blocks[other]
        assert sum(len(members) for _, members in files) == sum(
            entry.samples for entry in catalog.dataset(store, "advection1d").splits.values()
        )

    @settings(max_examples=15, deadline=None)
    @given(data=st.data(), files=parameter_files())
    def test_is_the_same_dataset_in_any_order(
        self, data: st.DataObject, files: list[tuple[float, list[int]]], folders: Callable[[], Path]
    ) -> None:
        folder = folders()
        paths = _written(folder, files)
        one, other = DirectoryStore(folder / "one"), DirectoryStore(folder / "other")
        at_once = _import(one, paths)
        in_turn = [_import(other, [path]) for path in data.draw(st.permutations(paths))]
        if at_once and all(in_turn):
            assert hashes(one, "advection1d") == hashes(other, "advection1d")
            manifests = [json.loads(s.read_bytes(catalog.manifest_key("advection1d"))) for s in (one, other)]
            for manifest in manifests:
                del manifest["created"]
            assert manifests[0] == manifests[1]


class TestFilesOfTheSameParameters:
    def test_are_different_samples_and_are_split_together(
        self, store: DirectoryStore, tmp_path: Path
    ) -> None:
        files = [
            raws.write_flat(
                tmp_path / f"{number}.hdf5",
                raws.initial_conditions(4, seed=number),
                attributes={"beta": 0.4},
            )
            for number in range(5)
        ]
        result = import_raw(store, "advection1d", files)
        assert result.samples == {"train": 16, "val": 2, "test": 2}  # not the first of each file

    def test_may_have_a_single_sample_each(self, store: DirectoryStore, tmp_path: Path) -> None:
        files = [
            raws.write_flat(
                tmp_path / f"{number}.hdf5",
                raws.initial_conditions(1, seed=number),
                attributes={"beta": 0.4},
            )
            for number in range(3)
        ]
        with pytest.raises(DataError, match="2 samples, at least 3 are needed"):
            import_raw(store, "advection1d", files[:2])
        assert import_raw(store, "advection1d", files).samples == {"train": 1, "val": 1, "test": 1}
