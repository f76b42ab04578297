"""Values get to their places in a file and onto the disk, or the caller is told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ups.data.source import Block
from ups.data.writer import RowWriter
from ups.errors import StoreError

SMALL, LARGE = 8, 512 * 1024
"""Values of a sample: written at once, and in the background."""

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


def blocks(values: int) -> list[Block]:
    return [Block(None, np.full((2, values), number, np.float32)) for number in range(4)]


def write_all(writer: RowWriter, blocks: Sequence[Block]) -> None:
    for block in blocks:
        writer.write(block)


@pytest.mark.parametrize("values", [SMALL, LARGE])
def test_blocks_follow_each_other_from_their_place_on(tmp_path: Path, values: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"head")
    writer = RowWriter(path, {"states": (4, False)})
    write_all(writer, blocks(values))
    writer.close()
    content = path.read_bytes()
    assert content[:4] == b"head"
    assert np.array_equal(np.frombuffer(content[4:], "<f4"), np.repeat(np.arange(4), 2 * values))


@needs_dev_full
@pytest.mark.parametrize("values", [SMALL, LARGE])
def test_a_full_disk_is_told_at_the_latest_with_the_next_block(values: int) -> None:
    writer = RowWriter(Path("/dev/full"), {"states": (0, False)})
    first, second, *_ = blocks(values)
    with pytest.raises(StoreError, match="no space left"):
        write_all(writer, [first, second])
    with pytest.raises(StoreError):
        writer.close()
