"""The store benchmark measures transfers that moved every byte, and judges them by its bars."""

import json
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.support.rclone_server import rclone_program

pytestmark = pytest.mark.skipif(rclone_program() is None, reason="needs program: rclone")


def test_all_sides_move_all_files_and_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"large": store.Sizes(2, 300_000), "small": store.Sizes(5, 2_000)}
    monkeypatch.setattr(store, "_QUICK", tiny)
    assert store.main(["--quick", "--json", str(tmp_path / "rows.json"), "--scratch", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    bars = {row["what"]: row["bar"] for row in rows if row["bar"] is not None}
    assert bars == {"large wall": 0.8, "large CPU": 1.0, "small wall": 0.5, "small CPU": 1.0}
    assert {row["peer_name"] for row in rows} == {"rclone", "rclone, unchecked", "boto3"}
    assert all(row["holds"] is None and row["ours"] > 0 < row["peer"] for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


def test_a_copy_that_differs_is_not_measured(tmp_path: Path) -> None:
    for folder, content in (("source", b"sent"), ("target", b"came")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.bin").write_bytes(content)
    with pytest.raises(RuntimeError, match="is not what was sent"):
        store._require_equal(tmp_path / "source", tmp_path / "target")
