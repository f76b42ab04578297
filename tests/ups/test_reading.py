"""Reading objects of a store that is not on this machine."""

import hashlib
import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ups.stored import Bucket
from ups import reading
from ups.errors import NotFoundError
from ups.reading import StoredFile, stored_sha256
from ups.stores.directory import DirectoryStore


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


class TestHashing:
    @pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 10_000])
    def test_streams_the_bytes_in_pieces(
        self, bucket: Bucket, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "_PIECE", 1000)
        content = os.urandom(size)
        bucket.write_bytes("file", content)
        told: list[tuple[int, int]] = []
        digest = stored_sha256(bucket, "file", size, lambda *progress: told.append(progress))
        assert digest == hashlib.sha256(content).hexdigest()
        assert bucket.asked["range"] == -(-size // 1000)
        assert [done for done, _ in told] == [*range(1000, size, 1000), *([size] if size else [])]

    def test_of_a_file_on_this_machine_reads_it(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        store.write_bytes("file", b"abc")
        assert stored_sha256(store, "file", 3) == hashlib.sha256(b"abc").hexdigest()

    def test_of_a_shorter_object_is_another_hash(self, bucket: Bucket) -> None:
        bucket.write_bytes("file", b"abc")
        assert stored_sha256(bucket, "file", 9) == hashlib.sha256(b"abc").hexdigest()

    def test_of_nothing_is_not_found(self, bucket: Bucket) -> None:
        with pytest.raises(NotFoundError):
            stored_sha256(bucket, "file", 9)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(-50, 300_000), st.sampled_from([0, 1, 2]), st.integers(0, 90_000)))
)
def test_a_stored_file_reads_like_one_on_disk(
    steps: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bucket = Bucket(tmp_path_factory.getbasetemp() / "reads")
    content = np.random.default_rng(0).bytes(200_000)
    bucket.write_bytes("file", content)
    ours, theirs = StoredFile(bucket, "file", len(content)), io.BytesIO(content)
    for offset, whence, count in steps:
        position = ours.seek(offset, whence)
        theirs.seek(position)
        assert ours.read(count) == theirs.read(count)
        assert ours.tell() == theirs.tell()


def test_hdf5_is_read_in_place_and_little_of_it(bucket: Bucket) -> None:
    path = bucket.root / "file.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["states"] = np.arange(1_000_000, dtype=np.float32)
        file["times"] = np.arange(5.0)
    with StoredFile(bucket, "file.h5", path.stat().st_size) as content, h5py.File(content, "r") as file:
        assert set(file) == {"states", "times"}
        assert file["times"][3] == 3.0
    assert bucket.asked["range"] < 5
