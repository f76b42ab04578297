"""Fetching to a folder of the user's."""

from pathlib import Path

import pytest

from tests.ups.stored import Bucket, sha256
from ups import fetching
from ups.errors import StoreError, UsageError
from ups.fetching import Wanted, fetch


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    bucket = Bucket(tmp_path / "bucket")
    bucket.write_bytes("a/one.h5", b"one")
    bucket.write_bytes("a/two.h5", b"two!")
    return bucket


def wanted(folder: Path) -> list[Wanted]:
    return [
        Wanted("a/one.h5", 3, sha256(b"one"), folder / "one.h5"),
        Wanted("a/two.h5", 4, sha256(b"two!"), folder / "deep" / "two.h5"),
    ]


def test_brings_what_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    files = wanted(tmp_path / "here")
    told: list[tuple[int, int]] = []
    done = fetch(bucket, files, replace=False, progress=lambda *progress: told.append(progress))
    assert [path.read_bytes() for path in done.fetched] == [b"one", b"two!"]
    assert told[-1] == (7, 7)
    files[0].target.unlink()
    again = fetch(bucket, files, replace=False)
    assert (again.fetched, again.kept) == ((files[0].target,), (files[1].target,))


def test_leaves_another_file_of_that_name_alone(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "one.h5").write_bytes(b"own")
    with pytest.raises(UsageError, match=r"one\.h5 is there already") as refused:
        fetch(bucket, wanted(tmp_path), replace=False)
    assert "--replace" in refused.value.hint
    assert (tmp_path / "one.h5").read_bytes() == b"own"
    assert not (tmp_path / "deep").exists()
    fetch(bucket, wanted(tmp_path), replace=True)
    assert (tmp_path / "one.h5").read_bytes() == b"one"


def test_never_shows_bytes_of_another_hash(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write_bytes("a/one.h5", b"0ne")
    with pytest.raises(StoreError, match="sha256"):
        fetch(bucket, wanted(tmp_path / "here"), replace=False)
    assert not (tmp_path / "here" / "one.h5").exists()


def test_says_beforehand_that_there_is_no_space(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "free_bytes", lambda path: 6)
    with pytest.raises(StoreError, match="no space left"):
        fetch(bucket, wanted(tmp_path / "here"), replace=False)
    assert not (tmp_path / "here").exists()


def test_to_where_no_folder_can_be_made_is_a_store_error(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        fetch(bucket, wanted(tmp_path / "file"), replace=False)
