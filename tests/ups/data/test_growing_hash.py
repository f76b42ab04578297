"""The hash of a file that grows is that of the whole file."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ups.data.growing_hash import GrowingHash


def _hash(growing: GrowingHash, path: Path, end: int) -> None:
    with path.open("rb") as file:
        growing.up_to(end, file.fileno())


@given(content=st.binary(max_size=200), ends=st.lists(st.integers(0, 200)))
def test_it_is_the_hash_of_all_however_it_was_reached(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ends: list[int]
) -> None:
    path = tmp_path_factory.mktemp("growing") / "file"
    growing = GrowingHash()
    for end in sorted(min(end, len(content)) for end in ends):
        path.write_bytes(content[:end] + b"?" * (len(content) - end))
        _hash(growing, path, end)
    path.write_bytes(content)
    _hash(growing, path, len(content))
    assert growing.hexdigest() == hashlib.sha256(content).hexdigest()


def test_a_file_that_ends_too_early_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"short")
    with pytest.raises(OSError, match="it ends at 5, not at 9"):
        _hash(GrowingHash(), tmp_path / "file", 9)
