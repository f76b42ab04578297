"""A file on a server is read in parts: right ones, few of them, and through what servers do."""

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulators.files import Fault, FileServer
from tests.ups.data import raws
from ups.data.http import Patience
from ups.data.raw import Reading, open_raw
from ups.data.remote_file import Reach, RemoteOrigin
from ups.data.selection import Selection
from ups.errors import DownloadError, NotFoundError

CONTENT = random.Random(0).randbytes(10_000)
HASTY = Patience(3, first_s=0.01, timeout_s=0.3)
SMALL = Reach(block_bytes=128, cache_bytes=1024, ahead_bytes=512, straight_bytes=900, connections=3)


@pytest.fixture(scope="module")
def shared() -> Iterator[BinaryIO]:
    with FileServer({"17": CONTENT}) as opened, origin(opened).opened() as file:
        yield file


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"17": CONTENT}) as opened:
        yield opened


def origin(server: FileServer, name: str = "17", reach: Reach = SMALL) -> RemoteOrigin:
    return RemoteOrigin(f"{server.url}{name}", "f.h5", HASTY, reach)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 11_000), st.integers(0, 2_500)), max_size=8))
def test_what_is_read_is_what_is_there(shared: BinaryIO, reads: list[tuple[int, int]]) -> None:
    for begin, count in reads:
        assert shared.seek(begin) == begin
        assert shared.read(count) == CONTENT[begin : begin + count]
        assert shared.tell() == begin + len(CONTENT[begin : begin + count])
    assert shared.seek(-10, os.SEEK_END) == 9_990
    assert shared.seek(5, os.SEEK_CUR) == 9_995
    assert shared.read(99) == CONTENT[9_995:]


def test_reads_that_follow_one_another_become_fewer_requests(server: FileServer) -> None:
    with origin(server).opened() as file:
        assert b"".join(iter(lambda: file.read(100), b"")) == CONTENT
    assert len(server.requests) < 25  # of 79 blocks
    assert server.served == 10_001  # nothing twice


def test_cuts_stalls_and_busy_answers_are_overcome(server: FileServer) -> None:
    server.files["17"] = content = random.Random(1).randbytes(400_000)
    server.faults.extend([Fault(cut_after=16_384), Fault(stall_after=20_000), Fault(503), Fault(cut_after=0)])
    with origin(server).opened() as file:
        assert file.read(400_000) == content


def test_a_file_that_changes_or_comes_only_whole_is_told(server: FileServer) -> None:
    with origin(server).opened() as file:
        file.read(10)
        server.version = "2"
        file.seek(5_000)
        with pytest.raises(DownloadError, match=r"f\.h5 changed on the server"):
            file.read(10)
    server.ranges = False
    with pytest.raises(DownloadError, match=r"sends f\.h5 only as a whole") as error, origin(server).opened():
        pass
    assert "--whole" in error.value.hint


@pytest.fixture
def advection(tmp_path: Path) -> Path:
    """64 samples of 6 MB in all."""
    initial = raws.initial_conditions(64, cells=1024)
    return raws.write_flat(tmp_path / "f.hdf5", initial, attributes={"beta": 0.4}, frames=25)


def test_a_few_samples_cost_a_few_bytes(server: FileServer, advection: Path) -> None:
    server.files["17"] = advection
    reading = Reading(Selection(samples=3), origin(server, reach=Reach()), md5="0" * 32)
    raw = open_raw("advection1d", Path("f.hdf5"), reading)
    list(raw.initial_conditions(10))
    (block,) = raw.blocks(10)
    with h5py.File(advection) as file:
        assert np.array_equal(block.targets[..., 0], file["tensor"][:3])
    share = server.served / advection.stat().st_size
    print(f"3 of 64 samples: {share:.1%} of the file's bytes, {len(server.requests)} requests")
    assert share < 0.10


def test_strided_frames_are_read_alone_where_they_are_large(server: FileServer, tmp_path: Path) -> None:
    shapes = {"velocity": (2, 6, 64, 64, 2), "particles": (2, 6, 64, 64, 1), "force": (2, 64, 64, 2)}
    path = raws.write_incompressible(tmp_path / "ns.h5", **shapes)
    server.files["17"] = path
    selection = Selection(samples=1, stride=5)
    reading = Reading(selection, origin(server, reach=replace(Reach(), block_bytes=4096)), md5="0" * 32)
    (block,) = open_raw("navier_stokes2d", Path("ns.h5"), reading).blocks(10)
    with h5py.File(path) as file:
        assert np.array_equal(block.targets[..., :2], file["velocity"][:1, ::5])
        assert np.array_equal(block.targets[..., 2:], file["particles"][:1, ::5])
    assert server.served < 0.25 * path.stat().st_size  # 2 of 12 frames are 17 %


def test_the_first_groups_do_not_touch_the_others(server: FileServer, tmp_path: Path) -> None:
    path = raws.write_groups(tmp_path / "f.h5", count=60, frames=8, cells=32)
    server.files["17"] = path
    reading = Reading(Selection(samples=3), origin(server), md5="0" * 32)
    raw = open_raw("reaction_diffusion2d", Path("f.h5"), reading)
    assert sum(len(block) for block in raw.blocks(10)) == 3
    assert server.served < 0.15 * path.stat().st_size


def test_what_is_no_hdf5_file_or_not_there_is_told_by_name(server: FileServer) -> None:
    with pytest.raises(Exception, match=r"f\.h5 is no HDF5 file"):
        open_raw("advection1d", Path("f.h5"), Reading(origin=origin(server)))
    with pytest.raises(NotFoundError, match=r"the server has no f\.h5"):
        open_raw("advection1d", Path("f.h5"), Reading(origin=origin(server, "18")))


def test_a_server_that_stays_away_while_values_are_read_is_told_as_such(
    server: FileServer, advection: Path
) -> None:
    server.files["17"] = advection
    raw = open_raw("advection1d", Path("f.h5"), Reading(origin=origin(server), md5="0" * 32))
    del server.files["17"]
    with pytest.raises(NotFoundError, match="the server has no"):
        list(raw.blocks(10))
    server.files["17"] = advection
    server.faults.extend([Fault()] * 12 + [Fault(503)] * 50)
    with pytest.raises(DownloadError, match=r"cannot be fetched: the server answers 503"):
        list(raw.blocks(10))
