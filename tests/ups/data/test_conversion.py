"""A conversion: the same files however many processes made them, and however often it was cut off."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

from tests.patience import PATIENCE_S
from tests.ups.data import raws
from ups import catalog
from ups.data import crew
from ups.data.assembly import assemble
from ups.data.conversion import Conversion
from ups.data.convert import Labour, import_raw, make
from ups.data.imports import open_sources
from ups.data.raw import RawFile
from ups.data.split_files import SplitFiles
from ups.errors import DataError, StoreError
from ups.ranks import Ranks
from ups.stores.directory import DirectoryStore

TWO = Labour(jobs=2)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples of the fixture are a segment, and worth a process."""
    monkeypatch.setattr("ups.data.source._SEGMENT_BYTES", 2 * 41 * 256 * 4)
    monkeypatch.setattr(crew, "_WORTH_BYTES", 0)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def hashes(store: DirectoryStore, task: str) -> dict[str, str]:
    return {split: entry.sha256 for split, entry in catalog.dataset(store, task).splits.items()}


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The living processes of a crew among its children."""
    found = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):  # and zombies
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


class TestSeveralProcesses:
    @pytest.mark.parametrize("task", ["advection1d", "darcy2d_mesh"])
    def test_make_the_same_files_as_one(self, store: DirectoryStore, tmp_path: Path, task: str) -> None:
        make(store, task, samples=40, labour=TWO)
        alone = DirectoryStore(tmp_path / "alone")
        make(alone, task, samples=40)
        assert hashes(store, task) == hashes(alone, task)
        ours, theirs = (catalog.dataset(which, task).statistics for which in (store, alone))
        assert ours == theirs

    def test_tell_progress_of_each_source_up_to_its_end(self, store: DirectoryStore) -> None:
        told: list[tuple[str, int, int]] = []
        files = [raws.ADVECTION, raws.ADVECTION_FAST]
        import_raw(store, "advection1d", files, labour=TWO, progress=lambda *what: told.append(what))
        for path in files:
            done = [count for what, count, total in told if path.name in what]
            assert done == sorted(done)
            assert done[-1] == 10

    def test_end_with_the_error_of_one(self, store: DirectoryStore, tmp_path: Path) -> None:
        bad = tmp_path / "bad.hdf5"
        bad.write_bytes(raws.ADVECTION.read_bytes())
        with h5py.File(bad, "r+") as file:
            file["tensor"][7, 3, 5] = np.nan
        with pytest.raises(DataError, match=r"bad\.hdf5: dataset tensor, sample 7"):
            import_raw(store, "advection1d", [bad, raws.ADVECTION_FAST], labour=TWO)
        assert raws.content_of(store) == {}
        assert not workers_of(psutil.Process())

    def test_say_so_where_one_is_killed(self, store: DirectoryStore) -> None:
        def kill(what: str, done: int, total: int) -> None:
            for worker in workers_of(psutil.Process()):
                worker.kill()

        with pytest.raises(DataError, match="ended from outside"):
            make(store, "advection1d", samples=200, labour=TWO, progress=kill)

    def test_say_so_where_one_is_killed_between_two_segments(self, store: DirectoryStore) -> None:
        def kill(what: str, done: int, total: int) -> None:
            time.sleep(0.5)  # those that are asked next have answered and wait
            workers = workers_of(psutil.Process())
            for worker in workers:
                worker.kill()
            psutil.wait_procs(workers, timeout=PATIENCE_S)

        with pytest.raises(DataError, match="ended from outside"):
            make(store, "advection1d", samples=200, labour=TWO, progress=kill)

    def test_end_when_the_first_is_killed(self, store: DirectoryStore) -> None:
        script = (
            "import sys\n"
            "from pathlib import Path\n"
            "from ups.data import crew\n"
            "from ups.data.convert import Labour, make\n"
            "from ups.stores.directory import DirectoryStore\n"
            "if __name__ == '__main__':\n"
            "    print('ready', flush=True)\n"
            "    make(DirectoryStore(Path(sys.argv[1])), 'darcy2d', samples=3000, labour=Labour(jobs=2))\n"
        )
        path = store.root.parent / "script.py"
        path.write_text(script)
        first = subprocess.Popen([sys.executable, str(path), str(store.root)], stdout=subprocess.PIPE)
        try:
            process = psutil.Process(first.pid)
            workers: list[psutil.Process] = []
            deadline = time.monotonic() + PATIENCE_S
            while len(workers) < 2 and time.monotonic() < deadline:
                workers = workers_of(process)
                time.sleep(0.02)
            assert len(workers) == 2
            first.send_signal(signal.SIGKILL)
            _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
            assert not alive
        finally:
            first.kill()
            first.communicate()


class _Stopped(KeyboardInterrupt):
    """The user has had enough."""


class TestAnInterruptedConversion:
    def test_goes_on_with_the_segments_that_are_missing(
        self, store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[int] = []
        blocks = RawFile.blocks

        def counting(self: RawFile, rows: int, span: range | None = None):  # type: ignore[no-untyped-def]
            assert span is not None
            read.append(span.start)
            yield from blocks(self, rows, span)

        monkeypatch.setattr(RawFile, "blocks", counting)

        def stop(what: str, done: int, total: int) -> None:
            if done == 6:
                raise _Stopped

        with pytest.raises(_Stopped):
            import_raw(store, "advection1d", [raws.ADVECTION], progress=stop)
        assert read == [0, 2, 4]
        assert catalog.datasets(store) == []
        told: list[tuple[str, int]] = []
        import_raw(
            store, "advection1d", [raws.ADVECTION], progress=lambda what, done, _: told.append((what, done))
        )
        assert read == [0, 2, 4, 4, 6, 8]  # the one that was not finished is done again
        assert [done for what, done in told if raws.ADVECTION.name in what] == [6, 8, 10]
        undisturbed = DirectoryStore(tmp_path / "undisturbed")
        import_raw(undisturbed, "advection1d", [raws.ADVECTION])
        assert hashes(store, "advection1d") == hashes(undisturbed, "advection1d")
        assert not list(store.root.glob(".tmp-*"))

    def test_of_meshes_goes_on_too(self, store: DirectoryStore, tmp_path: Path) -> None:
        def stop(what: str, done: int, total: int) -> None:
            if done > 16:
                raise _Stopped

        with pytest.raises(_Stopped):
            make(store, "darcy2d_mesh", samples=40, progress=stop)
        make(store, "darcy2d_mesh", samples=40)
        undisturbed = DirectoryStore(tmp_path / "undisturbed")
        make(undisturbed, "darcy2d_mesh", samples=40)
        assert hashes(store, "darcy2d_mesh") == hashes(undisturbed, "darcy2d_mesh")

    @pytest.mark.parametrize("killed_at", ["sign", "finish", "hexdigest"])
    @pytest.mark.parametrize("task", ["advection1d", "darcy2d_mesh"])
    def test_is_whole_after_a_kill_while_a_file_is_sealed(
        self, store: DirectoryStore, tmp_path: Path, task: str, killed_at: str
    ) -> None:
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from ups.data.convert import make\n"
            "from ups.data.growing_hash import GrowingHash\n"
            "from ups.data.split_files import SplitFiles\n"
            "from ups.stores.directory import DirectoryStore\n"
            "name = sys.argv[3]\n"
            "owner = GrowingHash if name == 'hexdigest' else SplitFiles\n"
            "work = getattr(owner, name)\n"
            "def killed(*given):\n"
            "    work(*given)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "setattr(owner, name, killed)\n"
            "make(DirectoryStore(Path(sys.argv[1])), sys.argv[2], samples=40)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script, str(store.root), task, killed_at], check=False
        ).returncode
        assert ended == -signal.SIGKILL
        assert catalog.datasets(store) == []
        make(store, task, samples=40)
        undisturbed = DirectoryStore(tmp_path / "undisturbed")
        make(undisturbed, task, samples=40)
        assert hashes(store, task) == hashes(undisturbed, task)
        assert not list(store.root.glob(".tmp-*"))

    def test_completes_no_file_again(self, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
        completed: list[str] = []
        original = SplitFiles.finish

        def stopping(self: SplitFiles, split: str) -> dict[str, Any]:
            completed.append(split)
            if len(completed) == 2:
                raise _Stopped
            return original(self, split)

        monkeypatch.setattr(SplitFiles, "finish", stopping)
        for _ in range(2):
            with suppress(_Stopped):
                import_raw(store, "advection1d", [raws.ADVECTION])
        assert completed == ["train", "val", "val", "test"]

    def test_refuses_a_file_that_changes_meanwhile(self, store: DirectoryStore, tmp_path: Path) -> None:
        raw = tmp_path / "moving.hdf5"
        raw.write_bytes(raws.ADVECTION.read_bytes())

        def change(what: str, done: int, total: int) -> None:
            with raw.open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"x")

        with pytest.raises(DataError, match=r"moving\.hdf5 changed while being converted"):
            import_raw(store, "advection1d", [raw], progress=change)
        assert catalog.datasets(store) == []

    def test_is_given_up_for_another_request(self, store: DirectoryStore) -> None:
        def stop(what: str, done: int, total: int) -> None:
            raise _Stopped

        with pytest.raises(_Stopped):
            import_raw(store, "advection1d", [raws.ADVECTION], progress=stop)
        assert len(list(store.root.glob(".tmp-*"))) == 1
        import_raw(store, "advection1d", [raws.ADVECTION_FAST])
        assert not list(store.root.glob(".tmp-*"))

    def test_is_begun_anew_where_a_file_of_it_is_gone(self, store: DirectoryStore) -> None:
        def stop(what: str, done: int, total: int) -> None:
            if done == 6:
                raise _Stopped

        with pytest.raises(_Stopped):
            import_raw(store, "advection1d", [raws.ADVECTION], progress=stop)
        (folder,) = store.root.glob(".tmp-*")
        (folder / "advection1d_val.h5").unlink()
        import_raw(store, "advection1d", [raws.ADVECTION])
        assert catalog.verify(store, "advection1d", lambda *_: None).state == "verified"


class TestRanks:
    def test_share_a_conversion(self, store: DirectoryStore, tmp_path: Path) -> None:
        command = [
            sys.executable, "-m", "remote", "make", "advection1d", "darcy2d_mesh",
            "--samples", "48", "--store", store.url, "--jobs", "1",
        ]  # fmt: skip
        several = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}
        processes = [
            subprocess.Popen(
                command,
                env={**os.environ, **several, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(3)
        ]
        said = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], said
        assert "advection1d: added" in said[0]
        assert said[1:] == ["", ""]  # one process speaks for all
        alone = DirectoryStore(tmp_path / "alone")
        for task in ("advection1d", "darcy2d_mesh"):
            make(alone, task, samples=48)
            assert hashes(store, task) == hashes(alone, task)
        assert not list(store.root.glob(".tmp-*"))

    def test_finish_the_part_of_one_that_is_killed(self, store: DirectoryStore, tmp_path: Path) -> None:
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from ups.data.conversion import Conversion\n"
            "from ups.data.convert import Labour, make\n"
            "from ups.ranks import Ranks\n"
            "from ups.stores.directory import DirectoryStore\n"
            "Conversion.convert = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
            "print('ready', flush=True)\n"
            "make(DirectoryStore(Path(sys.argv[1])), 'advection1d', samples=48,\n"
            "     labour=Labour(ranks=Ranks(rank=1, world_size=2)))\n"
        )
        command = [sys.executable, "-c", script, str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            make(store, "advection1d", samples=48, labour=Labour(ranks=Ranks(world_size=2)))
            other.kill()  # where it came too late to do anything
        alone = DirectoryStore(tmp_path / "alone")
        make(alone, "advection1d", samples=48)
        assert hashes(store, "advection1d") == hashes(alone, "advection1d")

    def test_end_for_one_that_is_late(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        conversion = Conversion(assemble(open_sources("advection1d", [raws.ADVECTION])), tmp_path / "work")
        conversion.prepare()
        assert conversion.missing()
        conversion.end()
        with pytest.raises(StoreError, match="is gone"):
            conversion.missing()
